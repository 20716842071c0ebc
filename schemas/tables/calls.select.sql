-- From `call.events`: a call has one of these two facts, once.
WITH JSONExtract(value, 'Tuple(call String, kind String, caller String, callee String, connected Bool, duration_s Float64,
    reason String, by String, refusal String, shortfall_coins Int64, room String, void Bool)') AS f
SELECT
    f.call AS call, at, f.kind AS kind, f.caller AS caller, f.callee AS callee, f.connected AS connected,
    f.duration_s AS duration_s, f.reason AS reason, f.by AS by, f.refusal AS refusal, f.shortfall_coins AS shortfall_coins,
    f.room AS room, f.void AS void, partition, offset
FROM log
WHERE topic = 'call.events' AND type IN ('CallEnded', 'CallRefused')
