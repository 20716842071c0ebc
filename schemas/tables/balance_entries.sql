-- The book of every account, an entry a row; a projection of the log (see balance_entries.select.sql).
-- ORDER BY: an analyst asks for an account's entries in order; (account, seq) is also what makes an entry one, hence Replacing.
CREATE TABLE IF NOT EXISTS balance_entries
(
    account           String,
    seq               UInt64,
    kind              LowCardinality(String),
    at                DateTime64(6, 'UTC'),
    coins             Int64,
    held_change_coins Int64,
    balance_coins     Int64,
    held_coins        Int64,
    counterparty      String,
    reason            LowCardinality(String),
    ref               String,
    hold              String,
    transfer          String,
    id                String,
    cause             String,
    debt_coins        Int64,
    debt_change_coins Int64,
    share_version     UInt64,
    shared_coins      Int64,
    partition         UInt16,
    offset            UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (account, seq)
