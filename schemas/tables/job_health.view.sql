-- What a day's fires of each job came to: those that ran, failed or were not made, how long they took, and how late they ended.
SELECT
    job, toDate(at) AS day, sumIf(fires, outcome IN ('sent', 'done')) AS ran,
    sumIf(fires, outcome IN ('failed', 'expired', 'invalid')) AS failed,
    sumIf(fires, outcome IN ('skipped', 'queue_full', 'missed', 'superseded', 'replaced')) AS not_made,
    quantileIf(0.5)(duration_s, outcome IN ('done', 'failed')) AS p50_duration_s,
    maxIf(duration_s, outcome IN ('done', 'failed')) AS longest_s,
    maxIf(dateDiff('second', instant, at), outcome IN ('sent', 'done')) AS latest_s
FROM job_fires FINAL
GROUP BY job, day
ORDER BY day, job
