-- Every change of the old back end's rows that was delivered, each event once: of which feed and thing, by which rule which
-- command was made of it (`sent` is its id), or why none was.
-- ORDER BY: analysts ask for a span of days; the place in the log makes an event one row.
CREATE TABLE IF NOT EXISTS migration_rows
(
    at           DateTime64(6, 'UTC'),
    event        String,
    row          String,
    feed         LowCardinality(String),
    feed_version UInt32,
    `table`      LowCardinality(String),
    operation    LowCardinality(String),
    outcome      LowCardinality(String),
    rule         LowCardinality(String),
    action       LowCardinality(String),
    user         String,
    told_at      DateTime64(6, 'UTC'),
    sent         String,
    partition    UInt16,
    offset       UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, event, partition, offset)
