-- From `attribution.events`.
WITH JSONExtract(value, 'Tuple(user String, signed_up_at String)') AS a,
    JSONExtract(value, 'touch', 'Tuple(kind String, at String, network String, campaign String, campaign_id String, adset String,
    adset_id String, ad String, ad_id String, channel String, site String, touch_type String, touched_at String,
    platform String, country String, app String)') AS t
SELECT
    a.user AS user, at, parseDateTime64BestEffortOrZero(a.signed_up_at, 6, 'UTC') AS signed_up_at,
    type = 'UserAttributed' AS counts, t.kind AS kind, parseDateTime64BestEffortOrZero(t.at, 6, 'UTC') AS touch_at,
    if(t.network = '', 'organic', t.network) AS network, t.campaign AS campaign, t.campaign_id AS campaign_id,
    t.adset AS adset, t.adset_id AS adset_id, t.ad AS ad, t.ad_id AS ad_id, t.channel AS channel, t.platform AS platform,
    t.country AS country, partition, offset
FROM log
WHERE topic = 'attribution.events' AND type IN ('UserAttributed', 'AttributionMissed')
