-- From `question.events`.
WITH JSONExtract(value, 'Tuple(question String, sql String, form String, by String)') AS q
SELECT q.question AS question, at, type AS step, q.sql AS sql, q.form AS form, q.by AS by, partition, offset
FROM log
WHERE topic = 'question.events' AND type IN ('QuestionPut', 'QuestionRemoved', 'QuestionRun')
