-- Each time that staff has seen a private profile: whose, who, why.
-- ORDER BY: auditors ask about a person or a time; the place in the log makes a reading one row.
CREATE TABLE IF NOT EXISTS private_reads
(
    user      String,
    at        DateTime64(6, 'UTC'),
    by        String,
    reason    String,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (user, partition, offset)
