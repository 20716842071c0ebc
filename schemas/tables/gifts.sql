-- Every gift that was given (its price and the receiver's share) or refused (why). `ledger`: ordinary, or
-- sandbox: given with a tester's coins, which are worth nothing.
-- ORDER BY: analysts ask for a span of days; (at, gift) makes a gift one row.
CREATE TABLE IF NOT EXISTS gifts
(
    gift            String,
    at              DateTime64(6, 'UTC'),
    item            LowCardinality(String),
    sender          String,
    receiver        String,
    call            String,
    price_coins     Int64,
    share_coins     Int64,
    refusal         LowCardinality(String),
    shortfall_coins Int64,
    ledger          LowCardinality(String) DEFAULT 'ordinary',
    partition       UInt16,
    offset          UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, gift)
