-- From `purchase.events`.
WITH JSONExtract(value, 'Tuple(id String, purchase String, store String, user String, product String)') AS c
SELECT
    c.id AS id, at, if(type = 'PurchaseConsumed', 'consumed', 'unconsumed') AS step, c.purchase AS purchase, c.store AS store,
    c.user AS user, c.product AS product, partition, offset
FROM log
WHERE topic = 'purchase.events' AND type IN ('PurchaseConsumed', 'PurchaseUnconsumed')
