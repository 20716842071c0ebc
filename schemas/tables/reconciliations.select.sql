-- From `reconciliation.events`.
WITH JSONExtract(value, 'Tuple(run String, store String, since String, until String, told UInt64, known UInt64,
    differences UInt64, cured UInt64, left_off UInt64)') AS r
SELECT
    r.run AS run, at, r.store AS store, parseDateTime64BestEffortOrZero(r.since, 6, 'UTC') AS since,
    parseDateTime64BestEffortOrZero(r.until, 6, 'UTC') AS until, r.told AS told, r.known AS known,
    r.differences AS differences, r.cured AS cured, r.left_off AS left_off, partition, offset
FROM log
WHERE topic = 'reconciliation.events' AND type = 'ReconciliationRecorded'
