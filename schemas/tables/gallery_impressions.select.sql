-- From `viewer.events`: a row for each card of a page.
-- rows_each: 20
WITH JSONExtract(value, 'Tuple(viewer String, cards Array(String), first UInt32)') AS s
SELECT
    s.viewer AS viewer, at, card, if(s.first = 0, 1, s.first) AS first, line, partition, offset
FROM log
ARRAY JOIN s.cards AS card, arrayEnumerate(s.cards) AS line
WHERE topic = 'viewer.events' AND type = 'CardsShown'
