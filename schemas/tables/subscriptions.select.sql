-- From `subscription.events`. A field that is left out has its default: it will be renewed.
WITH JSONExtract(value, 'Tuple(id String, name String, user String, product String, version UInt32, store String, status String,
    until String, transaction String, coins Int64, next_product String, next_store_product String, replaced Bool)') AS s
SELECT
    s.id AS id, at, s.name AS name, s.user AS user, s.product AS product, s.version AS version, s.store AS store,
    s.status AS status, parseDateTime64BestEffortOrZero(s.until, 6, 'UTC') AS until, s.transaction AS transaction,
    NOT JSONHas(value, 'renews') OR JSONExtractBool(value, 'renews') AS renews,
    s.coins AS coins, partition, offset,
    s.next_product AS next_product, s.next_store_product AS next_store_product, s.replaced AS replaced
FROM log
WHERE topic = 'subscription.events' AND type = 'SubscriptionChanged'
