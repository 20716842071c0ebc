-- The receipt of every call that came to ring: what was paid and earned, under which version of which tariff, and why that one.
-- ORDER BY: analysts ask for a span of days; (at, call) makes a bill one row.
CREATE TABLE IF NOT EXISTS bills
(
    call         String,
    at           DateTime64(6, 'UTC'),
    kind         LowCardinality(String),
    payer        String,
    earner       String,
    payer_role   LowCardinality(String),
    earner_role  LowCardinality(String),
    country      LowCardinality(String),
    tags         Array(LowCardinality(String)),
    price_class  LowCardinality(String),
    placed_at    DateTime64(6, 'UTC'),
    tariff       LowCardinality(String),
    version      UInt32,
    connected_at DateTime64(6, 'UTC'),
    duration_s   Float64,
    paid_coins   Int64,
    earned_coins Int64,
    partition    UInt16,
    offset       UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, call)
