-- From `blocks.events`; a change of the reason is a block once more.
WITH JSONExtract(value, 'Tuple(user String, peer String, reason String)') AS b
SELECT b.user AS user, b.peer AS peer, at, type = 'UserBlocked' AS blocked, b.reason AS reason, partition, offset
FROM log
WHERE topic = 'blocks.events' AND type IN ('UserBlocked', 'UserUnblocked')
