-- A receipt's lines: each movement of coins for a call, with its checkpoint and the ledger's entry.
-- ORDER BY: a call's lines in order; (call, line) makes a line one row.
CREATE TABLE IF NOT EXISTS bill_steps
(
    call      String,
    line      UInt32,
    at        DateTime64(6, 'UTC'),
    kind      LowCardinality(String),
    number    UInt32,
    after_s   UInt32,
    coins     Int64,
    entry     String,
    refusal   LowCardinality(String),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (call, line)
