-- From `purchase.events`.
WITH JSONExtract(value, 'Tuple(id String, purchase String, user String, refusal String)') AS r
SELECT r.id AS id, at, r.purchase AS purchase, r.user AS user, r.refusal AS refusal, partition, offset
FROM log
WHERE topic = 'purchase.events' AND type = 'PurchaseRefused'
