-- Everybody who signed up.
-- ORDER BY: joins look for a user, who signs up once.
CREATE TABLE IF NOT EXISTS users
(
    user        String,
    at          DateTime64(6, 'UTC'),
    role        LowCardinality(String),
    platform    LowCardinality(String),
    locale      LowCardinality(String),
    app_version LowCardinality(String),
    country     LowCardinality(String),
    partition   UInt16,
    offset      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY user
