-- From `payout.events`.
WITH JSONExtract(value, 'Tuple(id String, payout String, user String, status String, coins Int64, from_seq UInt64, to_seq UInt64,
    debits_coins Int64, debits_from_seq UInt64, debits_to_seq UInt64, again_coins Int64, version UInt32,
    cents_per_100_coins UInt32, currency String, amount_cents Int64, fee_cents Int64, batch String, provider String, by String, ref String,
    destination String, seen String)') AS p
SELECT
    p.id AS id, at, p.payout AS payout, p.user AS user, p.status AS status, p.coins AS coins, p.from_seq AS from_seq,
    p.to_seq AS to_seq, p.debits_coins AS debits_coins, p.debits_from_seq AS debits_from_seq, p.debits_to_seq AS debits_to_seq,
    p.again_coins AS again_coins, p.version AS version, p.cents_per_100_coins AS cents_per_100_coins, p.currency AS currency,
    p.amount_cents AS amount_cents, p.fee_cents AS fee_cents, p.batch AS batch, p.provider AS provider, p.by AS by, p.ref AS ref,
    p.destination AS destination, p.seen AS seen, partition, offset
FROM log
WHERE topic = 'payout.events' AND type = 'PayoutStepped'
