-- From `pair.events`.
WITH JSONExtract(value, 'Tuple(pair String, user String, peer String, kind String, amount Float64, affinity Float64,
    late Bool)') AS i
SELECT
    i.pair AS pair, at, i.user AS user, i.peer AS peer, i.kind AS kind, i.amount AS amount, i.affinity AS affinity,
    i.late AS late, partition, offset
FROM log
WHERE topic = 'pair.events' AND type = 'InteractionRecorded'
