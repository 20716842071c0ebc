-- From `outbox.events`. The default of `attempt` is left out on the log.
WITH JSONExtract(value, 'Tuple(user String, occurrence String, device String, channel String, reason String, provider String,
    attempt UInt32, status UInt16)') AS f
SELECT
    f.user AS user, at, f.occurrence AS occurrence, f.device AS device, f.channel AS channel, type AS outcome,
    f.reason AS reason, f.provider AS provider, greatest(f.attempt, 1) AS attempt, f.status AS status, partition, offset
FROM log
WHERE topic = 'outbox.events' AND type IN ('PushAccepted', 'PushRefused', 'PushTokenDead')
