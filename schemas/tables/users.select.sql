-- From `user.events`.
WITH JSONExtract(value, 'Tuple(user String, role String, platform String, locale String, app_version String,
    country String)') AS u
SELECT
    u.user AS user, at, u.role AS role, u.platform AS platform, u.locale AS locale, u.app_version AS app_version,
    u.country AS country, partition, offset
FROM log
WHERE topic = 'user.events' AND type = 'UserSignedUp'
