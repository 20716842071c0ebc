-- By campaign: how many people were told its notice, to how many streamers wrote, with how many messages; and how many of these
-- people replied to, called (and talked with) or gave a gift to one who had written, within seven days behind that. An opening that
-- was refused is none.
WITH
    openings AS
    (
        SELECT campaign, user, peer, at FROM outreach_steps FINAL
        WHERE step = 'OpeningSent' AND message NOT IN (SELECT message FROM outreach_steps FINAL WHERE step = 'OpeningRefused')
    ),
    sent AS (SELECT campaign, user, peer, min(at) AS since FROM openings GROUP BY ALL),
    deeds AS
    (
        SELECT user, peer, at, 1 AS replied, 0 AS called, 0 AS gave FROM chat_items FINAL WHERE kind = 'message' AND campaign = ''
        UNION ALL SELECT user, peer, at, 0, 0, 1 FROM chat_items FINAL WHERE kind = 'gift'
        UNION ALL SELECT user, peer, at, 0, 1, 0 FROM chat_items FINAL WHERE kind = 'call' AND connected
    ),
    came AS
    (
        SELECT s.campaign AS campaign, s.user AS user, max(d.replied) AS replied, max(d.called) AS called, max(d.gave) AS gave
        FROM sent AS s INNER JOIN deeds AS d ON d.user = s.user AND d.peer = s.peer
        WHERE d.at >= s.since AND d.at <= s.since + INTERVAL 7 DAY
        GROUP BY campaign, user
    ),
    steps AS
    (
        SELECT
            campaign, uniqExactIf(user, step = 'CampaignTold') AS told, uniqExactIf(user, step = 'OpeningSent') AS opened,
            countIf(step = 'OpeningSent') AS openings
        FROM (
            SELECT campaign, user, step FROM outreach_steps FINAL WHERE step != 'OpeningSent'
            UNION ALL SELECT campaign, user, 'OpeningSent' AS step FROM openings
        )
        GROUP BY campaign
    ),
    sums AS (SELECT campaign, sum(replied) AS replied, sum(called) AS called, sum(gave) AS gave FROM came GROUP BY campaign)
SELECT
    s.campaign AS campaign, s.told AS told, s.opened AS opened, s.openings AS openings, c.replied AS replied, c.called AS called,
    c.gave AS gave
FROM steps AS s LEFT JOIN sums AS c ON c.campaign = s.campaign
ORDER BY campaign
