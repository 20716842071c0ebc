"""Sessions: what `SET`, `USE` and temporary tables leave for the next request with the same `session_id`.

A session has a connection to itself. One request at a time has it; unused for `session_timeout` seconds, it is closed.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Final

from infra.warehouse.engine import Answer, Engine, Job, Lane, Loan, QueryError
from infra.warehouse.statement import literal

DEFAULT_S: Final = 60.0
LONGEST_S: Final = 3_600.0
# Each holds a connection, and whatever its temporary tables hold.
MANY: Final = 200


class Session:
    """A connection of its own."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._loan: Loan | None = None
        self.taken = True
        self.ends_at = 0.0

    def run(self, engine: Engine, job: Job) -> Answer:
        """Run a statement; the request's own settings are taken back behind it. Errors: QueryError, statement.RefusedError."""
        if self._loan is None:
            self._loan = Loan(self._lane.open())
        ask = self._loan.connection.query
        before = ask("SELECT currentDatabase()", "TSVRaw").bytes().decode().strip()
        names = ", ".join(map(literal, job.query.settings)) or "''"
        known = ask(f"SELECT name, value FROM system.settings WHERE changed AND name IN ({names})", "JSONCompactEachRow")
        set_: dict[str, str] = dict(json.loads(line) for line in known.bytes().splitlines())
        try:
            return engine.run_on(self._loan, job)
        finally:
            for name in job.query.settings:
                with contextlib.suppress(Exception):  # one that there is not
                    ask(f"SET {name} = {literal(set_[name]) if name in set_ else 'DEFAULT'}")
            if job.query.database:
                ask(f"USE `{before}`")

    def close(self) -> None:
        """Close the connection."""
        if self._loan:
            self._loan.connection.close()


class Sessions:
    """All sessions, by user and name."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Session] = {}

    @contextlib.contextmanager
    def taken(self, lane: Lane, key: tuple[str, str], parameters: dict[str, str]) -> Iterator[Session]:
        """A session for one request. Errors: QueryError."""
        now = time.monotonic()
        for old in [name for name, session in self._known.items() if not session.taken and session.ends_at < now]:
            self._known.pop(old).close()
        try:
            timeout_s = min(float(parameters.get("session_timeout") or DEFAULT_S), LONGEST_S)
        except ValueError:
            raise QueryError(
                "Code: 374. DB::Exception: session_timeout is a number of seconds. (INVALID_SESSION_TIMEOUT)"
            ) from None
        session = self._known.get(key)
        if session is None:
            if parameters.get("session_check") == "1":
                raise QueryError(f"Code: 372. DB::Exception: Session {key[1]} not found. (SESSION_NOT_FOUND)")
            if len(self._known) >= MANY:
                raise QueryError("Code: 202. DB::Exception: Too many sessions. (TOO_MANY_SIMULTANEOUS_QUERIES)")
            session = self._known[key] = Session(lane)
        elif session.taken:
            raise QueryError(
                f"Code: 373. DB::Exception: Session {key[1]} is locked by a concurrent client. (SESSION_IS_LOCKED)"
            )
        session.taken = True
        try:
            yield session
        finally:
            session.taken = False
            session.ends_at = time.monotonic() + timeout_s
