-- What Apphud has told of transactions, each event once. No coins move by it; see the table `store_differences`.
-- ORDER BY: analysts ask for a span of days; the event's id makes it one row.
CREATE TABLE IF NOT EXISTS apphud_events
(
    at               DateTime64(6, 'UTC'),
    event            String,
    event_name       LowCardinality(String),
    kind             LowCardinality(String),
    purchase         String,
    store            LowCardinality(String),
    happened_at      DateTime64(6, 'UTC'),
    store_product    LowCardinality(String),
    user             String,
    price_milliunits Int64,
    currency         LowCardinality(String),
    partition        UInt16,
    offset           UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, event, partition, offset)
