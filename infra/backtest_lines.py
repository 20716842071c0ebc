"""A backtest as a process of its own, for whoever must not wait for it: `python -m infra.backtest_lines DAYS`.

It reads the draft as JSON, and says as lines of JSON how far it is (`{"rated": 10000, "calls": 31000}`) and what came of it
(`{"result": {...}}`), or why nothing did (`{"wrong": "..."}`).
"""

import json
import sys
from typing import Any

import msgspec
from clickhouse_connect.driver.exceptions import Error

from infra.backtest import Draft, backtest
from infra.clickhouse import connect
from infra.config import load
from infra.errors import UsageError


def _say(**line: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.flush()


def main() -> None:
    """Rate, and say so."""
    draft = msgspec.convert(json.load(sys.stdin), Draft)
    try:
        client = connect(load().clickhouse_url, timeout_s=300)
        result = backtest(client, draft, int(sys.argv[1]), lambda rated, calls: _say(rated=rated, calls=calls))
    except (Error, OSError):
        _say(wrong="ClickHouse does not answer; try again soon")
    except UsageError as error:
        _say(wrong=str(error))
    else:
        changes = {who: [one._asdict() for one in found] for who, found in result.changes.items()}
        _say(result={**result._asdict(), "changes": changes})


if __name__ == "__main__":
    main()
