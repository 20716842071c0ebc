-- From `membership.events`.
WITH JSONExtract(value, 'Tuple(id String, user String, agency String, step String, share_bps UInt32, version UInt64,
    until String, by String, ref String)') AS m
SELECT
    m.id AS id, at, m.user AS user, m.agency AS agency, m.step AS step, m.share_bps AS share_bps, m.version AS version,
    parseDateTime64BestEffortOrZero(m.until, 6, 'UTC') AS until, m.by AS by, m.ref AS ref, partition, offset
FROM log
WHERE topic = 'membership.events' AND type = 'MembershipStepped'
