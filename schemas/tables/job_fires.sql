-- How each fire of a job ended, or why it was not made: then one row may be of several `fires`, from `instant` to `last`.
-- ORDER BY: staff asks for one job's last fires; the place in the log makes a fire one row.
CREATE TABLE IF NOT EXISTS job_fires
(
    job        String,
    at         DateTime64(6, 'UTC'),
    version    UInt64,
    instant    DateTime64(6, 'UTC'),
    last       DateTime64(6, 'UTC'),
    outcome    LowCardinality(String),
    fires      UInt64,
    duration_s Float64,
    manual     Bool,
    partition  UInt16,
    offset     UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (job, at, partition, offset)
