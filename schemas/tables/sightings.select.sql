-- From `user.events`.
WITH JSONExtract(value, 'Tuple(user String, role String, country String, platform String, locale String,
    app_version String)') AS s
SELECT
    s.user AS user, at, type AS kind, s.role AS role, s.country AS country, s.platform AS platform, s.locale AS locale,
    s.app_version AS app_version, partition, offset
FROM log
WHERE topic = 'user.events' AND type IN ('UserSignedUp', 'SessionOpened', 'CameOnline', 'WentOffline')
