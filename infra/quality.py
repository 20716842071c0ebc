"""`olo quality`: Great Expectations over the warehouse's main tables; a suite is a question in SQL and what must hold of it.

The rows of the last days (at most MAX_ROWS a suite, the newest) are held against the expectations; a failure names the column
and shows some of the bad values. The suites are data: `infra.quality_suites` and `infra.quality_growth`.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.client import Client

from infra.quality_growth import GROWTH
from infra.quality_suites import CORE, Suite

SHOWN: Final = 5
SUITES: Final = (*CORE, *GROWTH)


class Outcome(NamedTuple):
    """One expectation of a suite: whether it holds, how many rows are against it, some of their values."""

    suite: str
    rows: int
    what: str
    holds: bool
    bad: int
    examples: list[Any]


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
