-- From `account.events`: what goes from a member's earnings to an agency's, and comes back.
WITH JSONExtract(value, 'Tuple(account String, seq UInt64, kind String, coins Int64, counterparty String, reason String, ref String,
    share_version UInt64, shared_coins Int64)') AS e
SELECT
    substring(e.counterparty, 1, length(e.counterparty) - 9) AS agency, substring(e.account, 1, length(e.account) - 9) AS user,
    at, e.seq AS seq, e.share_version AS version, e.shared_coins AS earned_coins, -e.coins AS share_coins, e.ref AS ref,
    partition, offset
FROM log
WHERE topic = 'account.events' AND type = 'EntryRecorded' AND e.reason = 'share' AND e.kind IN ('debit', 'return')
