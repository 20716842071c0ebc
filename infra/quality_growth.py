"""What `olo quality` asks of growth: pushes, attribution, cohorts, retention, postbacks, and marketing's export.

Where a view says something that the log's last word says, too, both are asked, so that a view that takes another order is seen.
"""

from typing import Any, Final

from infra.attribution import FORMULA, ExportFormat, columns
from infra.quality_suites import (
    EARLIEST,
    MAX_ROWS,
    PLAUSIBLE,
    Suite,
    among,
    at_least,
    none,
    not_more,
    recent,
    told,
    unique,
    within,
)
from schemas.ads import EARLY, LOOKBACK, ORGANIC, RETURN_WINDOW
from schemas.names import MAX_NAME, NOTHING
from schemas.postback import RESERVED, RESERVED_PREFIXES, ConversionKind, Provider

DAY_S: Final = 86_400
# A push comes at most 90 days behind its install, and none is of tomorrow.
OLDEST_TOUCH_S: Final = 90 * DAY_S
# A space that is none to a computer, twice one space, one at an end, or what nobody sees: no form of a name has it.
FORMLESS: Final = r"[\x00-\x1f\x7f\u00a0\u200b\u2000-\u200a\u202f\u3000\ufeff]|^ |  | $"


def _quoted(values: Any) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


def _names(*names: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    return tuple(("ExpectColumnValuesToNotMatchRegex", {"column": name, "regex": FORMLESS}) for name in names)


def _kept() -> str:
    """Whether a vendor keeps the name of a postback's event for itself, as SQL."""
    taken = " OR ".join(f"(provider = '{name}' AND lower(event) IN ({_quoted(RESERVED[name])}))" for name in RESERVED)
    prefixes = " OR ".join(
        f"(provider = '{name}' AND startsWith(lower(event), '{prefix}'))"
        for name in RESERVED
        for prefix in RESERVED_PREFIXES[name]
    )
    return f"{taken} OR {prefixes}"


EXPORT: Final = (
    f"SELECT {columns(ExportFormat.CSV)} FROM campaign_performance WHERE date >= toDate({{since:DateTime}}) LIMIT {MAX_ROWS}"
)
FORMULAS: Final = FORMULA.replace("\\\\", "\\").replace(r"\x{", r"\u").replace("}", "")

GROWTH: Final = (
    Suite(
        "pushes",
        "SELECT *, dateDiff('second', touch_at, at) AS before_s, lower(network) AS lower_network,"
        f" network = '{ORGANIC}' AND JSONExtractString(details, 'af_prt') != '' AS agency_taken_for_organic,"
        " dateDiff('second', at, now('UTC')) AS age_s"
        f" FROM pushes FINAL WHERE at >= {{since:DateTime}} OR at < '{EARLIEST}' ORDER BY at DESC LIMIT {MAX_ROWS}",
        (
            *told("install", "event_name"), *_names("network", "campaign", "ad"), PLAUSIBLE,
            ("ExpectColumnValueLengthsToBeBetween", {"column": "campaign", "max_value": MAX_NAME}),
            ("ExpectColumnValuesToNotBeInSet", {"column": "lower_network", "value_set": sorted(NOTHING - {""})}),
            none("agency_taken_for_organic"),
        ),
    ),
    Suite(  # of every install and return; a push without one has no touch
        "touches",
        "SELECT network, dateDiff('second', touch_at, at) AS before_s FROM pushes FINAL"
        f" WHERE kind != '' AND at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (*told("network"), within("before_s", -3_600, OLDEST_TOUCH_S + DAY_S)),
    ),
    Suite(  # a push that was answered as recorded, and then could not be read
        "lost_pushes",
        "SELECT count() AS lost FROM log FINAL WHERE topic = 'dead_letters' AND startsWith(key, 'install.inbox/')"
        " AND logged_at >= {since:DateTime}",
        (none("lost"),),
    ),
    Suite(
        "attributions",
        "SELECT *, dateDiff('second', touch_at, signed_up_at) AS after_s FROM attributions FINAL"
        f" WHERE counts AND kind = 'install' AND at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (*told("user", "network"), within("after_s", -EARLY.total_seconds(), LOOKBACK.total_seconds())),
    ),
    Suite(
        "returns",
        "SELECT *, dateDiff('second', touch_at, signed_up_at) AS after_s FROM attributions FINAL"
        f" WHERE counts AND kind != 'install' AND at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (
            *told("user", "network"), at_least("after_s", -10 * 366 * DAY_S),
            ("ExpectColumnValuesToBeBetween", {"column": "after_s", "max_value": RETURN_WINDOW.total_seconds()}),
            ("ExpectColumnValuesToNotBeInSet", {"column": "network", "value_set": [ORGANIC]}),
        ),
    ),
    Suite(  # what cohort rules see is the last word in the log
        "last_words",
        "SELECT a.user AS user, a.network != w.network OR a.campaign != w.campaign AS another FROM user_attributes AS a"
        " INNER JOIN (SELECT user, argMax(network, (partition, offset)) AS network,"
        " argMax(campaign, (partition, offset)) AS campaign"
        f" FROM attributions FINAL WHERE counts GROUP BY user) AS w ON w.user = a.user LIMIT {MAX_ROWS}",
        (none("another"),),
    ),
    Suite(  # each user signed up by one touch, and where no return counts it is the last install that was told
        "campaigns",
        "SELECT w.campaign AS campaign, toInt64(w.sign_ups) - p.sign_ups AS difference FROM"
        " (SELECT t.1 AS network, t.2 AS campaign, count() AS sign_ups FROM (SELECT user,"
        " argMaxIf((network, campaign), (touch_at, partition, offset), kind != 'install' AND touch_at <= signed_up_at) AS back,"
        " argMaxIf((network, campaign), (partition, offset), kind = 'install') AS install,"
        " argMaxIf((network, campaign), (touch_at, partition, offset), kind != 'install') AS later,"
        " multiIf(back.1 != '', back, install.1 != '', install, later) AS t"
        " FROM attributions FINAL WHERE counts GROUP BY user) GROUP BY network, campaign) AS w LEFT JOIN"
        " (SELECT network, campaign, sum(sign_ups) AS sign_ups FROM campaign_performance GROUP BY network, campaign) AS p"
        f" ON w.network = p.network AND w.campaign = p.campaign LIMIT {MAX_ROWS}",
        (none("difference"),),
    ),
    Suite(
        "funnel_days",
        "SELECT toString(date) AS day, dateDiff('day', date, toDate(now('UTC'))) AS days_ago FROM campaign_performance"
        f" LIMIT {MAX_ROWS}",
        (within("days_ago", -1, 10 * 366),),
    ),
    Suite(
        "export",
        EXPORT,
        tuple(("ExpectColumnValuesToNotMatchRegex", {"column": name, "regex": FORMULAS}) for name in ("network", "campaign")),
    ),
    Suite(
        "conversions",
        recent("conversions"),
        (*told("user", "ref"), among("conversion", ConversionKind), unique("user", "conversion", "ref"),
         at_least("coins"), PLAUSIBLE),
    ),
    Suite(
        "postbacks",
        f"SELECT effect, provider, event, state, attempts, user,"
        f" state != 'refused' AND ({_kept()}) AS dropped FROM postbacks WHERE owed_at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (
            *told("effect", "user"), unique("effect"), among("provider", Provider), at_least("attempts", 1),
            among("state", ("sent", "retried", "accepted", "refused")), none("dropped"),
        ),
    ),
    Suite(
        "cohort_membership",
        "SELECT cohort, user, left_at IS NOT NULL AND left_at < entered_at AS backwards FROM cohort_membership"
        f" WHERE entered_at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (*told("cohort", "user"), none("backwards")),
    ),
    Suite(  # who is in a cohort is whoever has entered it last
        "members",
        "SELECT w.cohort AS cohort, w.user AS user, w.inside != (m.user != '') AS another FROM"
        " (SELECT cohort, user, argMax(entered, (partition, offset)) AS inside FROM cohort_changes FINAL GROUP BY ALL) AS w"
        " LEFT JOIN (SELECT DISTINCT cohort, user FROM cohort_membership WHERE left_at IS NULL) AS m"
        f" ON m.cohort = w.cohort AND m.user = w.user LIMIT {MAX_ROWS}",
        (none("another"),),
    ),
    Suite(  # of weeks of sign-ups, whose members are known from elsewhere: who could be seen by that day
        "retention_by_cohort",
        "SELECT r.cohort AS cohort, r.day AS day, r.members AS members, r.active AS active, r.retention AS retention,"
        " r.members - countIf(u.since + r.day <= toDate(now('UTC'))) AS not_there_yet FROM retention_by_cohort AS r"
        " INNER JOIN (SELECT 'week of ' || toString(toMonday(at)) AS cohort, toDate(at) AS since FROM users FINAL) AS u"
        f" ON u.cohort = r.cohort GROUP BY cohort, day, members, active, retention LIMIT {MAX_ROWS}",
        (within("retention", 0, 1), not_more("active", "members"), within("day", 0, 30), none("not_there_yet")),
    ),
    Suite(  # a day without anybody has a row
        "retention_days",
        "SELECT cohort, max(day) + 1 - count() AS missing FROM retention_by_cohort GROUP BY cohort",
        (none("missing"),),
    ),
    Suite(  # who was online for a part of a day was seen on it
        "retention_online",
        "SELECT cohort, day, if(day = 1, online - active, 0) > 0 AS overlooked FROM retention_by_cohort INNER JOIN"
        " (SELECT 'week of ' || toString(toMonday(u.at)) AS cohort, uniqExact(u.user) AS online FROM users AS u FINAL"
        " INNER JOIN (SELECT user, since, until FROM presence FINAL) AS p ON p.user = u.user"
        " WHERE toDate(p.since) <= toDate(u.at) + 1 AND toDate(p.until) >= toDate(u.at) + 1 GROUP BY cohort) AS o USING cohort",
        (none("overlooked"),),
    ),
)  # fmt: skip
