-- What came of each push: taken (PushAccepted), by nobody (PushRefused), or the phone's token is dead (PushTokenDead).
-- ORDER BY: analysts ask for a span of days; the place in the log makes a push one row.
CREATE TABLE IF NOT EXISTS push_outcomes
(
    user       String,
    at         DateTime64(6, 'UTC'),
    occurrence String,
    device     String,
    channel    LowCardinality(String),
    outcome    LowCardinality(String),
    reason     LowCardinality(String),
    provider   LowCardinality(String),
    attempt    UInt32,
    status     UInt16,
    partition  UInt16,
    offset     UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, user, partition, offset)
