-- From `purchase.events`.
WITH JSONExtract(value, 'Tuple(id String, purchase String, ask String, user String, coins Int64, used_coins Int64, exact Bool,
    withheld String)') AS u
SELECT
    u.id AS id, at, u.purchase AS purchase, u.ask AS ask, u.user AS user, u.coins AS coins, u.used_coins AS used_coins,
    u.exact AS exact, u.withheld AS withheld, partition, offset
FROM log
WHERE topic = 'purchase.events' AND type = 'UsageStated'
