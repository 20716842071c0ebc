-- By day of the touch and down to the ad: what marketing joins its spend with (date, campaign_id, adset_id, ad_id).
-- installs: pushed by AppsFlyer. sign_ups, purchasers, ...: what users did, each deed at the touch that counts for its time: a
-- return that lies at most 30 days before it, else the install that brought the user, else, where none did, the latest return.
WITH told AS
(
    SELECT
        user, kind, signed_up_at, touch_at, partition, offset,
        tuple(toDate(touch_at), network, campaign, campaign_id, adset, adset_id, ad, ad_id, platform, country) AS t
    FROM attributions FINAL
    WHERE counts
),
-- Of a user's rows the last one in the log is the last word, whatever their times say.
acquired AS
(
    SELECT
        user, argMaxIf(t, (partition, offset), kind = 'install') AS install, countIf(kind = 'install') > 0 AS installed,
        argMaxIf(t, (touch_at, partition, offset), kind != 'install') AS latest
    FROM told
    GROUP BY user
),
returns AS
(
    SELECT user, touch_at, argMax(t, (partition, offset)) AS t FROM told WHERE kind != 'install' GROUP BY user, touch_at
),
deeds AS
(
    SELECT user, any(signed_up_at) AS at, 'sign_up' AS conversion, toInt64(0) AS coins FROM told GROUP BY user
    UNION ALL
    SELECT user, at, conversion, coins
    FROM conversions FINAL
    WHERE conversion IN ('purchase', 'first_purchase', 'call', 'first_call')
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
    SELECT
        multiIf(r.user != '' AND d.at <= r.touch_at + INTERVAL 30 DAY, r.t, a.installed, a.install, a.latest) AS t,
        0, d.conversion = 'sign_up', d.conversion = 'first_purchase', d.conversion = 'purchase',
        if(d.conversion = 'purchase', d.coins, 0), d.conversion = 'first_call', d.conversion = 'call'
    FROM deeds AS d
    INNER JOIN acquired AS a ON a.user = d.user
    ASOF LEFT JOIN returns AS r ON r.user = d.user AND r.touch_at <= d.at
)
GROUP BY t
ORDER BY date, installs DESC, campaign
