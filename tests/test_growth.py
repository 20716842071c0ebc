"""The growth flow on the real platform, killed while it works: its numbers are those of an undisturbed run."""

import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from confluent_kafka import Producer

from infra.config import Config
from infra.kafka import quiet, read_topic
from schemas.log.entity import Flow
from schemas.outbox import OUTBOX
from schemas.panel import MEMBER
from tests.conftest import Api, Stack, eventually
from tests.lab.simulated_growth import COHORTS, DECIDERS, STREAMERS, USERS, records_of, said, unfolded

MESSAGES = 2_500
KILLS = 3


def _records(config: Config, topic: str) -> Iterator[tuple[int, int, bytes, bytes | None]]:
    """What is committed, in the order of each partition."""
    found = sorted(read_topic(config, topic), key=lambda m: (m.partition(), m.offset()))
    return ((m.partition(), m.offset(), m.key() or b"", m.value()) for m in found)


def test_kill_9_of_growth_changes_no_window_cohort_or_affinity(stack: Stack, admin: Api) -> None:
    """Thousands of messages with times of the last two days, some late; growth is killed three times meanwhile."""
    chance, began = random.Random(11), datetime.now(UTC) - timedelta(days=2)
    producer = Producer(quiet(stack.config, **{"linger.ms": 5}))

    def kill() -> None:
        for _ in range(KILLS):
            time.sleep(0.7)
            stack.kill("growth-0")

    killing = threading.Thread(target=kill)
    killing.start()
    signed_up: set[str] = set()
    for n in range(MESSAGES):
        late = timedelta(seconds=chance.choice((0, 0, 0, 60, 500, 700)))
        message = said(chance, f"g{n}", began + timedelta(seconds=n * 67) - late, signed_up)
        for record in records_of(message) if message is not None else ():
            if record.topic != OUTBOX.inbox:
                producer.produce(record.topic, record.value, record.key, record.partition)
        producer.poll(0)
        if n % 200 == 0:
            time.sleep(0.1)
    producer.flush(10)
    killing.join()
    growth = [decider for decider in DECIDERS if decider.entity.flow is Flow.GROWTH]
    read = partial(_records, stack.config)
    for decider in growth:
        eventually(lambda decider=decider: not unfolded(read, (decider,)), 60)
    people = {key.decode() for _, _, key, _ in read(MEMBER.changelog)}
    assert people >= {*USERS, *STREAMERS}
    assert admin.put("/v1/admin/postbacks/rules", json={"rules": []}).status_code == 200
    for cohort in COHORTS:
        admin.delete(f"/v1/admin/cohorts/{cohort.cohort}")
