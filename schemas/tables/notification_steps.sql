-- What became of each notification, a row a step: told (with why it is never pushed, if so), acknowledged, read, withdrawn, pushed
-- (with the reason), held back by quiet hours, forgone (with why). `after_s`: behind the event.
-- ORDER BY: staff asks about one person's notifications in time; the place in the log makes a step one row.
CREATE TABLE IF NOT EXISTS notification_steps
(
    user         String,
    notification String,
    kind         LowCardinality(String),
    at           DateTime64(6, 'UTC'),
    step         LowCardinality(String),
    reason       LowCardinality(String),
    no_push      LowCardinality(String),
    withdrawal   LowCardinality(String),
    phones       UInt32,
    after_s      Float64,
    unread       UInt32,
    partition    UInt16,
    offset       UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, at, partition, offset)
