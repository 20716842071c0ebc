-- Under which version of which tariff a day's calls ran, and what they brought.
SELECT
    toDate(at) AS day, tariff, version, count() AS calls, sum(duration_s) AS talked_s, sum(paid_coins) AS paid_coins,
    sum(earned_coins) AS earned_coins, paid_coins - earned_coins AS margin_coins
FROM bills FINAL
WHERE connected_at > 0
GROUP BY day, tariff, version
ORDER BY day, tariff, version
