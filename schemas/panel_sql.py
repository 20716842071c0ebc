"""Cohort rules as SQL over the warehouse: the same question as `schemas.panel_rules`, asked of history at the moment `{now}`.

The statement selects the users who fit. Values are quoted here; a rule holds no text that reaches SQL unquoted.
"""

from schemas.panel import All, Attribute, Count, Is, Not, Rule, Some, Within
from schemas.panel_counters import UNITS, parse_window

NOW = "{now:DateTime64(6, 'UTC')}"


def members_sql(rule: Rule) -> str:
    """A SELECT of the users who fit; its parameter `now` is the moment."""
    return f"SELECT user FROM user_attributes WHERE {_condition(rule)}"


def _condition(rule: Rule) -> str:
    match rule:
        case All():
            return "(" + " AND ".join(map(_condition, rule.of)) + ")"
        case Some():
            return "(" + " OR ".join(map(_condition, rule.of)) + ")"
        case Not():
            return f"NOT {_condition(rule.of)}"
        case Is() if rule.field is Attribute.TAG:
            return f"hasAny(tags, [{_quoted(rule.values)}])"
        case Is():
            return f"{rule.field} IN ({_quoted(rule.values)})"
        case Within():
            return f"({rule.field}_at > 0 AND {rule.field}_at > {NOW} - toIntervalSecond({rule.seconds}))"
        case Count():
            return _count(rule)


def _quoted(values: tuple[str, ...]) -> str:
    return ", ".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)


def _count(rule: Count) -> str:
    """Who did nothing has no row: where nothing is enough, those are asked for who do not fit."""
    unit, count = parse_window(rule.window)
    size = UNITS[unit][0] * 60
    fits = f"sum(amount) >= {rule.at_least!r}" + ("" if rule.at_most is None else f" AND sum(amount) <= {rule.at_most!r}")
    nothing_fits = rule.at_least <= 0 and (rule.at_most is None or rule.at_most >= 0)
    actions = (
        f"SELECT user FROM user_actions WHERE field = '{rule.field}'"
        f" AND intDiv(toUnixTimestamp(at), {size}) > intDiv(toUnixTimestamp({NOW}), {size}) - {count}"
        f" GROUP BY user HAVING {f'NOT ({fits})' if nothing_fits else fits}"
    )
    return f"user {'NOT IN' if nothing_fits else 'IN'} ({actions})"
