-- What each streamer earned a day, by calls and by gifts, and how long she talked for it.
SELECT
    day, streamer, sum(calls) AS calls, sum(talked_s) AS talked_s, sum(call_pay) AS call_coins, sum(gifts) AS gifts,
    sum(gift_pay) AS gift_coins, call_coins + gift_coins AS coins
FROM
(
    SELECT toDate(at) AS day, earner AS streamer, countIf(connected_at > 0) AS calls, sum(duration_s) AS talked_s,
        sum(earned_coins) AS call_pay, 0 AS gifts, 0 AS gift_pay
    FROM bills FINAL GROUP BY day, streamer
    UNION ALL
    SELECT toDate(at) AS day, receiver AS streamer, 0, 0, 0, count(), sum(share_coins)
    FROM gifts FINAL WHERE refusal = '' AND ledger != 'sandbox' GROUP BY day, streamer
)
GROUP BY day, streamer
ORDER BY day, coins DESC
