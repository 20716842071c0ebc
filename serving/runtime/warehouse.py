"""What routes ask the warehouse: rows of one question, with its times as UTC; 503 while it does not answer. Its questions have
times as microseconds since 1970.

It is asked by threads of its own. Those that all else shares verify tokens and read stores, and a warehouse that is slow, or
that staff asks to count while they type, would hold every one of them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from clickhouse_connect.driver.exceptions import Error
from fastapi import Request

from schemas.log.base import now
from serving.runtime.problems import Problem, unavailable

T = TypeVar("T")
P = ParamSpec("P")
# More than what may count at once: reads of people's own lines go by.
THREADS: Final = ThreadPoolExecutor(8, "warehouse")
# What counts people by history looks at much: so many at once in a process; whoever else wants to know waits.
COUNTING: Final = asyncio.Semaphore(2)


async def in_warehouse(ask: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What a question to the warehouse answers, by a thread of the warehouse's. Errors: those of `ask`."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, partial(ask, *args, **named))


async def counted(request: Request, question: str) -> tuple[Any, ...]:
    """The one row of a question that counts people by history as of `now`. Errors: those of clickhouse_connect, OSError."""
    async with COUNTING:
        found = await in_warehouse(lambda: request.app.state.clickhouse().query(question, parameters={"now": now()}))
    return tuple(found.result_rows[0])


def micros(at: datetime) -> int:
    """A time, as questions have it."""
    return round(at.timestamp() * 1_000_000)


def no_answer() -> Problem:
    """What is told while the warehouse does not answer: 503 `warehouse_unreachable`."""
    return unavailable("warehouse_unreachable", "ClickHouse does not answer; try again soon")


async def rows_of(request: Request, question: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows, by column. Errors: Problem 503 `warehouse_unreachable`."""

    def query() -> list[dict[str, Any]]:
        found = request.app.state.clickhouse().query(question, parameters=parameters)
        return [
            {name: _utc(value) for name, value in zip(found.column_names, row, strict=True)} for row in found.result_rows
        ]  # fmt: skip

    try:
        return await in_warehouse(query)
    except (Error, OSError) as error:
        raise no_answer() from error


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
