-- From `staff.events`. The defaults of `given`, `by` and `why` are left out on the log.
WITH JSONExtract(value, 'Tuple(user String, version UInt64, roles Array(String), role String, given Bool, by String, why String)') AS c
SELECT
    c.user AS user, at, c.version AS version, c.roles AS roles, c.role AS role, c.given AS given, c.by AS by, c.why AS why, partition, offset
FROM log
WHERE topic = 'staff.events' AND type = 'RolesChanged'
