-- From `bill.events`; `at` is when the bill was closed.
-- rows_each: 50
WITH JSONExtract(value, 'Tuple(call String, steps Array(Tuple(kind String, number UInt32, after_s UInt32, coins Int64,
    entry String, refusal String)))') AS b
SELECT
    b.call AS call, line, at, step.kind AS kind, step.number AS number, step.after_s AS after_s, step.coins AS coins,
    step.entry AS entry, step.refusal AS refusal, partition, offset
FROM log
ARRAY JOIN b.steps AS step, arrayEnumerate(b.steps) AS line
WHERE topic = 'bill.events' AND type = 'BillClosed'
