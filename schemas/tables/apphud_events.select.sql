-- From `apphud.events`.
WITH JSONExtract(value, 'Tuple(event String, event_name String, kind String, purchase String, store String,
    happened_at String, store_product String, user String, price_milliunits Int64, currency String)') AS f
SELECT
    at, f.event AS event, f.event_name AS event_name, f.kind AS kind, f.purchase AS purchase, f.store AS store,
    parseDateTime64BestEffortOrZero(f.happened_at, 6, 'UTC') AS happened_at, f.store_product AS store_product,
    f.user AS user, f.price_milliunits AS price_milliunits, f.currency AS currency, partition, offset
FROM log
WHERE topic = 'apphud.events' AND type = 'ApphudEventRecorded'
