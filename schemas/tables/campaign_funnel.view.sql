-- Install -> sign-up -> purchase -> call, by campaign and day of the touch; each rate is of the step before it.
SELECT
    date AS day, network, campaign, sum(installs) AS installed, sum(sign_ups) AS signed_up, sum(purchasers) AS purchased,
    sum(callers) AS called, round(signed_up / nullIf(installed, 0), 3) AS sign_up_rate,
    round(purchased / nullIf(signed_up, 0), 3) AS purchase_rate, sum(coins_bought) AS coins
FROM campaign_performance
GROUP BY day, network, campaign
ORDER BY day, installed DESC, campaign
