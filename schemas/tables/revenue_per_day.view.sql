-- What a day brought: coins paid for calls and gifts, what streamers got of it, and what stayed with the platform.
SELECT
    day, sum(calls) AS calls, sum(call_coins) AS call_coins, sum(gifts) AS gifts, sum(gift_coins) AS gift_coins,
    sum(pay) AS streamer_coins, call_coins + gift_coins - streamer_coins AS margin_coins
FROM
(
    SELECT toDate(at) AS day, countIf(connected_at > 0) AS calls, sum(paid_coins) AS call_coins, 0 AS gifts, 0 AS gift_coins,
        sum(earned_coins) AS pay
    FROM bills FINAL GROUP BY day
    UNION ALL
    SELECT toDate(at) AS day, 0, 0, count(), sum(price_coins), sum(share_coins)
    FROM gifts FINAL WHERE refusal = '' AND ledger != 'sandbox' GROUP BY day
)
GROUP BY day
ORDER BY day
