-- From `member.events`.
WITH JSONExtract(value, 'Tuple(user String, tag String, there Bool, by String)') AS t
SELECT t.user AS user, t.tag AS tag, at, t.there AS there, t.by AS by, partition, offset
FROM log
WHERE topic = 'member.events' AND type = 'TagChanged'
