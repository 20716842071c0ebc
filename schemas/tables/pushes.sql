-- What AppsFlyer pushed, each push once; `details` is JSON (`schemas.ads_details.PushDetails`), and nothing else of a push is kept:
-- `event_value` and `raw` are empty. Installs: kind = 'install'; in-app events have no kind.
-- unread: fields that could not be read; the push counts as one without them.
-- ORDER BY: analysts ask for a span of days; the place in the log makes a push one row.
CREATE TABLE IF NOT EXISTS pushes
(
    install     String,
    at          DateTime64(6, 'UTC'),
    event_name  LowCardinality(String),
    user        String,
    kind        LowCardinality(String),
    touch_at    DateTime64(6, 'UTC'),
    network     LowCardinality(String),
    campaign    LowCardinality(String),
    campaign_id LowCardinality(String),
    adset       LowCardinality(String),
    adset_id    LowCardinality(String),
    ad          LowCardinality(String),
    ad_id       LowCardinality(String),
    channel     LowCardinality(String),
    platform    LowCardinality(String),
    country     LowCardinality(String),
    event_value String,
    raw         String CODEC(ZSTD(3)),
    details     String,
    unread      Array(String),
    partition   UInt16,
    offset      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, partition, offset)
