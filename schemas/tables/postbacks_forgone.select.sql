-- From `attribution.events`.
WITH JSONExtract(value, 'Tuple(user String, conversion String, ref String, provider String, why String)') AS f
SELECT f.user AS user, at, f.conversion AS conversion, f.ref AS ref, f.provider AS provider, f.why AS why, partition, offset
FROM log
WHERE topic = 'attribution.events' AND type = 'PostbackForgone'
