-- Reports of chats, and what staff made of them: a row for each step (`ChatReported`, `ReportRead`, `ReportDecided`). What was said
-- is not here.
-- ORDER BY: staff looks at what came of one report; the place in the log makes a step one row.
CREATE TABLE IF NOT EXISTS chat_reports
(
    report    String,
    at        DateTime64(6, 'UTC'),
    step      LowCardinality(String),
    user      String,
    peer      String,
    reason    LowCardinality(String),
    rule      LowCardinality(String),
    seqs      Array(UInt64),
    by        String,
    why       String,
    outcome   LowCardinality(String),
    until     DateTime64(6, 'UTC'),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (report, at, partition, offset)
