-- From `recipient.events`. The first opening is the number that goes without saying.
WITH JSONExtract(value, 'Tuple(campaign String, user String, peer String, message String, number UInt8, why String)') AS s
SELECT
    s.campaign AS campaign, s.user AS user, at, type AS step, s.peer AS peer, s.message AS message,
    if(type = 'OpeningSent', greatest(s.number, 1), 0) AS number, s.why AS why, partition, offset
FROM log
WHERE topic = 'recipient.events' AND type IN ('CampaignTold', 'OpeningSent', 'OpeningRefused', 'OpeningsEnded')
