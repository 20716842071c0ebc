-- Every version of every public profile, without what is personal: `name`, `about` and each of `photos` are empty, so that only
-- their number is told; the last one of a user is in force: argMax(name, at), or FINAL's sibling LIMIT 1 BY user.
-- ORDER BY: a user's history; the place in the log makes a version one row.
CREATE TABLE IF NOT EXISTS profiles
(
    user      String,
    at        DateTime64(6, 'UTC'),
    name      String,
    age       UInt8,
    country   LowCardinality(String),
    languages Array(LowCardinality(String)),
    photos    Array(String),
    about     String,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, partition, offset)
