-- From `favorites.events`; a block takes favourites away, too.
WITH JSONExtract(value, 'Tuple(user String, peer String)') AS f
SELECT f.user AS user, f.peer AS peer, at, type = 'FavoriteAdded' AS liked, partition, offset
FROM log
WHERE topic = 'favorites.events' AND type IN ('FavoriteAdded', 'FavoriteRemoved')
