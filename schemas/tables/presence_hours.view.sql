-- Hours online a day, by user: a span over midnight counts for both days.
SELECT
    toDate(since) + number AS day, user,
    sum(dateDiff('microsecond', greatest(since, toDateTime64(day, 6, 'UTC')),
        least(until, toDateTime64(day + 1, 6, 'UTC')))) / 3600000000 AS hours
FROM presence FINAL
ARRAY JOIN range(toUInt32(toDate(until) - toDate(since)) + 1) AS number
GROUP BY day, user
ORDER BY day, hours DESC
