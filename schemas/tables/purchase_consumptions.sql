-- Purchases of Google Play that Google was told were consumed (`step`: consumed), and those of which it has not taken that in
-- time and somebody has to look (unconsumed).
-- ORDER BY: analysts ask for a span of days; (at, id) makes a step one row.
CREATE TABLE IF NOT EXISTS purchase_consumptions
(
    id        String,
    at        DateTime64(6, 'UTC'),
    step      LowCardinality(String),
    purchase  String,
    store     LowCardinality(String),
    user      String,
    product   LowCardinality(String),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
