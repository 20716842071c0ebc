-- By day and kind: how many occurrences were told, pushed (of those: while the person was offline), held back by quiet hours, or
-- forgone; how many phones acknowledged in time, and after how many seconds on average. `fallback`: the share that was pushed.
SELECT
    toDate(at) AS day, kind, countIf(step = 'Notified') AS told, countIf(step = 'PushDecided') AS pushed,
    countIf(step = 'PushDecided' AND reason = 'offline') AS offline, countIf(step = 'PushHeld') AS held,
    countIf(step = 'PushForgone' OR step = 'Notified' AND no_push != '') AS forgone, countIf(step = 'NotificationAcked') AS acked,
    if(acked > 0, round(sumIf(after_s, step = 'NotificationAcked') / acked, 3), NULL) AS ack_s,
    if(told > 0, round(pushed / told, 3), NULL) AS fallback
FROM notification_steps FINAL
GROUP BY day, kind
ORDER BY day, kind
