-- Each time that a user was there: signed up, opened a session, came online, went offline; and what was known of the phone.
-- ORDER BY: a user's history; the place in the log makes a sighting one row.
CREATE TABLE IF NOT EXISTS sightings
(
    user        String,
    at          DateTime64(6, 'UTC'),
    kind        LowCardinality(String),
    role        LowCardinality(String),
    country     LowCardinality(String),
    platform    LowCardinality(String),
    locale      LowCardinality(String),
    app_version LowCardinality(String),
    partition   UInt16,
    offset      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, partition, offset)
