-- What staff approved for a streamer, and what the streamer picked of it. What holds now: the last row of a user.
-- ORDER BY: a streamer's history; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS price_classes
(
    user        String,
    at          DateTime64(6, 'UTC'),
    step        LowCardinality(String),
    classes     Array(LowCardinality(String)),
    price_class LowCardinality(String),
    by          String,
    partition   UInt16,
    offset      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, at, partition, offset)
