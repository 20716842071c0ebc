-- By day of the install and down to the ad: what marketing joins its spend with (date, campaign_id, adset_id, ad_id).
-- installs: pushed by AppsFlyer; sign_ups, purchasers, ...: users whom the touch brought, whenever they did it.
WITH brought AS
(
    SELECT
        user, argMax(tuple(toDate(touch_at), network, campaign, campaign_id, adset, adset_id, ad, ad_id, platform, country),
            (at, partition, offset)) AS t
    FROM attributions FINAL
    WHERE counts
    GROUP BY user
)
SELECT
    t.1 AS date, t.2 AS network, t.3 AS campaign, t.4 AS campaign_id, t.5 AS adset, t.6 AS adset_id, t.7 AS ad, t.8 AS ad_id,
    t.9 AS platform, t.10 AS country, sum(install) AS installs, sum(sign_up) AS sign_ups, sum(purchaser) AS purchasers,
    sum(purchase) AS purchases, sum(bought) AS coins_bought, sum(caller) AS callers, sum(call) AS calls
FROM
(
    SELECT
        tuple(toDate(touch_at), network, campaign, campaign_id, adset, adset_id, ad, ad_id, platform, country) AS t,
        1 AS install, 0 AS sign_up, 0 AS purchaser, 0 AS purchase, 0 AS bought, 0 AS caller, 0 AS call
    FROM pushes FINAL
    WHERE kind = 'install'
    UNION ALL
    SELECT t, 0, 1, 0, 0, 0, 0, 0 FROM brought
    UNION ALL
    SELECT
        b.t, 0, 0, conversion = 'first_purchase', conversion = 'purchase', if(conversion = 'purchase', coins, 0),
        conversion = 'first_call', conversion = 'call'
    FROM conversions AS c FINAL
    INNER JOIN brought AS b ON b.user = c.user
)
GROUP BY t
ORDER BY date, installs DESC, campaign
