-- From `outbox.events`; effects of other kinds (rooms to close) are left out.
WITH JSONExtract(value, 'Tuple(effect String, kind String, provider String, subject String, attempt UInt32, status UInt16,
        detail String)') AS e,
    JSONExtract(value, 'postback', 'Tuple(conversion String, event String, at String, ref String, network String,
        campaign String, value_micros Int64, currency String)') AS p
SELECT
    e.effect AS effect, at, type AS step, e.provider AS provider, e.subject AS subject, e.attempt AS attempt,
    p.conversion AS conversion, p.event AS event, parseDateTime64BestEffortOrZero(p.at, 6, 'UTC') AS happened_at, p.ref AS ref,
    p.network AS network, p.campaign AS campaign, p.value_micros AS value_micros, p.currency AS currency, e.status AS status,
    e.detail AS detail, partition, offset
FROM log
WHERE topic = 'outbox.events' AND JSONExtractString(value, 'kind') = 'postback'
