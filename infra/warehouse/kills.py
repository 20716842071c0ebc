"""`KILL QUERY WHERE query_id = '...'`: what a client sends on another connection to end a statement of its own.

JDBC's `Statement.cancel()`, hence DBeaver's red square, and clickhouse-client send it. The engine knows neither the ids nor the
users of our clients, so who runs what under which id is kept here. Any other condition is the engine's to refuse.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from infra.warehouse.engine import Query
from infra.warehouse.statement import COMMENT, TOKEN, literal

HOW: Final = ["SYNC"], ["ASYNC"], ["TEST"]


class Target(NamedTuple):
    """Whom a KILL names. `how`: SYNC waits for the end, ASYNC does not, TEST only looks; `format`: of the answer."""

    query_id: str
    how: str
    format: str = ""


class Running:
    """A client's statement on its way: `killed` once somebody has asked for its end, `ended` when it has come."""

    def __init__(self, statement: str) -> None:
        self.statement = statement
        self.killed = asyncio.Event()
        self.ended = asyncio.Event()


class Kills:
    """What runs, by user and query id: two may have the same id."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], list[Running]] = {}

    @contextmanager
    def running(self, user: str, query_id: str, statement: str) -> Iterator[Running]:
        """A statement, as long as it runs."""
        one, key = Running(statement), (user, query_id)
        self._running.setdefault(key, []).append(one)
        try:
            yield one
        finally:
            one.ended.set()
            self._running[key].remove(one)
            if not self._running[key]:
                del self._running[key]

    async def kill(self, user: str, query: Query) -> Query:
        """End what the user runs under the id that a KILL names, and give the question whose answer is ClickHouse's: a row a
        statement. Any other query is given back as it is."""
        if (found := target_of(query.statement)) is None:
            return query
        named = [*self._running.get((user, found.query_id), ())]
        for one in named if found.how != "TEST" else ():
            one.killed.set()
        if found.how == "SYNC":
            await asyncio.gather(*(one.ended.wait() for one in named))
        status = "finished" if found.how == "SYNC" else "waiting"
        texts = [(status, found.query_id, user, one.statement) for one in named] or [("",) * 4]
        rows = ", ".join(f"({', '.join(map(literal, row))})" for row in texts)
        told = f"SELECT * FROM values('kill_status String, query_id String, user String, query String', {rows})"
        return query._replace(statement=told if named else f"{told} LIMIT 0", format=found.format or query.format)


def target_of(statement: str) -> Target | None:
    """Whom a KILL names; None: it is no KILL, or one by another condition."""
    if statement.lstrip()[:1].upper() not in ("K", "-", "/", "#"):
        return None
    tokens = [token for token in TOKEN.findall(statement) if not token.startswith((*COMMENT, ";"))]
    words = [token if token[0] == "'" else token.strip('`"').upper() for token in tokens]
    format_ = tokens[-1] if words[-2:-1] == ["FORMAT"] else ""
    rest = words[:-2] if format_ else words
    how = rest.pop() if rest[-1:] in HOW else "ASYNC"
    if rest[:2] != ["KILL", "QUERY"]:
        return None
    rest = rest[5:] if rest[2:4] == ["ON", "CLUSTER"] else rest[2:]
    if rest[:3] != ["WHERE", "QUERY_ID", "="] or len(rest) != 4 or not rest[3].startswith("'"):
        return None
    return Target(re.sub(r"\\(.)|'(')", r"\1\2", rest[3][1:-1]), how, format_)
