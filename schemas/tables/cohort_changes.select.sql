-- From `member.events`.
WITH JSONExtract(value, 'Tuple(user String, cohort String, tag String)') AS c
SELECT c.user AS user, c.cohort AS cohort, c.tag AS tag, at, type = 'CohortEntered' AS entered, partition, offset
FROM log
WHERE topic = 'member.events' AND type IN ('CohortEntered', 'CohortLeft')
