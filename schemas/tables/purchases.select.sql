-- From `purchase.events`: a purchase is credited once.
WITH JSONExtract(value, 'Tuple(purchase String, user String, store String, store_product String, product String, version UInt32,
    coins Int64, quantity UInt8, price_milliunits Int64, currency String, country String, price_check String,
    purchased_at String, intent String, subscription String, ledger String)') AS p
SELECT
    p.purchase AS purchase, at, p.user AS user, p.store AS store, p.store_product AS store_product, p.product AS product,
    p.version AS version, p.coins AS coins, p.quantity AS quantity, p.price_milliunits AS price_milliunits,
    p.currency AS currency, p.country AS country, if(p.price_check = '', 'unknown', p.price_check) AS price_check,
    parseDateTime64BestEffortOrZero(p.purchased_at, 6, 'UTC') AS purchased_at, p.intent AS intent, p.subscription AS subscription,
    if(p.ledger = '', 'ordinary', p.ledger) AS ledger,
    partition, offset
FROM log
WHERE topic = 'purchase.events' AND type = 'PurchaseCredited'
