-- Each step of each postback: EffectDue (attempt so-and-so is made), then what came of it. The ledger over it: view `postbacks`.
-- `detail`, the vendor's own words, is empty: they may repeat what is personal.
-- ORDER BY: a postback's history; the place in the log makes a step one row.
CREATE TABLE IF NOT EXISTS postback_attempts
(
    effect       String,
    at           DateTime64(6, 'UTC'),
    step         LowCardinality(String),
    provider     LowCardinality(String),
    subject      String,
    attempt      UInt32,
    conversion   LowCardinality(String),
    event        LowCardinality(String),
    happened_at  DateTime64(6, 'UTC'),
    ref          String,
    network      LowCardinality(String),
    campaign     LowCardinality(String),
    value_micros Int64,
    currency     LowCardinality(String),
    status       UInt16,
    detail       String,
    partition    UInt16,
    offset       UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (effect, partition, offset)
