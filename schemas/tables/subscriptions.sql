-- Each change of a subscription: where it stands (`status`), until when, whether it will be renewed, of which period, and the
-- coins of each period, which are rows of `purchases`.
-- ORDER BY: analysts ask for a span of days; (at, id) makes a change one row.
CREATE TABLE IF NOT EXISTS subscriptions
(
    id          String,
    at          DateTime64(6, 'UTC'),
    name        String,
    user        String,
    product     LowCardinality(String),
    version     UInt32,
    store       LowCardinality(String),
    status      LowCardinality(String),
    until       DateTime64(6, 'UTC'),
    transaction String,
    renews      Bool,
    coins       Int64,
    partition   UInt16,
    offset      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
