"""`olo quality`: Great Expectations over the warehouse's main tables; a suite is a question in SQL and what must hold of it.

The rows of the last days (at most MAX_ROWS a suite, the newest) are held against the expectations; a failure names the column
and shows some of the bad values. The suites are data: SUITES.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from schemas.balance import Reason
from schemas.billing import CallKind
from schemas.interaction import InteractionKind
from schemas.postback import ConversionKind, Provider
from schemas.user import Role

MAX_ROWS: Final = 200_000
SHOWN: Final = 5
# Before anything of ours; what is earlier is a clock or a parser gone wrong.
EARLIEST: Final = "2020-01-01"


class Suite(NamedTuple):
    """What is asked (`{since}`: the first moment), and what must hold: (expectation, its arguments)."""

    name: str
    sql: str
    expectations: tuple[tuple[str, dict[str, Any]], ...]


class Outcome(NamedTuple):
    """One expectation of a suite: whether it holds, how many rows are against it, some of their values."""

    suite: str
    rows: int
    what: str
    holds: bool
    bad: int
    examples: list[Any]


def _told(*columns: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    return tuple(("ExpectColumnValueLengthsToBeBetween", {"column": column, "min_value": 1}) for column in columns)


def _at_least(column: str, least: float = 0) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeBetween", {"column": column, "min_value": least}


def _among(column: str, values: Any) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnValuesToBeInSet", {"column": column, "value_set": [str(value) for value in values]}


def _unique(*columns: str) -> tuple[str, dict[str, Any]]:
    if len(columns) == 1:
        return "ExpectColumnValuesToBeUnique", {"column": columns[0]}
    return "ExpectCompoundColumnsToBeUnique", {"column_list": list(columns)}


def _not_more(small: str, large: str) -> tuple[str, dict[str, Any]]:
    return "ExpectColumnPairValuesAToBeGreaterThanB", {"column_A": large, "column_B": small, "or_equal": True}


# `age_s`: seconds since the row's moment; a clock that is ahead by more than a minute would show as less.
PLAUSIBLE: Final = ("ExpectColumnValuesToBeBetween", {"column": "age_s", "min_value": -60, "max_value": 10 * 366 * 86_400})


def _recent(table: str, where: str = "1") -> str:
    return (
        f"SELECT *, dateDiff('second', at, now('UTC')) AS age_s FROM {table} FINAL"
        f" WHERE (at >= {{since:DateTime}} OR at < '{EARLIEST}') AND {where} ORDER BY at DESC LIMIT {MAX_ROWS}"
    )


SUITES: Final = (
    Suite("users", _recent("users"), (*_told("user"), _unique("user"), _among("role", Role), PLAUSIBLE)),
    Suite(
        "balance_entries",
        _recent("balance_entries"),
        (
            *_told("account", "kind"), _unique("account", "seq"), _at_least("balance_coins"), _at_least("held_coins"),
            _not_more("held_coins", "balance_coins"), _among("reason", ("", *Reason)), PLAUSIBLE,
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
        _recent("calls"),
        (*_told("call", "caller"), _unique("call"), _among("kind", CallKind), _at_least("duration_s"), PLAUSIBLE),
    ),
    Suite(
        "bills",
        _recent("bills"),
        (*_told("call", "earner"), _unique("call"), _at_least("paid_coins"), _at_least("earned_coins"),
         _at_least("duration_s"), PLAUSIBLE),
    ),
    Suite(
        "gifts",
        _recent("gifts", "refusal = ''"),
        (*_told("gift", "sender", "receiver"), _unique("gift"), _at_least("price_coins", 1),
         _not_more("share_coins", "price_coins"), PLAUSIBLE),
    ),
    Suite(
        "interactions",
        _recent("interactions"),
        (*_told("user", "peer"), _among("kind", InteractionKind), _at_least("amount"), _at_least("affinity"), PLAUSIBLE),
    ),
    Suite(
        "attributions",
        "SELECT *, dateDiff('second', touch_at, signed_up_at) AS after_s, dateDiff('second', at, now('UTC')) AS age_s"
        f" FROM attributions FINAL WHERE counts AND kind = 'install' AND at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (
            *_told("user", "network"),
            ("ExpectColumnValuesToBeBetween", {"column": "after_s", "min_value": -86_400, "max_value": 30 * 86_400}),
        ),
    ),
    Suite(
        "conversions",
        _recent("conversions"),
        (*_told("user", "ref"), _among("conversion", ConversionKind), _unique("user", "conversion", "ref"),
         _at_least("coins"), PLAUSIBLE),
    ),
    Suite(
        "postbacks",
        "SELECT effect, provider, state, attempts, user, state = 'refused' AND why = '' AS unexplained FROM postbacks"
        f" WHERE owed_at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (
            *_told("effect", "user"), _unique("effect"), _among("provider", Provider), _at_least("attempts", 1),
            _among("state", ("sent", "retried", "accepted", "refused")),
            ("ExpectColumnValuesToBeBetween", {"column": "unexplained", "min_value": 0, "max_value": 0}),
        ),
    ),
    Suite(
        "cohort_membership",
        "SELECT cohort, user, left_at IS NOT NULL AND left_at < entered_at AS backwards FROM cohort_membership"
        f" WHERE entered_at >= {{since:DateTime}} LIMIT {MAX_ROWS}",
        (*_told("cohort", "user"),
         ("ExpectColumnValuesToBeBetween", {"column": "backwards", "min_value": 0, "max_value": 0})),
    ),
)  # fmt: skip


def check(client: Client, since: Any, suites: tuple[Suite, ...] = SUITES) -> Iterator[Outcome]:
    """Every expectation of every suite over the rows since then. Errors: those of ClickHouse."""
    validate = _validator()
    for suite in suites:
        frame = client.query_df(suite.sql, parameters={"since": since})
        if frame.empty:
            continue
        for column in frame.select_dtypes("bool"):
            frame[column] = frame[column].astype(int)
        yield from validate(suite, frame)


def _validator() -> Callable[[Suite, Any], Iterator[Outcome]]:
    """Great Expectations, without its telemetry and progress bars; loading it takes seconds."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx

        context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("warehouse")

    def validate(suite: Suite, frame: Any) -> Iterator[Outcome]:
        asset = source.add_dataframe_asset(suite.name)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        expectations = [getattr(gx.expectations, name)(**given) for name, given in suite.expectations]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = batch.validate(gx.ExpectationSuite(suite.name, expectations=expectations))
        for one in result.results:
            found = one.result
            config: Any = one.expectation_config
            given = config.kwargs
            about = given.get("column") or given.get("column_list") or f"{given.get('column_B')} <= {given.get('column_A')}"
            what = f"{config.type}({about})"
            examples = found.get("partial_unexpected_list", [])[:SHOWN]
            yield Outcome(suite.name, len(frame), what, bool(one.success), int(found.get("unexpected_count") or 0), examples)

    return validate
