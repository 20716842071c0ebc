-- What cohort rules count: a row for each deed of a user and what it adds to a counter. What outreach writes is nobody's deed.
SELECT caller AS user, at, 'calls' AS field, toInt64(1) AS amount FROM calls FINAL WHERE connected AND kind != 'clip'
UNION ALL
SELECT callee AS user, at, 'calls' AS field, toInt64(1) AS amount FROM calls FINAL WHERE connected AND kind != 'clip'
UNION ALL
SELECT caller AS user, at, 'talked_s' AS field, toInt64(floor(duration_s)) AS amount FROM calls FINAL WHERE connected AND kind != 'clip'
UNION ALL
SELECT callee AS user, at, 'talked_s' AS field, toInt64(floor(duration_s)) AS amount FROM calls FINAL WHERE connected AND kind != 'clip'
UNION ALL
SELECT sender AS user, at, 'gifts_sent' AS field, toInt64(1) AS amount FROM gifts FINAL WHERE refusal = '' AND ledger != 'sandbox'
UNION ALL
SELECT receiver AS user, at, 'gifts_received' AS field, toInt64(1) AS amount FROM gifts FINAL WHERE refusal = '' AND ledger != 'sandbox'
UNION ALL
SELECT splitByChar('/', account)[1] AS user, at, 'coins_spent' AS field, -coins AS amount
FROM balance_entries FINAL WHERE endsWith(account, '/coins') AND reason IN ('call', 'gift') AND coins != 0
UNION ALL
SELECT splitByChar('/', account)[1] AS user, at, 'coins_bought' AS field, coins AS amount
FROM balance_entries FINAL WHERE endsWith(account, '/coins') AND reason = 'purchase' AND coins != 0
UNION ALL
SELECT user, at, 'messages_sent' AS field, toInt64(1) AS amount FROM chat_items FINAL WHERE kind = 'message' AND campaign = ''
UNION ALL
SELECT peer AS user, at, 'messages_received' AS field, toInt64(1) AS amount FROM chat_items FINAL WHERE kind = 'message' AND campaign = ''
