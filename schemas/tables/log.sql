-- Every record of the inboxes, events and dead letters, as it stood on the broker, but for what is personal, which is empty
-- (`schemas/log/outward.py`). A record that cannot be read has the type `Unreadable`, its size and its SHA-256. This table is the store's checkpoint.
-- ORDER BY: the record's place, which makes max(offset) of a partition one read of the index, and a projection's catch-up one range.
-- ReplacingMergeTree: the second belt, should two stores ever write the same place.
-- type and at share one parse of the JSON: the engine sees that it is the same expression.
-- INDEX logged: a partition's records are logged in their order, so whoever asks for an hour of all topics reads that hour only.
-- No PARTITION BY: a batch must be one part, so that it is there whole or not at all.
CREATE TABLE IF NOT EXISTS log
(
    topic     LowCardinality(String),
    partition UInt16,
    offset    UInt64,
    key       String,
    type      LowCardinality(String) DEFAULT JSONExtract(value, 'Tuple(type String, at String)').1,
    at        DateTime64(6, 'UTC')
              DEFAULT parseDateTime64BestEffortOrZero(JSONExtract(value, 'Tuple(type String, at String)').2, 6, 'UTC'),
    logged_at DateTime64(3, 'UTC'),
    value     String CODEC(ZSTD(1)),
    INDEX logged logged_at TYPE minmax
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
