-- From `private_profile.events`.
WITH JSONExtract(value, 'Tuple(user String, by String, reason String)') AS r
SELECT r.user AS user, at, r.by AS by, r.reason AS reason, partition, offset
FROM log
WHERE topic = 'private_profile.events' AND type = 'PrivateProfileRead'
