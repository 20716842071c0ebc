-- From `attribution.events`.
WITH JSONExtract(value, 'Tuple(user String, conversion String, ref String, coins Int64, network String, campaign String)') AS c
SELECT
    c.user AS user, at, c.conversion AS conversion, c.ref AS ref, c.coins AS coins, c.network AS network,
    c.campaign AS campaign, partition, offset
FROM log
WHERE topic = 'attribution.events' AND type = 'ConversionRecorded'
