-- Every step of streamers with agencies: invited, joined (with which share, in hundredths of a percent, under which version),
-- refused, taken back, expired, left; by whom, and why.
-- ORDER BY: analysts ask for a span of days; (at, id) makes a step one row.
CREATE TABLE IF NOT EXISTS membership_steps
(
    id        String,
    at        DateTime64(6, 'UTC'),
    user      String,
    agency    String,
    step      LowCardinality(String),
    share_bps UInt32,
    version   UInt64,
    until     DateTime64(6, 'UTC'),
    by        String,
    ref       String,
    partition UInt16,
    offset    UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, id)
