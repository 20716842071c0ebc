-- What stores that think about a refund were told of the use of a purchase: of how many coins how many were used (`exact`: to
-- the coin), or why they were told nothing (`withheld`).
-- ORDER BY: analysts ask for a span of days; (at, id) makes an answer one row.
CREATE TABLE IF NOT EXISTS purchase_usages
(
    id         String,
    at         DateTime64(6, 'UTC'),
    purchase   String,
    ask        String,
    user       String,
    coins      Int64,
    used_coins Int64,
    exact      Bool,
    withheld   LowCardinality(String),
    partition  UInt16,
    offset     UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
