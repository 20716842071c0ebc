-- From `reconciliation.events`.
WITH JSONExtract(value, 'Tuple(id String, run String, store String, difference String, cure String, purchase String,
    store_product String, theirs Int64, ours Int64, currency String, code String)') AS d
SELECT
    d.id AS id, at, d.run AS run, d.store AS store, d.difference AS difference, d.cure AS cure, d.purchase AS purchase,
    d.store_product AS store_product, d.theirs AS theirs, d.ours AS ours, d.currency AS currency, d.code AS code,
    partition, offset
FROM log
WHERE topic = 'reconciliation.events' AND type = 'DifferenceFound'
