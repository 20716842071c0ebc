-- Tags that a person gave a user, or took away. Who has which now: argMax(there, at) a user and tag.
-- ORDER BY: a user's history; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS tags
(
    user      String,
    tag       String,
    at        DateTime64(6, 'UTC'),
    there     Bool,
    by        String,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, tag, partition, offset)
