-- How long calls last: connected calls by kind and length, from `from_s` up to the next row's.
WITH [0, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200] AS bounds
SELECT
    kind, arrayElement(bounds, arrayLastIndex(bound -> bound <= duration_s, bounds)) AS from_s, count() AS calls,
    sum(duration_s) AS talked_s
FROM calls FINAL
WHERE connected
GROUP BY kind, from_s
ORDER BY kind, from_s
