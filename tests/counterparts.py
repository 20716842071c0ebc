"""Every view of the warehouse once more, by another engine: DuckDB over the raw log, from the facts and the written rules.

Nothing here reads a typed table or a view. Of attribution only the touches, the sign-ups and the deeds are read, not what the
deciders say of them: who was brought by what follows from the rule in docs/attribution.md. Columns are those of the
view, in its order; `today` and `now_` are macros, and `ts` is the time of a fact.
"""

from typing import Final

# `facts`: seq is the record's place in the whole log, v its JSON.
HELPERS: Final = """
CREATE VIEW facts AS SELECT seq, topic, (v ->> 'type') AS type, (v ->> 'at')::TIMESTAMP AS ts, v FROM log;
CREATE VIEW sign_ups AS SELECT seq, (v ->> 'user') AS who, ts, v FROM facts WHERE type = 'UserSignedUp';
CREATE VIEW calls AS SELECT seq, ts, (v ->> 'caller') AS caller, (v ->> 'callee') AS callee, (v ->> 'kind') AS kind,
    coalesce((v ->> 'duration_s')::DOUBLE, 0) AS duration_s FROM facts
    WHERE type = 'CallEnded' AND coalesce((v ->> 'connected')::BOOL, false);
CREATE VIEW gifts AS SELECT ts, (v ->> 'sender') AS sender, (v ->> 'receiver') AS receiver,
    (v ->> 'price_coins')::BIGINT AS price, (v ->> 'share_coins')::BIGINT AS share FROM facts WHERE type = 'GiftSent';
CREATE VIEW bills AS SELECT ts, ts::DATE AS day, (v ->> 'earner') AS earner, (v ->> 'tariff') AS tariff,
    coalesce((v ->> 'version')::INT, 0) AS version, (v ->> 'connected_at') IS NOT NULL AS connected,
    (v ->> 'duration_s')::DOUBLE AS duration_s, (v ->> 'paid_coins')::BIGINT AS paid, (v ->> 'earned_coins')::BIGINT AS earned
    FROM facts WHERE type = 'BillClosed';
CREATE VIEW entries AS SELECT seq, ts, split_part(v ->> 'account', '/', 1) AS who, (v ->> 'reason') AS reason,
    (v ->> 'coins')::BIGINT AS coins FROM facts WHERE type = 'EntryRecorded' AND (v ->> 'account') LIKE '%/coins';
CREATE VIEW spans AS SELECT (v ->> 'user') AS who, ts AS until,
    ts - to_microseconds(round((v ->> 'online_s')::DOUBLE * 1000000)::BIGINT) AS since FROM facts WHERE type = 'WentOffline';
CREATE VIEW sightings AS SELECT seq, type, ts, (v ->> 'user') AS who, v FROM facts
    WHERE type IN ('UserSignedUp', 'SessionOpened', 'CameOnline', 'WentOffline');
CREATE VIEW touches AS SELECT who, kind, t.t_at AS t_at, t FROM (
    SELECT (v ->> 'user') AS who, (v -> 'touch' ->> 'kind') AS kind, struct_pack(
        t_at := (v -> 'touch' ->> 'at')::TIMESTAMP, network := coalesce(v -> 'touch' ->> 'network', 'organic'),
        campaign := coalesce(v -> 'touch' ->> 'campaign', ''), campaign_id := coalesce(v -> 'touch' ->> 'campaign_id', ''),
        ad := coalesce(v -> 'touch' ->> 'ad', ''), platform := coalesce(v -> 'touch' ->> 'platform', ''),
        country := coalesce(v -> 'touch' ->> 'country', '')) AS t
    FROM facts WHERE type = 'UserTouched');
CREATE VIEW acquired AS SELECT t.who AS who, min(t.t) AS t FROM touches t JOIN sign_ups s ON s.who = t.who
    WHERE kind = 'install' AND s.ts BETWEEN t_at - INTERVAL 1 DAY AND t_at + INTERVAL 30 DAY GROUP BY t.who;
CREATE VIEW returns AS SELECT t.who AS who, t_at, t FROM touches t JOIN sign_ups s ON s.who = t.who
    WHERE kind != 'install' AND t.network != 'organic' AND s.ts <= t_at + INTERVAL 30 DAY;
CREATE VIEW deeds AS SELECT *, row_number() OVER (PARTITION BY who, deed ORDER BY seq) = 1 AS first FROM (
    SELECT seq, who, ts, 'sign_up' AS deed, 0::BIGINT AS coins FROM sign_ups
    UNION ALL SELECT seq, who, ts, 'purchase', coins FROM entries WHERE reason = 'purchase'
    UNION ALL SELECT seq, caller, ts, 'call', 0 FROM calls WHERE kind != 'clip');
CREATE VIEW credited AS SELECT d.deed AS deed, d.coins AS coins, d.first AS first, coalesce(w.t, a.t, l.t) AS t FROM deeds d
    LEFT JOIN (SELECT d.seq AS seq, max(r.t) AS t FROM deeds d JOIN returns r ON r.who = d.who
        WHERE d.ts BETWEEN r.t_at AND r.t_at + INTERVAL 30 DAY GROUP BY d.seq) w ON w.seq = d.seq
    LEFT JOIN acquired a ON a.who = d.who
    LEFT JOIN (SELECT who, max(t) AS t FROM returns GROUP BY who) l ON l.who = d.who
    WHERE coalesce(w.t, a.t, l.t) IS NOT NULL;
CREATE VIEW installs AS SELECT DISTINCT (v ->> 'id') AS id, struct_pack(
        t_at := (v -> 'touch' ->> 'at')::TIMESTAMP, network := coalesce(v -> 'touch' ->> 'network', 'organic'),
        campaign := coalesce(v -> 'touch' ->> 'campaign', ''), campaign_id := coalesce(v -> 'touch' ->> 'campaign_id', ''),
        ad := coalesce(v -> 'touch' ->> 'ad', ''), platform := coalesce(v -> 'touch' ->> 'platform', ''),
        country := coalesce(v -> 'touch' ->> 'country', '')) AS t
    FROM facts WHERE type = 'PushRecorded' AND (v -> 'touch' ->> 'kind') = 'install';
CREATE VIEW changes AS SELECT seq, type, ts, (v ->> 'user') AS who, (v ->> 'cohort') AS cohort, (v ->> 'tag') AS tag,
    lead(ts) OVER (PARTITION BY (v ->> 'user'), (v ->> 'cohort') ORDER BY seq) AS next_at
    FROM facts WHERE type IN ('CohortEntered', 'CohortLeft');
CREATE VIEW actions AS
    SELECT unnest([caller, callee]) AS who, ts, 'calls' AS field, 1::BIGINT AS amount FROM calls WHERE kind != 'clip'
    UNION ALL SELECT unnest([caller, callee]), ts, 'talked_s', floor(duration_s)::BIGINT FROM calls WHERE kind != 'clip'
    UNION ALL SELECT sender, ts, 'gifts_sent', 1 FROM gifts UNION ALL SELECT receiver, ts, 'gifts_received', 1 FROM gifts
    UNION ALL SELECT who, ts, 'coins_spent', -coins FROM entries WHERE reason IN ('call', 'gift') AND coins != 0
    UNION ALL SELECT who, ts, 'coins_bought', coins FROM entries WHERE reason = 'purchase' AND coins != 0
    UNION ALL SELECT unnest([v ->> 'user', v ->> 'peer']), ts, unnest(['messages_sent', 'messages_received']), 1 FROM facts
    WHERE type = 'ItemPosted' AND (v ->> 'kind') IS NULL AND (v ->> 'campaign') IS NULL;
CREATE VIEW seen AS
    SELECT who, ts::DATE AS day FROM sightings
    UNION SELECT who, unnest(generate_series(since::DATE, until::DATE, INTERVAL 1 DAY))::DATE FROM spans
    UNION SELECT who, unnest(generate_series(ts::DATE, today(), INTERVAL 1 DAY))::DATE FROM (
        SELECT who, arg_max(type, seq) AS last, max_by(ts, seq) AS ts FROM sightings
        WHERE type IN ('CameOnline', 'WentOffline') GROUP BY who HAVING last = 'CameOnline');
CREATE VIEW entered AS
    SELECT cohort, who, min(ts)::DATE AS since FROM changes WHERE type = 'CohortEntered' GROUP BY cohort, who
    UNION ALL SELECT 'week of ' || date_trunc('week', ts::DATE)::DATE::VARCHAR, who, ts::DATE FROM sign_ups;
CREATE VIEW steps AS SELECT seq, type, ts, (v ->> 'effect') AS effect, (v ->> 'provider') AS provider, (v ->> 'subject') AS who,
    (v ->> 'attempt')::INT AS attempt, coalesce((v ->> 'status')::INT, 0) AS status,
    (v -> 'postback') AS p FROM facts WHERE topic = 'outbox.events' AND (v ->> 'kind') = 'postback'
"""

PERFORMANCE: Final = """
SELECT t.t_at::DATE AS date, t.network AS network, t.campaign AS campaign, t.campaign_id AS campaign_id, '' AS adset,
    '' AS adset_id, t.ad AS ad, '' AS ad_id, t.platform AS platform, t.country AS country,
    count(*) FILTER (deed = 'install') AS installs, count(*) FILTER (deed = 'sign_up') AS sign_ups,
    count(*) FILTER (deed = 'purchase' AND first) AS purchasers, count(*) FILTER (deed = 'purchase') AS purchases,
    coalesce(sum(coins) FILTER (deed = 'purchase'), 0) AS coins_bought, count(*) FILTER (deed = 'call' AND first) AS callers,
    count(*) FILTER (deed = 'call') AS calls
FROM (SELECT 'install' AS deed, 0 AS coins, false AS first, t FROM installs
    UNION ALL SELECT deed, coins, first, t FROM credited)
GROUP BY ALL
"""

COUNTERPARTS: Final = {
    "campaign_performance": PERFORMANCE,
    "campaign_funnel": f"""
        SELECT date, network, campaign, sum(installs), sum(sign_ups), sum(purchasers), sum(callers),
            CASE WHEN sum(installs) > 0 THEN round_even(sum(sign_ups) / sum(installs), 3) END,
            CASE WHEN sum(sign_ups) > 0 THEN round_even(sum(purchasers) / sum(sign_ups), 3) END, sum(coins_bought)
        FROM ({PERFORMANCE}) GROUP BY date, network, campaign""",
    "call_lengths": """
        SELECT kind, (SELECT max(b) FROM unnest([0, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200]) u(b)
            WHERE b <= duration_s) AS from_s, count(*), sum(duration_s) FROM calls GROUP BY kind, from_s""",
    "cohort_membership": """
        SELECT cohort, tag, who, ts, CASE WHEN next_at IS NOT NULL THEN greatest(ts, next_at) END FROM changes
        WHERE type = 'CohortEntered'""",
    "postbacks": """
        SELECT effect, any_value(provider), any_value(who), any_value(p ->> 'conversion'), any_value(p ->> 'event'),
            any_value(p ->> 'ref'), coalesce(any_value(p ->> 'network'), ''), coalesce(any_value(p ->> 'campaign'), ''),
            coalesce(max((p ->> 'value_micros')::BIGINT), 0) / 1000000, coalesce(any_value(p ->> 'currency'), ''),
            max((p ->> 'at')::TIMESTAMP), min(ts), max(attempt),
            CASE arg_max(type, seq) WHEN 'EffectDue' THEN 'sent' WHEN 'EffectPostponed' THEN 'retried'
                WHEN 'EffectAccepted' THEN 'accepted' ELSE 'refused' END AS state, arg_max(status, seq),
            CASE arg_max(type, seq) WHEN 'EffectExpired' THEN 'too late: ' ELSE '' END || CASE
                WHEN arg_max(type, seq) IN ('EffectDue', 'EffectAccepted') THEN ''
                WHEN arg_max(status, seq) = 0 THEN 'no answer' ELSE 'HTTP ' || arg_max(status, seq) END,
            CASE WHEN arg_max(type, seq) NOT IN ('EffectDue', 'EffectPostponed') THEN max(ts) END
        FROM steps GROUP BY effect""",
    "push_fallback": """
        WITH n AS (SELECT type, ts::DATE AS day, (v ->> 'kind') AS kind, (v ->> 'reason') AS reason,
            (v ->> 'no_push') AS no_push, coalesce((v ->> 'after_s')::DOUBLE, 0) AS after_s FROM facts
            WHERE topic = 'notification.events')
        SELECT day, kind, count(*) FILTER (type = 'Notified') AS told, count(*) FILTER (type = 'PushDecided'),
            count(*) FILTER (type = 'PushDecided' AND reason = 'offline'), count(*) FILTER (type = 'PushHeld'),
            count(*) FILTER (no_push IS NOT NULL), count(*) FILTER (type = 'NotificationAcked'),
            round(avg(after_s) FILTER (type = 'NotificationAcked'), 3),
            CASE WHEN told > 0 THEN round(count(*) FILTER (type = 'PushDecided') / told, 3) END
        FROM n WHERE kind IS NOT NULL GROUP BY day, kind""",
    "push_health": """
        WITH n AS (SELECT DISTINCT (v ->> 'user') AS who, (v ->> 'notification') AS name, (v ->> 'kind') AS kind FROM facts
            WHERE type = 'Notified')
        SELECT ts::DATE AS day, n.kind, coalesce(v ->> 'provider', '') AS provider, count(*),
            count(*) FILTER (type = 'PushAccepted'), count(*) FILTER (type = 'PushRefused'),
            count(*) FILTER (type = 'PushTokenDead'), round(count(*) FILTER (type = 'PushTokenDead') / count(*), 3)
        FROM facts JOIN n ON n.who = (v ->> 'user') AND n.name = (v ->> 'occurrence')
        WHERE type IN ('PushAccepted', 'PushRefused', 'PushTokenDead') GROUP BY ALL""",
    "token_health": """
        SELECT ts::DATE AS day, (v ->> 'platform') AS platform, count(*) FILTER (type = 'PhoneKept'),
            count(*) FILTER ((v ->> 'end') = 'logged_out'), count(*) FILTER ((v ->> 'end') = 'replaced'),
            count(*) FILTER ((v ->> 'end') = 'token_dead')
        FROM facts WHERE type IN ('PhoneKept', 'PhoneDropped') GROUP BY ALL""",
    "presence_hours": """
        SELECT day::DATE, who, sum(epoch_us(least(until, day + INTERVAL 1 DAY)) - epoch_us(greatest(since, day))) / 3600000000
        FROM (SELECT who, since, until, unnest(generate_series(date_trunc('day', since), until, INTERVAL 1 DAY)) AS day
            FROM spans) GROUP BY day, who""",
    "retention_by_cohort": """
        SELECT cohort, n AS day, count(*), count(s.who), round_even(count(s.who) / count(*), 3)
        FROM (SELECT *, unnest(generate_series(0, 30)) AS n FROM entered) e
        LEFT JOIN seen s ON s.who = e.who AND s.day = e.since + n::INT
        WHERE e.since + n::INT <= today() GROUP BY cohort, n""",
    "outreach_conversion": """
        WITH not_sent AS (SELECT (v ->> 'message') AS message FROM facts WHERE type = 'OpeningRefused'),
            steps_of AS (SELECT type, ts, v FROM facts WHERE type IN ('CampaignTold', 'OpeningRefused', 'OpeningsEnded')
                UNION ALL SELECT f.type, f.ts, f.v FROM facts f ANTI JOIN not_sent n ON n.message = (f.v ->> 'message')
                WHERE f.type = 'OpeningSent'),
            s AS (SELECT (v ->> 'campaign') AS campaign, (v ->> 'user') AS who, (v ->> 'peer') AS peer, min(ts) AS since
                FROM steps_of WHERE type = 'OpeningSent' GROUP BY ALL),
            items AS (SELECT ts, (v ->> 'user') AS who, (v ->> 'peer') AS peer, coalesce(v ->> 'kind', 'message') AS kind, v
                FROM facts WHERE type = 'ItemPosted'),
            did AS (SELECT campaign, s.who AS who, bool_or(i.kind = 'message' AND (i.v ->> 'campaign') IS NULL) AS replied,
                    bool_or(i.kind = 'call' AND coalesce((i.v ->> 'connected')::BOOL, false)) AS called,
                    bool_or(i.kind = 'gift') AS gave
                FROM s JOIN items i ON i.who = s.who AND i.peer = s.peer AND i.ts BETWEEN s.since AND s.since + INTERVAL 7 DAY
                GROUP BY campaign, s.who),
            steps AS (SELECT (v ->> 'campaign') AS campaign,
                    count(DISTINCT v ->> 'user') FILTER (type = 'CampaignTold') AS told,
                    count(DISTINCT v ->> 'user') FILTER (type = 'OpeningSent') AS opened,
                    count(*) FILTER (type = 'OpeningSent') AS openings
                FROM steps_of GROUP BY 1)
        SELECT t.campaign, t.told, t.opened, t.openings, coalesce(sum(d.replied::INT), 0), coalesce(sum(d.called::INT), 0),
            coalesce(sum(d.gave::INT), 0)
        FROM steps t LEFT JOIN did d ON d.campaign = t.campaign GROUP BY 1, 2, 3, 4""",
    "revenue_per_day": """
        SELECT day, sum(calls), sum(paid), sum(gifts), sum(price), sum(pay), sum(paid) + sum(price) - sum(pay)
        FROM (SELECT day, connected::INT AS calls, paid, 0 AS gifts, 0 AS price, earned AS pay FROM bills
            UNION ALL SELECT ts::DATE, 0, 0, 1, price, share FROM gifts) GROUP BY day""",
    "streamer_pay_per_day": """
        SELECT day, streamer, sum(calls), sum(talked_s), sum(earned), sum(gifts), sum(share), sum(earned) + sum(share)
        FROM (SELECT day, earner AS streamer, connected::INT AS calls, duration_s AS talked_s, earned, 0 AS gifts, 0 AS share
            FROM bills UNION ALL SELECT ts::DATE, receiver, 0, 0, 0, 1, share FROM gifts) GROUP BY day, streamer""",
    "tariff_mix": """
        SELECT day, tariff, version, count(*), sum(duration_s), sum(paid), sum(earned), sum(paid) - sum(earned)
        FROM bills WHERE connected GROUP BY day, tariff, version""",
    "user_actions": "SELECT who, ts, field, amount FROM actions",
    "user_attributes": """
        WITH u AS (SELECT who, coalesce(arg_max(v ->> 'role', seq), '') AS role,
                coalesce(arg_max(v ->> 'country', seq), '') AS country,
                coalesce(arg_max(v ->> 'platform', seq), '') AS platform,
                coalesce(arg_max(v ->> 'locale', seq), '') AS locale,
                coalesce(arg_max(v ->> 'app_version', seq), '') AS version,
                max(ts) FILTER (type = 'UserSignedUp') AS signed_up_at, max(ts) AS last_seen_at FROM sightings GROUP BY who),
            tags AS (SELECT who, list(tag) AS tags FROM (
                SELECT (v ->> 'user') AS who, (v ->> 'tag') AS tag, arg_max((v ->> 'there')::BOOL, seq) AS there FROM facts
                WHERE type = 'TagChanged' GROUP BY ALL) WHERE there GROUP BY who),
            back AS (SELECT who, max(t) AS t FROM returns GROUP BY who),
            came AS (SELECT u.who AS who, CASE WHEN b.t IS NOT NULL AND (a.t IS NULL OR now_() < b.t.t_at + INTERVAL 30 DAY)
                THEN b.t ELSE a.t END AS t FROM u LEFT JOIN acquired a ON a.who = u.who LEFT JOIN back b ON b.who = u.who)
        SELECT u.*, coalesce(tags.tags, []), coalesce(came.t.network, ''), coalesce(came.t.campaign, '')
        FROM u LEFT JOIN tags ON tags.who = u.who LEFT JOIN came ON came.who = u.who""",
}  # fmt: skip
