-- Every block and every block that was taken back. Who blocks whom now: argMax(blocked, at) a pair.
-- ORDER BY: a blocker's history; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS blocks
(
    user      String,
    peer      String,
    at        DateTime64(6, 'UTC'),
    blocked   Bool,
    reason    LowCardinality(String),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, peer, partition, offset)
