-- From `user.events`; the engine's own parse of a number keeps microseconds exact.
WITH JSONExtract(value, 'Tuple(user String, online_s Float64)') AS w
SELECT
    w.user AS user, at - toIntervalMicrosecond(round(w.online_s * 1000000)) AS since, at AS until, w.online_s AS online_s,
    partition, offset
FROM log
WHERE topic = 'user.events' AND type = 'WentOffline'
