"""What routes ask the warehouse: rows of one question, with its times as UTC; 503 while it does not answer."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.exceptions import Error
from fastapi import Request

from serving.runtime.problems import unavailable


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
        raise unavailable("warehouse_unreachable", "ClickHouse does not answer; try again soon") from error


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
