-- Each time that a user entered or left a cohort. Intervals: the view `cohort_membership`.
-- ORDER BY: a cohort's members through time; the place in the log makes a change one row.
CREATE TABLE IF NOT EXISTS cohort_changes
(
    user      String,
    cohort    String,
    tag       LowCardinality(String),
    at        DateTime64(6, 'UTC'),
    entered   Bool,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (cohort, user, partition, offset)
