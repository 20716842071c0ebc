"""What the benchmarks share: an embedded broker of their own, a filled topic, and a stopwatch that looks from outside.

Rates are read from outside of the measured process: how many records its group has committed, or its output topic holds, asked
fifty times a second (four times, where asking costs the measured process more), between a tenth of the work and its end. So no
peer is charged for its start, and none reports on itself.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console

from infra.broker import BRIEF
from infra.config import Config, load
from infra.kafka import end_offsets, quiet, reader
from infra.platform import Platform
from schemas.log.entity import log_partitions, partition_of
from tests.lab.percentiles import percentile

PATIENCE_S: Final = 300.0


@contextmanager
def ground(*, warehouse: bool = False) -> Iterator[Config]:
    """An embedded broker (and warehouse) in a folder that goes away."""
    os.environ.setdefault(*BRIEF)
    with tempfile.TemporaryDirectory(prefix="olo-bench-") as folder:
        platform = Platform(load(home=Path(folder), http_port=0), Console(quiet=True))
        try:
            platform.start_broker(lambda _: None)
            platform.create_topics(lambda _: None)
            if warehouse:
                platform.launch_warehouse()
                platform.start_warehouse(lambda _: None)
            yield load(home=Path(folder), brokers=platform.brokers, clickhouse_url=platform.clickhouse)
        finally:
            platform.supervisor.stop()


def make_topics(config: Config, *names: str, compacted: bool = False) -> None:
    """Fresh topics."""
    policy = {"cleanup.policy": "compact"} if compacted else {}
    new = [NewTopic(name, log_partitions(), 1, config=policy) for name in names]
    admin = AdminClient(quiet(config))  # it must live as long as its futures
    for future in admin.create_topics(new).values():
        future.result(30)


def fill(config: Config, topic: str, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Produce (key, value) records to their partitions; how many."""
    producer = Producer(quiet(config, **{"linger.ms": 20, "compression.type": "lz4", "queue.buffering.max.messages": 500_000}))
    count = 0
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key, partition_of(key, log_partitions()))
                break
            except BufferError:
                producer.poll(0.05)
        count += 1
    producer.flush()
    return count


def written(config: Config, topic: str) -> Callable[[], int]:
    """How many records a topic without transactions holds."""
    consumer = reader(config, committed=False)
    return lambda: sum(end_offsets(consumer, topic, range(log_partitions())).values())


def committed(config: Config, group: str, topic: str) -> Callable[[], int]:
    """How many records of a topic a group has committed."""
    consumer = Consumer(quiet(config, **{"group.id": group, "isolation.level": "read_uncommitted"}))
    parts = [TopicPartition(topic, partition) for partition in range(log_partitions())]

    def count() -> int:
        try:
            return sum(max(0, part.offset) for part in consumer.committed(parts, 30))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_COORDINATOR:
                raise
            return 0  # a fresh broker's coordinator is still moving in

    return count


def rate(count: Callable[[], int], total: int, command: list[str], config: Config, *, every_s: float = 0.02) -> float:
    """Run a process until `count`, asked every so often, reaches `total`; records a second from a tenth of the way on."""
    environment = os.environ | {"OLO_BROKERS": config.brokers, "OLO_CLICKHOUSE_URL": config.clickhouse_url}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *command], env=environment, stdout=log, stderr=log)
        try:
            first: tuple[float, int] | None = None
            began = time.monotonic()
            deadline = time.monotonic() + PATIENCE_S
            while True:
                done, moment = count(), time.monotonic()
                if first is None and done >= total // 10:
                    # so little work that it is all done at the first look: its start counts, too
                    first = (moment, done) if done < total else (began, 0)
                if done >= total and first is not None:
                    return (done - first[1]) / max(moment - first[0], 1e-9)
                if process.poll() is not None or moment > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{command} stopped at {done} of {total}:\n{log.read().decode()[-2000:]}")
                time.sleep(every_s)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def percentiles(values: list[float]) -> str:
    """p50, p95 and p99 of milliseconds, as text."""
    found = sorted(values)
    return "   ".join(f"p{p} {percentile(found, p):7.1f} ms" for p in (50, 95, 99))
