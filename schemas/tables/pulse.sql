-- What happened on the platform, a minute at a time: a number for each metric and minute. A count's late is what was heard when its
-- minute had closed, and no part of value; a level (online, talking_..., coins_under_way) is how it stood at the minute's end.
-- ORDER BY: analysts ask for a metric over a span; (metric, at) makes a minute that was written again one row, the last one.
CREATE TABLE IF NOT EXISTS pulse
(
    at        DateTime64(6, 'UTC'),
    metric    LowCardinality(String),
    value     Int64,
    late      Int64,
    as_of     DateTime64(6, 'UTC'),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree(offset)
ORDER BY (metric, at)
