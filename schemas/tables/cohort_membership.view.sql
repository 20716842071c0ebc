-- Who was in which cohort, from when to when; `left_at` NULL: still is. Changes are in the log's order, whatever their times say:
-- one that came late leaves no earlier than it entered.
SELECT
    cohort, tag, user, at AS entered_at, if(left, greatest(at, next_at), NULL) AS left_at
FROM
(
    SELECT
        cohort, tag, user, at, entered, leadInFrame(at, 1, at) OVER places AS next_at,
        leadInFrame(true, 1, false) OVER places AS left
    FROM cohort_changes FINAL
    WINDOW places AS
        (PARTITION BY cohort, user ORDER BY partition, offset, entered ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE entered
ORDER BY cohort, entered_at, user
