-- What a rule wanted told and nobody was: no attribution, consent or identifier came in time.
-- ORDER BY: a provider's by day; the place in the log makes one one row.
CREATE TABLE IF NOT EXISTS postbacks_forgone
(
    user       String,
    at         DateTime64(6, 'UTC'),
    conversion LowCardinality(String),
    ref        String,
    provider   LowCardinality(String),
    why        LowCardinality(String),
    partition  UInt16,
    offset     UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (provider, at, partition, offset)
