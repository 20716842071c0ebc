-- Which touch brought a user; a later row of a user that counts takes the earlier one's place. counts = false: a touch that was
-- outside the window.
-- ORDER BY: joins look for a user; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS attributions
(
    user         String,
    at           DateTime64(6, 'UTC'),
    signed_up_at DateTime64(6, 'UTC'),
    counts       Bool,
    kind         LowCardinality(String),
    touch_at     DateTime64(6, 'UTC'),
    network      LowCardinality(String),
    campaign     LowCardinality(String),
    campaign_id  LowCardinality(String),
    adset        LowCardinality(String),
    adset_id     LowCardinality(String),
    ad           LowCardinality(String),
    ad_id        LowCardinality(String),
    channel      LowCardinality(String),
    platform     LowCardinality(String),
    country      LowCardinality(String),
    partition    UInt16,
    offset       UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, partition, offset)
