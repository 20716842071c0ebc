-- From `bill.events`; a call that never connected has connected_at 1970.
WITH JSONExtract(value, 'Tuple(call String, traits Tuple(kind String, payer_role String, earner_role String, country String,
    tags Array(String), price_class String, placed_at String), payer String, earner String, tariff String,
    version UInt32, connected_at String, duration_s Float64, paid_coins Int64, earned_coins Int64)') AS b
SELECT
    b.call AS call, at, b.traits.kind AS kind, b.payer AS payer, b.earner AS earner, b.traits.payer_role AS payer_role,
    b.traits.earner_role AS earner_role, b.traits.country AS country, b.traits.tags AS tags, b.traits.price_class AS price_class,
    parseDateTime64BestEffortOrZero(b.traits.placed_at, 6, 'UTC') AS placed_at, b.tariff AS tariff,
    b.version AS version, parseDateTime64BestEffortOrZero(b.connected_at, 6, 'UTC') AS connected_at,
    b.duration_s AS duration_s, b.paid_coins AS paid_coins, b.earned_coins AS earned_coins, partition, offset
FROM log
WHERE topic = 'bill.events' AND type = 'BillClosed'
