-- From `rank.events`.
WITH JSONExtract(value, 'Tuple(user String, rings UInt32, answered UInt32, talked_s Float64, gift_coins Int64,
    complaints UInt32, messages UInt32, engagement Float64)') AS e
SELECT
    e.user AS user, at, e.rings AS rings, e.answered AS answered, e.talked_s AS talked_s, e.gift_coins AS gift_coins,
    e.complaints AS complaints, e.messages AS messages, e.engagement AS engagement, partition, offset
FROM log
WHERE topic = 'rank.events' AND type = 'EngagementChanged'
