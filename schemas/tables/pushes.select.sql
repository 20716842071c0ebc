-- From `install.events`; what is no install or return has no touch.
WITH JSONExtract(value, 'Tuple(install String, event_name String, user String, event_value String, raw String,
    unread Array(String))') AS p,
    JSONExtract(value, 'touch', 'Tuple(kind String, at String, network String, campaign String, campaign_id String, adset String,
    adset_id String, ad String, ad_id String, channel String, site String, touch_type String, touched_at String,
    platform String, country String, app String)') AS t
SELECT
    p.install AS install, at, p.event_name AS event_name, p.user AS user, t.kind AS kind,
    parseDateTime64BestEffortOrZero(t.at, 6, 'UTC') AS touch_at, if(t.kind = '', '', if(t.network = '', 'organic', t.network)) AS network, t.campaign AS campaign,
    t.campaign_id AS campaign_id, t.adset AS adset, t.adset_id AS adset_id, t.ad AS ad, t.ad_id AS ad_id,
    t.channel AS channel, t.platform AS platform, t.country AS country, p.event_value AS event_value, p.raw AS raw,
    JSONExtractRaw(value, 'details') AS details, p.unread AS unread, partition, offset
FROM log
WHERE topic = 'install.events' AND type = 'PushRecorded'
