"""Cohort rules as SQL, by table. What the statements find in a warehouse is held against the stream in `test_panel.py`."""

import pytest

from schemas.panel import All, Attribute, Count, Is, Moment, Not, Rule, Some, Within
from schemas.panel_counters import Counter
from schemas.panel_sql import NOW, members_sql

DE = Is(Attribute.COUNTRY, ("DE",))
IN_DE = "country IN ('DE')"
WEEK = (
    "(SELECT user FROM user_actions WHERE field = 'calls'"
    f" AND intDiv(toUnixTimestamp(at), 86400) > intDiv(toUnixTimestamp({NOW}), 86400) - 7 GROUP BY user HAVING "
)


@pytest.mark.parametrize(
    ("rule", "condition"),
    [
        (DE, IN_DE),
        (Is(Attribute.COUNTRY, ("DE", "FR")), "country IN ('DE', 'FR')"),
        (Is(Attribute.CAMPAIGN, ("it's", "a\\b")), r"campaign IN ('it\'s', 'a\\b')"),
        (Is(Attribute.TAG, ("vip", "new")), "hasAny(tags, ['vip', 'new'])"),
        (Within(Moment.LAST_SEEN, 60), f"(last_seen_at > 0 AND last_seen_at > {NOW} - toIntervalSecond(60))"),
        (Not(DE), f"NOT {IN_DE}"),
        (All((DE, Not(DE))), f"({IN_DE} AND NOT {IN_DE})"),
        (Some((DE, Not(DE))), f"({IN_DE} OR NOT {IN_DE})"),
        (Count(Counter.CALLS, "7d", 3), f"user IN {WEEK}sum(amount) >= 3)"),
        (Count(Counter.CALLS, "7d", 3, 5), f"user IN {WEEK}sum(amount) >= 3 AND sum(amount) <= 5)"),
        # who has no call at all fits, and has no row
        (Count(Counter.CALLS, "7d", 0, 5), f"user NOT IN {WEEK}NOT (sum(amount) >= 0 AND sum(amount) <= 5))"),
        (Count(Counter.CALLS, "7d", 0), f"user NOT IN {WEEK}NOT (sum(amount) >= 0))"),
        (Count(Counter.CALLS, "7d", -5, -1), f"user IN {WEEK}sum(amount) >= -5 AND sum(amount) <= -1)"),
    ],
)
def test_a_rule_is_one_condition_whose_values_are_quoted(rule: Rule, condition: str) -> None:
    assert members_sql(rule) == f"SELECT user FROM user_attributes WHERE {condition}"
