-- From `price_class.events`.
WITH JSONExtract(value, 'Tuple(user String, classes Array(String), price_class String, by String)') AS p
SELECT p.user AS user, at, type AS step, p.classes AS classes, p.price_class AS price_class, p.by AS by, partition, offset
FROM log
WHERE topic = 'price_class.events' AND type IN ('PriceClassesApproved', 'PriceClassPicked')
