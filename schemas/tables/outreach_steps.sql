-- What became of campaigns, a row a step and person: told (a notice), sent (an opening: `peer` writes
-- `message`), refused (that opening was not sent, with why), ended (with why).
-- ORDER BY: a campaign is looked at as a whole; the place in the log makes a step one row.
CREATE TABLE IF NOT EXISTS outreach_steps
(
    campaign  LowCardinality(String),
    user      String,
    at        DateTime64(6, 'UTC'),
    step      LowCardinality(String),
    peer      String,
    message   String,
    number    UInt8,
    why       LowCardinality(String),
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (campaign, at, partition, offset)
