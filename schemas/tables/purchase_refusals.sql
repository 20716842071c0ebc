-- Claims of stores' transactions to which nothing was credited, and why; the same transaction may have been credited by another one.
-- `user`: whose phone claimed it; empty: the store told by itself.
-- ORDER BY: analysts ask for a span of days; (at, id) makes a refusal one row.
CREATE TABLE IF NOT EXISTS purchase_refusals
(
    id        String,
    at        DateTime64(6, 'UTC'),
    purchase  String,
    user      String,
    refusal   LowCardinality(String),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
