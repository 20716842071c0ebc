"""The store flow: the log into ClickHouse, each record once. The only writer of the warehouse.

A batch is one insert into `log`: one part, there whole or not at all. So the table is the checkpoint: at an assignment, and
after an insert that failed or timed out, the store first waits until no insert of its own is running any more, then asks for
max(offset) of each partition and goes on behind it. Typed tables are projections: each is filled from `log` by INSERT SELECT
over the range that it lacks, and asks for its own max(offset) at the start, so that a new table, or one that missed a batch,
catches up by itself.
"""

import logging
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.abc import MetaPathFinder
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.exceptions import Error
from confluent_kafka import Consumer, TopicPartition

from infra.clickhouse import connect
from infra.config import Config
from infra.errors import UsageError
from infra.kafka import Record, ask_patiently, ends_of, member, records_of
from pipelines.flows.process import arguments, start
from pipelines.runtime import metrics
from pipelines.runtime.lag import Lag
from schemas.log.outward import outward, outward_key
from schemas.log.topics import DEAD_LETTERS, ENTITIES, PULSE_MINUTES
from schemas.tables import LOG, PROJECTIONS, TABLES, Projection

log = logging.getLogger("olo.store")

NAME: Final = "store"
TOPICS: Final = (
    *(topic for e in ENTITIES for topic in ((e.events,) if e.private else (e.inbox, e.events))),
    DEAD_LETTERS.name,
    PULSE_MINUTES.name,
)

# Large inserts make few parts; 50,000 rows of 300 bytes stay far below the size at which an insert is split into two parts.
BATCH_RECORDS: Final = 50_000
# An insert a second at most, however few records come, and with it those of the projections. Where they are slow they get a
# fifth of the time: money needs the processor more.
POLL_S: Final = 1.0
LONGEST_POLL_S: Final = 3.0
INSERTS_SHARE: Final = 0.2
# Rows that a projection that lags behind catches up at a time: below the engine's million rows a part, so each step is atomic.
CATCH_UP_ROWS: Final = 500_000
# Looks at a ClickHouse that does not answer, or has an insert of ours under way, before this process ends and the next one
# tries again. It is their number that counts: each takes as long as the machine needs.
RETRIES: Final = 80
RETRY_S: Final = 0.5

FIELDS: Final[dict[str, pa.DataType]] = {
    "topic": pa.string(),
    "partition": pa.uint16(),
    "offset": pa.uint64(),
    "key": pa.binary(),
    "logged_at": pa.timestamp("ms"),
    "value": pa.binary(),
}
SCHEMA: Final = pa.schema(FIELDS)
COLUMNS: Final = list(FIELDS)

TopicShare = tuple[str, int]


def _places(rows: pa.Table) -> list[tuple[TopicShare, int, int]]:
    """Each partition in the rows, with its lowest and highest offset."""
    found = rows.group_by(["topic", "partition"]).aggregate([("offset", "min"), ("offset", "max")]).to_pylist()
    return [((row["topic"], row["partition"]), row["offset_min"], row["offset_max"]) for row in found]


def _behind(rows: pa.Table, stored: dict[TopicShare, int]) -> pa.Table:
    """The rows that lie behind what is stored."""
    places = zip(*(rows[name].to_pylist() for name in COLUMNS[:3]), strict=True)
    return rows.filter(pa.array([offset > stored.get((topic, p), -1) for topic, p, offset in places], pa.bool_()))


def _refuse_another_log(stored: dict[TopicShare, int], ends: dict[TopicShare, int]) -> None:
    """A warehouse that has records which the log has not got: new ones would lie below them and never be stored. Errors:
    UsageError."""
    for (topic, partition), end in ends.items():
        offset = stored.get((topic, partition), -1)
        if offset >= end:
            raise UsageError(
                f"the table {LOG} holds {topic}/{partition} up to {offset}, and the log ends at {end}: the warehouse belongs "
                "to another log; bring that log back, or name a new database with OLO_CLICKHOUSE_URL, or begin with a new "
                "OLO_HOME"
            )


class Store:
    """The flow's steps: `poll` records, `decide` (shape them as Arrow), `commit` (insert, project)."""

    def __init__(self, slot: int, config: Config) -> None:
        self._config = config
        self._client = connect(config.clickhouse_url)
        self._inserter = ThreadPoolExecutor(1, "insert")
        self._inserting: Future[None] | None = None
        self._moved = False
        self._stored: dict[TopicShare, int] = {}
        self._projected: dict[str, dict[TopicShare, int]] = {one.table: {} for one in PROJECTIONS}
        self._told: dict[TopicShare, int] = {}
        self._took_s = 0.0
        conf = {
            "queued.min.messages": 200_000,
            # the broker gathers what comes: two answers a second instead of one a transaction
            "fetch.min.bytes": 65_536,
            "fetch.wait.max.ms": 500,
        }
        self._consumer = member(config, NAME, slot, conf)
        self._lag = Lag(NAME, self._consumer)
        self._consumer.subscribe(list(TOPICS), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    # --- partitions ----------------------------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self._settle()
        self._wait_for_own_inserts()
        stored = self._checkpoints()
        places = [(part.topic, part.partition) for part in parts]
        _refuse_another_log(stored, ask_patiently("the ends of the log", self._config, lambda plain: ends_of(plain, places)))
        for part in parts:
            place = (part.topic, part.partition)
            self._stored[place] = stored.get(place, -1)
            part.offset = self._stored[place] + 1
        projected = self._projected_to()
        for projection in PROJECTIONS:
            known, mine = projected.get(projection.table, {}), [place for place in places if place[0] in projection.topics]
            self._projected[projection.table] |= {place: known.get(place, -1) for place in mine}
            self._project(projection)
        consumer.assign(parts)
        metrics.PARTITIONS.labels(NAME).set(len(self._stored))
        log.info("%d partitions assigned, %d records are stored already", len(parts), len(stored))

    def _revoked(self, consumer: Consumer, parts: list[TopicPartition]) -> None:
        self._settle()
        for part in parts:
            self._stored.pop((part.topic, part.partition), None)
        consumer.unassign()

    def _checkpoints(self) -> dict[TopicShare, int]:
        found = self._client.query(f"SELECT topic, partition, max(offset) FROM {LOG} GROUP BY topic, partition")
        return {(topic, partition): offset for topic, partition, offset in found.result_rows}

    def _projected_to(self) -> dict[str, dict[TopicShare, int]]:
        """How far each typed table is with each partition of its topics."""
        found = self._client.query(" UNION ALL ".join(one.reached for one in PROJECTIONS))
        reached: dict[str, dict[TopicShare, int]] = {}
        for table, topic, partition, offset in found.result_rows:
            reached.setdefault(table, {})[topic, partition] = offset
        return reached

    def _wait_for_own_inserts(self) -> None:
        """An insert that a dead or timed-out store had sent may still be running: its rows must be counted. Errors:
        TimeoutError, after RETRIES looks."""
        mine = "|".join(TABLES)
        question = f"SELECT count() FROM system.processes WHERE match(query, '^\\\\s*INSERT INTO ({mine})\\\\b')"
        for _ in range(RETRIES):
            if not self._client.query(question).result_rows[0][0]:
                return
            time.sleep(RETRY_S)
        raise TimeoutError("an insert of an earlier store is still running in ClickHouse")

    # --- steps -----------------------------------------------------------------------------------------------------------

    def poll(self) -> list[Record] | None:
        """The next records, or None. Errors: KafkaException, those of an insert that has ended."""
        if self._inserting is not None and self._inserting.done():
            self._settle()
        if self._moved:
            self._tell_position()
        gather_s = min(max(POLL_S, self._took_s / INSERTS_SHARE), LONGEST_POLL_S)
        messages = self._consumer.consume(BATCH_RECORDS, gather_s)
        self._lag.publish([(place, offset + 1) for place, offset in self._stored.copy().items()])
        return records_of(messages) or None

    def decide(self, records: list[Record]) -> pa.Table:
        """The records that are not stored yet, as rows of `log`, without what is personal."""
        self._lag.took(records[-1])
        values = [outward(record.topic(), record.value()) for record in records]
        columns: list[list[Any]] = [
            [record.topic() for record in records],
            [record.partition() for record in records],
            [record.offset() for record in records],
            [outward_key(record.key(), value) for record, value in zip(records, values, strict=True)],
            [record.timestamp()[1] for record in records],
            values,
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        rows = pa.Table.from_arrays(arrays, schema=SCHEMA)
        # A partition that was given up and got back within one read is read twice.
        again = any(low <= self._stored.get(place, -1) for place, low, _ in _places(rows))
        return _behind(rows, self._stored) if again else rows

    def commit(self, rows: pa.Table) -> None:
        """Insert the rows while the next ones are read: one insert at a time. Errors: those of the insert before."""
        self._settle()
        self._inserting = self._inserter.submit(self._write, rows)

    def _settle(self) -> None:
        """Wait for the insert under way. Errors: its own."""
        inserting, self._inserting = self._inserting, None
        if inserting is not None:
            inserting.result()

    def _write(self, rows: pa.Table) -> None:
        """Insert the rows, whatever it takes, then bring the projections up to them. Errors: the last of RETRIES."""
        began = time.monotonic()
        for left in reversed(range(RETRIES)):
            try:
                if rows.num_rows:
                    self._insert(rows)
                self._take_note(rows)
                for projection in PROJECTIONS:
                    self._project(projection)
                break
            except (Error, OSError) as error:
                if not left:
                    raise
                log.warning("an insert failed, asking what is there: %s", str(error)[:200])
                time.sleep(RETRY_S)
                rows = self._missing(rows)
        self._took_s = time.monotonic() - began
        metrics.COMMIT.labels(NAME).observe(self._took_s)
        metrics.BATCH.labels(NAME).observe(rows.num_rows)
        metrics.WRITTEN.labels(NAME).inc(rows.num_rows)
        metrics.mark_working(NAME)
        self._moved = True

    def _tell_position(self) -> None:
        """The broker's copy of the position is for people who look at the group's lag; nothing reads it here.

        Only the thread that polls may use the consumer: the client lets one call in at a time, and a rebalance, inside a poll,
        waits for the insert under way."""
        self._moved = False
        new = {place: offset for place, offset in self._stored.copy().items() if offset > self._told.get(place, -1)}
        if new:
            offsets = [TopicPartition(topic, p, offset + 1) for (topic, p), offset in new.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._told |= new

    def _insert(self, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        self._client.raw_insert(LOG, COLUMNS, sink.getvalue().to_pybytes(), fmt="ArrowStream")

    def _take_note(self, rows: pa.Table) -> None:
        for place, _, high in _places(rows):
            self._stored[place] = max(high, self._stored.get(place, -1))

    def _missing(self, rows: pa.Table) -> pa.Table:
        """The rows that did not get there, once nothing is on its way any more."""
        try:
            self._wait_for_own_inserts()
            stored = self._checkpoints()
            for table, reached in self._projected_to().items():  # one may be the insert that got through after all
                known = self._projected[table]
                known |= {place: max(offset, known.get(place, -1)) for place, offset in reached.items()}
        except (Error, OSError) as error:
            log.warning("ClickHouse does not answer yet: %s", str(error)[:200])
            return rows
        return _behind(rows, stored)

    def _project(self, projection: Projection) -> None:
        """Fill a typed table up to what `log` holds, a bounded number of rows at a time."""
        reached = self._projected[projection.table]
        while True:
            ranges, goals = [], {}
            left = CATCH_UP_ROWS // projection.rows_each
            for (topic, partition), done in reached.items():
                goal = min(self._stored.get((topic, partition), -1), done + left)
                if goal > done:
                    left -= goal - done
                    goals[topic, partition] = goal
                    ranges.append(f"(topic = '{topic}' AND partition = {partition} AND offset > {done} AND offset <= {goal})")
            if not ranges:
                return
            self._client.command(projection.insert(f"({' OR '.join(ranges)})"))
            reached |= goals

    def close(self) -> None:
        """Leave: what was read and not inserted is read again by the next one."""
        self._settle()
        self._consumer.close()
        self._client.close()


class _NoPandas(MetaPathFinder):
    """Arrow loads pandas to see whether a list is one of its series: two seconds and 60 MB that a restart need not wait for."""

    @staticmethod
    def find_spec(fullname: str, *_: Any) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


if __name__ == "__main__":
    sys.meta_path.insert(0, _NoPandas())
    start(NAME, Store, arguments())
