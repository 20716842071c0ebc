-- From `purchase.events`: each change of what is credited of a purchase. `kind`: refunded or restored.
WITH JSONExtract(value, 'Tuple(id String, purchase String, store String, user String, product String, coins Int64,
    net_coins Int64, revoked_parts UInt32, owed_coins Int64, ledger String)') AS r
SELECT
    r.id AS id, at, if(type = 'PurchaseRefunded', 'refunded', 'restored') AS kind, r.purchase AS purchase, r.store AS store,
    r.user AS user, r.product AS product, r.coins AS coins, r.net_coins AS net_coins, r.revoked_parts AS revoked_parts,
    r.owed_coins AS owed_coins, if(r.ledger = '', 'ordinary', r.ledger) AS ledger, partition, offset
FROM log
WHERE topic = 'purchase.events' AND type IN ('PurchaseRefunded', 'PurchaseRestored')
