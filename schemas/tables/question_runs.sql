-- Which questions staff has asked the warehouse, in which form, and by whom; and which were saved or taken away.
-- ORDER BY: auditors read the newest ones, of all; the place in the log makes a step one row.
CREATE TABLE IF NOT EXISTS question_runs
(
    question  String,
    at        DateTime64(6, 'UTC'),
    step      LowCardinality(String),
    sql       String CODEC(ZSTD(1)),
    form      LowCardinality(String),
    by        String,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, question, partition, offset)
