-- Who was in which cohort, from when to when; `left_at` NULL: still is.
SELECT cohort, tag, user, at AS entered_at, nullIf(next_at, toDateTime64(0, 6, 'UTC')) AS left_at
FROM
(
    SELECT
        cohort, tag, user, at, entered, leadInFrame(at, 1, toDateTime64(0, 6, 'UTC')) OVER
            (PARTITION BY cohort, user ORDER BY at, partition, offset ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
            AS next_at
    FROM cohort_changes FINAL
)
WHERE entered
ORDER BY cohort, entered_at
