-- What users did that campaigns are paid for; network and campaign as known when it happened (`attributions` knows the last word).
-- ORDER BY: a span of days; the place in the log makes a conversion one row (a first purchase is two: purchase, first_purchase).
CREATE TABLE IF NOT EXISTS conversions
(
    user       String,
    at         DateTime64(6, 'UTC'),
    conversion LowCardinality(String),
    ref        String,
    coins      Int64,
    network    LowCardinality(String),
    campaign   LowCardinality(String),
    partition  UInt16,
    offset     UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (conversion, at, partition, offset)
