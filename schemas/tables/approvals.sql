-- What took a second person: a row for each step (`ApprovalAsked`, `ApprovalGiven`, `ApprovalRejected`, `ApprovalExpired`).
-- Facts of `log` whose `cause` is `sent` say what came of the command.
-- ORDER BY: auditors ask what became of one approval; the place in the log makes a step one row.
CREATE TABLE IF NOT EXISTS approvals
(
    approval      String,
    at            DateTime64(6, 'UTC'),
    step          LowCardinality(String),
    maker         String,
    command       LowCardinality(String),
    template      String,
    why           String,
    coins         Int64,
    until         DateTime64(6, 'UTC'),
    beneficiaries Array(String),
    by            String,
    because       String,
    sent          String,
    partition     UInt16,
    offset        UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (approval, at, partition, offset)
