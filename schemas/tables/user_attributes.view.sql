-- What cohort rules look at in a user: who, where from, on what, and when seen last; empty: not known. The last word is the last
-- one in the log, as for the deciders, whatever its time says.
SELECT
    user, any(s.role) AS role, any(s.country) AS country, any(s.platform) AS platform, any(s.locale) AS locale,
    any(s.app_version) AS app_version, any(s.signed_up_at) AS signed_up_at, any(s.last_seen_at) AS last_seen_at,
    any(t.tags) AS tags, any(a.network) AS network, any(a.campaign) AS campaign
FROM
(
    SELECT user FROM sightings
    UNION DISTINCT SELECT user FROM user_actions
    UNION DISTINCT SELECT user FROM tags
    UNION DISTINCT SELECT user FROM attributions WHERE counts
) AS everybody
LEFT JOIN
(
    SELECT
        user, argMaxIf(role, (partition, offset), role != '') AS role,
        argMaxIf(country, (partition, offset), country != '') AS country,
        argMaxIf(platform, (partition, offset), platform != '') AS platform,
        argMaxIf(locale, (partition, offset), locale != '') AS locale,
        argMaxIf(app_version, (partition, offset), app_version != '') AS app_version,
        maxIf(at, kind = 'UserSignedUp') AS signed_up_at,
        max(at) AS last_seen_at
    FROM sightings FINAL
    GROUP BY user
) AS s USING user
LEFT JOIN
(
    SELECT user, groupArrayIf(tag, there) AS tags
    FROM (SELECT user, tag, argMax(there, (partition, offset)) AS there FROM tags FINAL GROUP BY user, tag)
    GROUP BY user
) AS t USING user
LEFT JOIN
(
    SELECT user, argMax(network, (partition, offset)) AS network, argMax(campaign, (partition, offset)) AS campaign
    FROM attributions FINAL
    WHERE counts
    GROUP BY user
) AS a USING user
GROUP BY user
