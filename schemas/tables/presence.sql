-- Every span of time that a user was online, when it was over.
-- ORDER BY: analysts ask for a span of days; (until, user) makes a span one row.
CREATE TABLE IF NOT EXISTS presence
(
    user      String,
    since     DateTime64(6, 'UTC'),
    until     DateTime64(6, 'UTC'),
    online_s  Float64,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (until, user)
