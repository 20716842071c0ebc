-- Each change of somebody's roles: which were left, which one was given or taken, by whom, and why.
-- An empty `role`: what a token claimed was written down.
-- ORDER BY: auditors ask about a person; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS role_changes
(
    user      String,
    at        DateTime64(6, 'UTC'),
    version   UInt64,
    roles     Array(String),
    role      LowCardinality(String),
    given     Bool,
    by        String,
    why       String,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, at, partition, offset)
