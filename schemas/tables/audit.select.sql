-- From `staff_act.events`: an act began when it was told first.
WITH JSONExtract(value, 'Tuple(act String, acted_at String, staff String, roles Array(String), operation String, permission String,
    subjects Array(String), thing String, why String, asked String, status UInt16, code String, commands Array(String))') AS a
SELECT
    a.act AS act, if(type = 'StaffActed', at, parseDateTime64BestEffortOrZero(a.acted_at, 6, 'UTC')) AS acted_at, at, type AS step,
    a.staff AS staff, a.roles AS roles, a.operation AS operation, a.permission AS permission, a.subjects AS subjects,
    a.thing AS thing, a.why AS why, a.asked AS asked, a.status AS status, a.code AS code, a.commands AS commands, partition, offset
FROM log
WHERE topic = 'staff_act.events' AND type IN ('StaffActed', 'StaffAnswered')
