-- How streamers answer, talk and are liked over the last three days, each time that it changed.
-- ORDER BY: analysts follow a user through time.
CREATE TABLE IF NOT EXISTS engagements
(
    user       String,
    at         DateTime64(6, 'UTC'),
    rings      UInt32,
    answered   UInt32,
    talked_s   Float64,
    gift_coins Int64,
    complaints UInt32,
    messages   UInt32,
    engagement Float64,
    partition  UInt16,
    offset     UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, at, partition, offset)
