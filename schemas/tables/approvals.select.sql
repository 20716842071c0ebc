-- From `approval.events`.
WITH JSONExtract(value, 'Tuple(approval String, maker String, command String, template String, why String, coins Int64, until String,
    beneficiaries Array(String), by String, because String, sent String)') AS a
SELECT
    a.approval AS approval, at, type AS step, a.maker AS maker, a.command AS command, a.template AS template, a.why AS why,
    a.coins AS coins, parseDateTime64BestEffortOrZero(a.until, 6, 'UTC') AS until, a.beneficiaries AS beneficiaries, a.by AS by,
    a.because AS because, a.sent AS sent, partition, offset
FROM log
WHERE topic = 'approval.events' AND type IN ('ApprovalAsked', 'ApprovalGiven', 'ApprovalRejected', 'ApprovalExpired')
