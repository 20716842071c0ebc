"""What routes ask the warehouse: rows of one question, with its times as UTC; 503 while it does not answer. Its questions have
times as microseconds since 1970."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.exceptions import Error
from fastapi import Request

from serving.runtime.problems import Problem, unavailable


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
        return await asyncio.to_thread(query)
    except (Error, OSError) as error:
        raise no_answer() from error


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
