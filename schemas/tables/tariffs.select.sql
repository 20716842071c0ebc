-- From `tariffs.events`.
WITH JSONExtract(value, 'Tuple(tariff Tuple(tariff String, version UInt32, effective_from String), by String)') AS t
SELECT
    t.tariff.tariff AS tariff, t.tariff.version AS version, at,
    parseDateTime64BestEffortOrZero(t.tariff.effective_from, 6, 'UTC') AS effective_from, t.by AS by,
    JSONExtractRaw(value, 'tariff') AS definition, partition, offset
FROM log
WHERE topic = 'tariffs.events' AND type = 'TariffPublished'
