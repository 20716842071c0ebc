-- From `profile.events`. The private part is in no table: its facts name fields, and its inbox is not stored.
WITH JSONExtract(value, 'Tuple(user String, name String, age UInt8, country String, languages Array(String),
    photos Array(String), about String)') AS p
SELECT
    p.user AS user, at, p.name AS name, p.age AS age, p.country AS country, p.languages AS languages, p.photos AS photos,
    p.about AS about, partition, offset
FROM log
WHERE topic = 'profile.events' AND type = 'ProfilePut'
