-- Each run in which a store's history was held against our purchases: of which span, how many transactions the store told of,
-- how many of ours were held against them, how many differences there were, and how many of them the store's own word has
-- cured.
-- ORDER BY: analysts ask for a span of days; (at, run) makes a run one row.
CREATE TABLE IF NOT EXISTS reconciliations
(
    run         String,
    at          DateTime64(6, 'UTC'),
    store       LowCardinality(String),
    since       DateTime64(6, 'UTC'),
    until       DateTime64(6, 'UTC'),
    told        UInt64,
    known       UInt64,
    differences UInt64,
    cured       UInt64,
    left_off    UInt64,
    partition   UInt16,
    offset      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, run)
