"""The engine: one chDB folder, lanes of connections to it, and the end of queries that nobody waits for any more.

A lane is a user's: so many statements at once, each on a connection to itself, and no more of a lane's than it has. People's
statements never take the places of the platform's own, nor its processors: one that takes longer than a moment goes on in one
half of the cores. A connection that a statement may have changed is closed behind it.
"""

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from chdb.state.sqlitelike import Connection, connect

from infra.warehouse.door import PEOPLE, PLATFORM
from infra.warehouse.room import Room
from infra.warehouse.statement import FUNCTIONS, HARMLESS, check, check_reading, format_of, literal, words_of

# Statements at once; more of them wait. A dozen people may each have a long one, and a short one still finds a place.
LANES: Final = {PEOPLE: 12, PLATFORM: 6}
# One of people's statements begins at a time: the next when it has ended, or has taken so long and is confined.
LONG_S: Final = 0.015
# Threads that have joined since are looked for so often.
LOOK_S: Final = 0.5
# The platform's own statements read whole logs at times; people's defaults are in users.xml.
DEFAULTS: Final = {PEOPLE: {"max_threads": "1"}, PLATFORM: {"max_execution_time": "3600", "max_result_bytes": "4000000000"}}
SETTING: Final = re.compile(r"[a-z][a-z0-9_]*")
USERS: Final = Path(__file__).with_name("users.xml")
# Whatever begins so leaves its connection as it was.
LEAVES: Final = frozenset(
    {"SELECT", "WITH", "INSERT", "SHOW", "DESCRIBE", "EXISTS", "EXPLAIN", "ALTER", "DROP", "OPTIMIZE", "KILL"}
)


class Query(NamedTuple):
    """One request: the statement, the data behind it (inserts), and how to run it."""

    statement: str
    data: bytes | None
    format: str
    database: str
    parameters: dict[str, str]
    settings: dict[str, str]
    reading: bool = False


class Answer(NamedTuple):
    """What came out: bytes in `format`, rows and bytes read and written, and seconds."""

    body: bytes
    format: str
    read_rows: int = 0
    read_bytes: int = 0
    result_rows: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_s: float = 0.0


class QueryError(Exception):
    """The engine refused the statement; the text is the engine's."""


class Job:
    """A query on its way, by who asks. `cancel` may come at any time, before, while and after it runs."""

    def __init__(self, query: Query, user: str) -> None:
        self.query = query
        self.user = user
        self.lock = threading.Lock()
        self.cancelled = False
        self.thread = 0
        self.began = 0.0
        self.begins = False
        self.confined: set[int] = set()


def prepare(folder: Path) -> str:
    """Make a folder ready for the engine, and give what to connect to.

    chDB's database `default` has every file of the machine for a table. Ours is an ordinary one; in a folder that has chDB's,
    the tables stay where they are."""
    metadata = folder / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    told, link = metadata / "default.sql", metadata / "default"
    if not told.exists():
        id_ = link.readlink().name if link.is_symlink() else str(uuid.uuid4())
        told.write_text(f"ATTACH DATABASE _ UUID '{id_}'\nENGINE = Atomic\n")
    if link.is_symlink():  # the engine makes it anew; chDB's own database would take its id from it
        link.unlink()
    config = folder / "config.xml"
    config.write_text(
        f"<clickhouse><users_config>{USERS}</users_config><default_database>_files</default_database></clickhouse>\n"
    )
    return f"{folder}?config-file={config}"


class Lane:
    """A user's threads, and connections that wait for a statement: by whether they may write."""

    def __init__(self, user: str, source: str) -> None:
        self._source = source
        self._defaults = DEFAULTS[user]
        self._idle: dict[bool, SimpleQueue[Connection]] = {True: SimpleQueue(), False: SimpleQueue()}
        self.threads = ThreadPoolExecutor(LANES[user], user)

    def open(self, *, reading: bool = False) -> Connection:
        """A new connection with the lane's defaults."""
        connection = connect(self._source)
        for name, value in self._defaults.items():
            connection.query(f"SET {name} = {value}")
        if reading:
            connection.query("SET readonly = 2")
        return connection

    @contextlib.contextmanager
    def connection(self, *, reading: bool) -> Iterator["Loan"]:
        """A connection for one statement."""
        try:
            loan = Loan(self._idle[reading].get_nowait())
        except Empty:
            loan = Loan(self.open(reading=reading))
        try:
            yield loan
        except BaseException:
            loan.keep = False
            raise
        finally:
            if loan.keep:
                self._idle[reading].put(loan.connection)
            else:
                loan.connection.close()


class Loan:
    """A connection that is given back, or closed unless it may be kept."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.keep = False


class Engine:
    """One chDB folder and its lanes."""

    def __init__(self, folder: Path) -> None:
        source = prepare(folder)
        self._killer = connect(source)  # it stays open: the engine ends with its last connection
        self._kills = threading.Lock()
        self.lanes = {user: Lane(user, source) for user in LANES}
        named = self._killer.query("SELECT upper(name) FROM system.table_functions", "TSVRaw").bytes().decode().split()
        self._reaching = FUNCTIONS | (frozenset(named) - HARMLESS)
        self.timezone = self._killer.query("SELECT timezone()", "TSVRaw").bytes().decode().strip()
        self._room = Room()
        self._of_people: set[Job] = set()
        self._at_work = threading.Event()
        self._beginning = threading.Semaphore()
        threading.Thread(target=self._keep_room, name="room", daemon=True).start()

    def run(self, lane: Lane, job: Job) -> Answer:
        """Run one statement. Errors: QueryError, statement.RefusedError."""
        with lane.connection(reading=job.query.reading) as loan:
            return self.run_on(loan, job)

    def run_on(self, loan: Loan, job: Job) -> Answer:
        """Run one statement on a connection. Errors: QueryError, statement.RefusedError."""
        if job.user == PEOPLE:
            self._beginning.acquire()
            job.begins = True
        try:
            with job.lock:
                if job.cancelled:
                    raise QueryError("Code: 394. DB::Exception: Query was cancelled. (QUERY_WAS_CANCELLED)")
                job.thread, job.began = threading.get_native_id(), time.monotonic()
            if job.begins:
                self._of_people.add(job)
                self._at_work.set()
            return self._run(loan, job.query)
        except RuntimeError as error:  # chDB's own is one
            raise QueryError(_plain(str(error))) from None
        except Exception as error:
            if type(error).__name__ == "ChdbError":
                raise QueryError(_plain(str(error))) from None
            raise
        finally:
            self._of_people.discard(job)
            with job.lock:
                job.thread = 0
                self._room.release(job.confined)
                self._has_begun(job)

    def _has_begun(self, job: Job) -> None:
        """The next one of people's statements may begin."""
        if job.begins:
            job.begins = False
            self._beginning.release()

    def _keep_room(self) -> None:
        """Confine what takes long: the engine's threads of people's statements, not our own, for which all else would wait."""
        looked_at = 0.0
        while self._at_work.wait():
            self._at_work.clear()
            while jobs := self._of_people.copy():
                due = min([looked_at + LOOK_S, *(job.began + LONG_S for job in jobs if job.begins)])
                if self._at_work.wait(max(0.001, due - time.monotonic())):
                    self._at_work.clear()
                elif due <= (looked_at := time.monotonic()):
                    try:
                        self._confine([job for job in jobs if job.began <= looked_at - LONG_S])
                    except Exception:  # the engine is busy, or ends: at the next look
                        time.sleep(LONG_S)

    def _confine(self, jobs: list[Job]) -> None:
        with self._kills:
            told = self._killer.query("SELECT thread_ids FROM system.processes", "JSONCompactColumns").bytes()
        at_work: list[list[int]] = json.loads(told)[0]
        for job in jobs:
            with job.lock:
                threads = {thread for threads in at_work if job.thread in threads for thread in threads}
                job.confined |= threads - {job.thread}
                self._room.confine(job.confined)
                self._has_begun(job)

    def _run(self, loan: Loan, query: Query) -> Answer:
        ask = loan.connection.query
        canonical = ask(f"SELECT formatQuery({literal(_head(query))})", "TSVRaw").bytes().decode()
        words = words_of(canonical)
        check(query.statement, words, self._reaching)
        if query.reading:
            check_reading(words)
        for statement in _before(query):
            ask(statement)
        kept = not query.settings and not query.database and words[0] in LEAVES and not query.parameters
        if query.data is not None:
            inserter = loan.connection.send_insert(query.statement, query.format)
            inserter.append(query.data)
            told = inserter.finish()
            loan.keep = kept
            return Answer(b"", query.format, 0, 0, 0, told.rows_written, told.bytes_written, told.elapsed)
        format_ = format_of(canonical) or query.format
        found: Any = ask(query.statement, format_, params=query.parameters)
        loan.keep = kept
        return Answer(
            found.bytes(),
            format_,
            found.storage_rows_read(),
            found.storage_bytes_read(),
            found.rows_read(),
            found.rows_written(),
            found.bytes_written(),
            found.elapsed(),
        )

    def cancel(self, job: Job) -> None:
        """End a job's query if it runs; if it does not yet, it never will. An insert that has its data is left to end."""
        with job.lock:
            job.cancelled = True
            if job.thread and job.query.data is None:
                with self._kills, contextlib.suppress(Exception):
                    self._killer.query(f"KILL QUERY WHERE has(thread_ids, {job.thread}) ASYNC")


def _head(query: Query) -> str:
    """The statement as the engine's parser wants it: an INSERT with its format."""
    return query.statement if query.data is None else f"{query.statement} FORMAT {query.format}"


def _before(query: Query) -> list[str]:
    names = [name for name in query.settings if not SETTING.fullmatch(name)]
    if names:
        raise QueryError(f"Code: 115. DB::Exception: {names[0]} is no setting. (UNKNOWN_SETTING)")
    use = [f"USE `{query.database.replace('`', '')}`"] if query.database else []
    return [*use, *(f"SET {name} = {literal(value)}" for name, value in query.settings.items())]


def _plain(text: str) -> str:
    """The engine's error without what was ours: how it was asked to parse, and how it was asked to insert."""
    text = text.removeprefix("Streaming insert finish failed: ").removeprefix("Streaming insert append failed: ")
    text = re.sub(r"^(Code: \d+\. DB::Exception: )\1", r"\1", text)
    return re.sub(r": In scope SELECT formatQuery\(.*(?= \([A-Z_]+\)$)", "", text, flags=re.S)
