-- From `account.events`: one parse of the JSON a record; absent fields are their type's zero, as in the Struct.
WITH JSONExtract(value, 'Tuple(account String, seq UInt64, kind String, coins Int64, held_change_coins Int64,
    balance_coins Int64, held_coins Int64, counterparty String, reason String, ref String, hold String, transfer String,
    id String, cause String, debt_coins Int64, debt_change_coins Int64, share_version UInt64, shared_coins Int64)') AS e
SELECT
    e.account AS account, e.seq AS seq, e.kind AS kind, at, e.coins AS coins, e.held_change_coins AS held_change_coins,
    e.balance_coins AS balance_coins, e.held_coins AS held_coins, e.counterparty AS counterparty, e.reason AS reason,
    e.ref AS ref, e.hold AS hold, e.transfer AS transfer, e.id AS id, e.cause AS cause,
    e.debt_coins AS debt_coins, e.debt_change_coins AS debt_change_coins,
    e.share_version AS share_version, e.shared_coins AS shared_coins, partition, offset
FROM log
WHERE topic = 'account.events' AND type = 'EntryRecorded'
