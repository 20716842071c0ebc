-- Each change of a subscription: where it stands (`status`), until when, whether it will be renewed, of which period, the coins
-- of each period, which are rows of `purchases`, and what it will be changed to with the renewal (`next_product`, or where that
-- is none of ours, the store's name for it); `replaced`: by another subscription.
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
    offset      UInt64,
    next_product       LowCardinality(String),
    next_store_product LowCardinality(String),
    replaced           Bool
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
