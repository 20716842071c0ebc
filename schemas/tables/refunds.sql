-- What stores took back of purchases, in part or in full, and what they gave back again (`kind`): the coins that moved with it, how
-- many of them were spent before and are owed (`owed_coins`), and what is credited of the purchase since.
-- `ledger`: ordinary, or sandbox.
-- ORDER BY: analysts ask for a span of days; (at, id) makes a change one row.
CREATE TABLE IF NOT EXISTS refunds
(
    id            String,
    at            DateTime64(6, 'UTC'),
    kind          LowCardinality(String),
    purchase      String,
    store         LowCardinality(String),
    user          String,
    product       LowCardinality(String),
    coins         Int64,
    net_coins     Int64,
    revoked_parts UInt32,
    owed_coins    Int64,
    ledger        LowCardinality(String) DEFAULT 'ordinary',
    partition     UInt16,
    offset        UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
