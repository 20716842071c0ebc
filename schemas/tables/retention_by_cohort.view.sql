-- Of those who entered a cohort (or signed up in a week): how many were seen on day n behind it. Day 0 is the first day.
WITH entered AS
(
    SELECT cohort, user, min(entered_at) AS since FROM cohort_membership GROUP BY cohort, user
    UNION ALL
    SELECT 'week of ' || toString(toMonday(at)) AS cohort, user, at AS since FROM users FINAL
)
SELECT cohort, day, members, uniqExact(user) AS active, round(active / members, 3) AS retention
FROM
(
    SELECT e.cohort AS cohort, e.user AS user, dateDiff('day', toDate(e.since), toDate(s.at)) AS day
    FROM entered AS e
    INNER JOIN (SELECT user, at FROM sightings FINAL) AS s ON s.user = e.user
    WHERE day BETWEEN 0 AND 30
) AS seen
INNER JOIN (SELECT cohort, uniqExact(user) AS members FROM entered GROUP BY cohort) AS sizes USING cohort
GROUP BY cohort, day, members
ORDER BY cohort, day
