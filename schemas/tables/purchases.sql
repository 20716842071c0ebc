-- Every transaction of a store that was credited: to whom, which version of which product, the coins, the price as the store
-- told, and whether that is the one that the version has for the store's country (`price_check`: as_pinned, differs, unknown).
-- `ledger`: ordinary, or sandbox: what testers buy costs nothing, and is no revenue.
-- ORDER BY: analysts ask for a span of days; (at, purchase) makes a purchase one row.
CREATE TABLE IF NOT EXISTS purchases
(
    purchase         String,
    at               DateTime64(6, 'UTC'),
    user             String,
    store            LowCardinality(String),
    store_product    LowCardinality(String),
    product          LowCardinality(String),
    version          UInt32,
    coins            Int64,
    quantity         UInt8,
    price_milliunits Int64,
    currency         LowCardinality(String),
    country          LowCardinality(String),
    price_check      LowCardinality(String),
    purchased_at     DateTime64(6, 'UTC'),
    intent           String,
    subscription     String,
    ledger           LowCardinality(String) DEFAULT 'ordinary',
    partition        UInt16,
    offset           UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, purchase)
