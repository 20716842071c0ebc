-- From `chat_report.events`.
WITH JSONExtract(value, 'Tuple(report String, user String, peer String, reason String, rule String, seqs Array(UInt64), by String,
    why String, outcome String, until String)') AS r
SELECT
    r.report AS report, at, type AS step, r.user AS user, r.peer AS peer, r.reason AS reason, r.rule AS rule, r.seqs AS seqs,
    r.by AS by, r.why AS why, r.outcome AS outcome, parseDateTime64BestEffortOrZero(r.until, 6, 'UTC') AS until, partition, offset
FROM log
WHERE topic = 'chat_report.events' AND type IN ('ChatReported', 'ReportRead', 'ReportDecided')
