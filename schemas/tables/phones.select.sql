-- From `notification.events`.
WITH JSONExtract(value, 'Tuple(user String, device String, platform String, end String)') AS p
SELECT p.user AS user, p.device AS device, p.platform AS platform, at, type = 'PhoneKept' AS kept, p.end AS end, partition, offset
FROM log
WHERE topic = 'notification.events' AND type IN ('PhoneKept', 'PhoneDropped')
