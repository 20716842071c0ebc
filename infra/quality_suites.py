"""What `olo quality` asks of the book, calls, gifts and people: suites as data, and the words that they are written in."""

from typing import Any, Final, NamedTuple

from schemas.balance import Reason
from schemas.billing_rules import CallKind
from schemas.interaction import InteractionKind
from schemas.user import Role

Expectation = tuple[str, dict[str, Any]]

MAX_ROWS: Final = 200_000
# Before anything of ours; what is earlier is a clock or a parser gone wrong.
EARLIEST: Final = "2020-01-01"


class Suite(NamedTuple):
    """What is asked (`{since}`: the first moment), and what must hold: (expectation, its arguments)."""

    name: str
    sql: str
    expectations: tuple[tuple[str, dict[str, Any]], ...]


def told(*columns: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """No empty value in any of the columns."""
    return tuple(("ExpectColumnValueLengthsToBeBetween", {"column": column, "min_value": 1}) for column in columns)


def at_least(column: str, least: float = 0) -> tuple[str, dict[str, Any]]:
    """No smaller value."""
    return "ExpectColumnValuesToBeBetween", {"column": column, "min_value": least}


def among(column: str, values: Any) -> tuple[str, dict[str, Any]]:
    """No other value."""
    return "ExpectColumnValuesToBeInSet", {"column": column, "value_set": [str(value) for value in values]}


def unique(*columns: str) -> tuple[str, dict[str, Any]]:
    """No two rows are alike in these columns."""
    if len(columns) == 1:
        return "ExpectColumnValuesToBeUnique", {"column": columns[0]}
    return "ExpectCompoundColumnsToBeUnique", {"column_list": list(columns)}


def not_more(small: str, large: str) -> tuple[str, dict[str, Any]]:
    """In no row more of the small than of the large."""
    return "ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": large, "column_B": small, "or_equal": True}


# `age_s`: seconds since the row's moment; a clock that is ahead by more than a minute would show as less.
PLAUSIBLE: Final = ("ExpectColumnValuesToBeBetween", {"column": "age_s", "min_value": -60, "max_value": 10 * 366 * 86_400})


def recent(table: str, where: str = "1") -> str:
    """The newest rows of a table, with `age_s`."""
    return (
        f"SELECT *, dateDiff('second', at, now('UTC')) AS age_s FROM {table} FINAL"
        f" WHERE (at >= {{since:DateTime}} OR at < '{EARLIEST}') AND {where} ORDER BY at DESC LIMIT {MAX_ROWS}"
    )


def within(column: str, least: float, most: float) -> Expectation:
    """No value outside."""
    return "ExpectColumnValuesToBeBetween", {"column": column, "min_value": least, "max_value": most}


def none(column: str) -> Expectation:
    """The column says in how many ways a row is wrong: in none."""
    return within(column, 0, 0)


CORE: Final = (
    Suite("users", recent("users"), (*told("user"), unique("user"), among("role", Role), PLAUSIBLE)),
    Suite(
        "balance_entries",
        recent("balance_entries"),
        (
            *told("account", "kind"), unique("account", "seq"), at_least("balance_coins"), at_least("held_coins"),
            not_more("held_coins", "balance_coins"), among("reason", ("", *Reason)), PLAUSIBLE,
        ),
    ),
    Suite(
        "accounts",  # the fold of an account's entries is its balance, and no entry is missing
        "SELECT account, max(seq) - count() AS missing, argMax(balance_coins, seq) - sum(coins) AS difference"
        f" FROM balance_entries FINAL GROUP BY account HAVING max(at) >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (
            ("ExpectColumnValuesToBeBetween", {"column": "missing", "min_value": 0, "max_value": 0}),
            ("ExpectColumnValuesToBeBetween", {"column": "difference", "min_value": 0, "max_value": 0}),
        ),
    ),
    Suite(
        "calls",
        recent("calls"),
        (*told("call", "caller"), unique("call"), among("kind", CallKind), at_least("duration_s"), PLAUSIBLE),
    ),
    Suite(
        "bills",
        recent("bills"),
        (*told("call", "earner"), unique("call"), at_least("paid_coins"), at_least("earned_coins"),
         at_least("duration_s"), PLAUSIBLE),
    ),
    Suite(
        "gifts",
        recent("gifts", "refusal = ''"),
        (*told("gift", "sender", "receiver"), unique("gift"), at_least("price_coins", 1),
         not_more("share_coins", "price_coins"), PLAUSIBLE),
    ),
    Suite(
        "interactions",
        recent("interactions"),
        (*told("user", "peer"), among("kind", InteractionKind), at_least("amount"), at_least("affinity"), PLAUSIBLE),
    ),
)  # fmt: skip
