-- Every favourite that was added or taken away. Who likes whom now: argMax(liked, at) a pair.
-- ORDER BY: a user's history; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS favorites
(
    user      String,
    peer      String,
    at        DateTime64(6, 'UTC'),
    liked     Bool,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, peer, partition, offset)
