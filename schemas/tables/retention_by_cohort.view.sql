-- Of those who entered a cohort (or signed up in a week): how many were seen on day n behind it, UTC. Day 0 is the first day.
-- members: for whom day n has come; who entered later is no member of that row, and a row without anybody seen says zero.
-- Seen: signed up, opened a session, or was online for a part of the day; who has not gone offline yet is online.
WITH entered AS
(
    SELECT cohort, user, toDate(min(entered_at)) AS since FROM cohort_membership GROUP BY cohort, user
    UNION ALL
    SELECT 'week of ' || toString(toMonday(at)) AS cohort, user, toDate(at) AS since FROM users FINAL
),
seen AS
(
    SELECT user, toDate(at) AS date FROM sightings FINAL
    UNION DISTINCT
    SELECT user, toDate(since) + number AS date FROM presence FINAL
    ARRAY JOIN range(toUInt32(greatest(0, toDate(until) - toDate(since))) + 1) AS number
    UNION DISTINCT
    SELECT user, toDate(since) + number AS date
    FROM
    (
        SELECT user, argMax(kind, (partition, offset)) AS last, argMax(at, (partition, offset)) AS since
        FROM sightings FINAL
        WHERE kind IN ('CameOnline', 'WentOffline')
        GROUP BY user
        HAVING last = 'CameOnline'
    )
    ARRAY JOIN range(toUInt32(greatest(0, toDate(now('UTC')) - toDate(since))) + 1) AS number
)
SELECT e.cohort AS cohort, e.day AS day, count() AS members, countIf(s.user != '') AS active, round(active / members, 3) AS retention
FROM
(
    SELECT cohort, user, since, number AS day
    FROM entered
    ARRAY JOIN range(toUInt32(greatest(0, least(30, toInt32(toDate(now('UTC')) - since)) + 1))) AS number
) AS e
LEFT JOIN seen AS s ON s.user = e.user AND s.date = e.since + e.day
GROUP BY cohort, day
ORDER BY cohort, day
