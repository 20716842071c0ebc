-- What a store's history and our purchases do not agree on, a row for each difference of each run; what is not cured is found
-- again by the next run. `theirs`, `ours`: parts of 100,000 that were taken back, thousandths of the currency's unit, or
-- coins.
-- ORDER BY: analysts ask for a span of days; (at, id) makes a difference one row.
CREATE TABLE IF NOT EXISTS store_differences
(
    id            String,
    at            DateTime64(6, 'UTC'),
    run           String,
    store         LowCardinality(String),
    difference    LowCardinality(String),
    cure          LowCardinality(String),
    purchase      String,
    store_product LowCardinality(String),
    theirs        Int64,
    ours          Int64,
    currency      LowCardinality(String),
    code          LowCardinality(String),
    partition     UInt16,
    offset        UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
