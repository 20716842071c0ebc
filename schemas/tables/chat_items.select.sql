-- From `chat.events`: an item is posted once. A message is the kind that goes without saying.
WITH JSONExtract(value, 'Tuple(pair String, seq UInt64, user String, peer String, kind String, ref String, length UInt16,
    reason String, connected Bool, duration_s Float64, item String, price_coins Int64, share_coins Int64, campaign String)') AS i
SELECT
    i.pair AS pair, i.seq AS seq, at, i.user AS user, i.peer AS peer, if(i.kind = '', 'message', i.kind) AS kind, i.ref AS ref,
    i.length AS length, i.reason AS reason, i.connected AS connected, i.duration_s AS duration_s, i.item AS item,
    i.price_coins AS price_coins, i.share_coins AS share_coins, i.campaign AS campaign, partition, offset
FROM log
WHERE topic = 'chat.events' AND type = 'ItemPosted'
