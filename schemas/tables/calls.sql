-- Every call that was asked for, when it was over: it ended (reason), or never came about (refusal). void: one side was never there,
-- nobody pays or earns.
-- ORDER BY: analysts ask for a span of days; (at, call) makes a call one row.
CREATE TABLE IF NOT EXISTS calls
(
    call            String,
    at              DateTime64(6, 'UTC'),
    kind            LowCardinality(String),
    caller          String,
    callee          String,
    connected       Bool,
    duration_s      Float64,
    reason          LowCardinality(String),
    by              String,
    refusal         LowCardinality(String),
    shortfall_coins Int64,
    room            LowCardinality(String),
    void            Bool,
    partition       UInt16,
    offset          UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (at, call)
