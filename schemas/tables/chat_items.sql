-- Every item of every chat: who wrote, called or gave, when, and how long; never what was said. `campaign`: outreach wrote it.
-- ORDER BY: one chat is read by its numbers; the number makes an item one row.
CREATE TABLE IF NOT EXISTS chat_items
(
    pair        String,
    seq         UInt64,
    at          DateTime64(6, 'UTC'),
    user        String,
    peer        String,
    kind        LowCardinality(String),
    ref         String,
    length      UInt16,
    reason      LowCardinality(String),
    connected   Bool,
    duration_s  Float64,
    item        LowCardinality(String),
    price_coins Int64,
    share_coins Int64,
    campaign    LowCardinality(String),
    partition   UInt16,
    offset      UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (pair, seq)
