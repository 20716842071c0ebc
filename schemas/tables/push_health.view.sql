-- By day, kind of what was told, and provider: how many pushes ended (silent ones apart), how many were taken, taken by nobody, or
-- for a token that is none any more; `dead_share`: those among all. Beside `token_health`, which counts phones.
SELECT
    toDate(o.at) AS day, n.kind AS kind, o.provider AS provider, count() AS ended, countIf(o.outcome = 'PushAccepted') AS accepted,
    countIf(o.outcome = 'PushRefused') AS refused, countIf(o.outcome = 'PushTokenDead') AS dead, round(dead / ended, 3) AS dead_share
FROM (SELECT user, occurrence, at, provider, outcome FROM push_outcomes FINAL) AS o
INNER JOIN (SELECT DISTINCT user, notification, kind FROM notification_steps WHERE step = 'Notified') AS n
    ON n.user = o.user AND n.notification = o.occurrence
GROUP BY day, kind, provider
ORDER BY day, kind, provider
