-- When a phone could be reached by pushes from then on (`kept`), and when not any more, with why: token health.
-- ORDER BY: analysts ask for a span of days by platform; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS phones
(
    user      String,
    device    String,
    platform  LowCardinality(String),
    at        DateTime64(6, 'UTC'),
    kept      Bool,
    end       LowCardinality(String),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, user, device, partition, offset)
