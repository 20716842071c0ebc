-- From `gift.events`: a gift has one of these two facts, once.
WITH JSONExtract(value, 'Tuple(gift String, item String, sender String, receiver String, call String, price_coins Int64,
    share_coins Int64, refusal String, shortfall_coins Int64, ledger String)') AS g
SELECT
    g.gift AS gift, at, g.item AS item, g.sender AS sender, g.receiver AS receiver, g.call AS call,
    g.price_coins AS price_coins, g.share_coins AS share_coins, g.refusal AS refusal, g.shortfall_coins AS shortfall_coins,
    if(g.ledger = '', 'ordinary', g.ledger) AS ledger, partition, offset
FROM log
WHERE topic = 'gift.events' AND type IN ('GiftSent', 'GiftRefused')
