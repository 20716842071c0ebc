"""The sender of commands: a producer that does not deliver is replaced, and nobody waits for good for what it held."""

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer

from serving.runtime import sending
from serving.runtime.sending import Sender
from tests.conftest import eventually

TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


class Stuck:
    """A producer that delivers nothing to the partitions in `stuck`: each record times out, but the first, which is kept."""

    def __init__(self, *stuck: int) -> None:
        self.stuck, self.given, self.held = set(stuck), list[int](), list[Any]()

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, *, on_delivery: Any) -> None:  # noqa: ARG002
        self.given.append(partition)
        if partition not in self.stuck:
            on_delivery(None, None)
        elif len(self.given) == 1:
            self.held.append(on_delivery)
        else:
            on_delivery(TIMED_OUT, None)

    def purge(self) -> None:
        for held in self.held:
            held(KafkaError(KafkaError._PURGE_QUEUE), None)

    def poll(self, *_: float) -> None:
        pass

    def flush(self, *_: float) -> int:
        return 0


def sender(monkeypatch: pytest.MonkeyPatch, stuck_s: float, *producers: Stuck) -> Sender:
    monkeypatch.setattr(sending, "STUCK_S", stuck_s)
    waiting = iter(producers)
    return Sender(lambda: cast(Producer, next(waiting)))


def test_a_producer_that_does_not_deliver_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Stuck(1), Stuck()
    found = sender(monkeypatch, 0.01, first, second)
    heard: list[KafkaError | None] = []
    found.send("t", b"v", b"k", 1, heard.append)
    found.send("t", b"v", b"k", 1, heard.append)
    assert heard == [TIMED_OUT]
    eventually(lambda: len(heard) == 2)
    assert heard[1] == KafkaError._PURGE_QUEUE
    found.send("t", b"v", b"k", 1, heard.append)
    assert heard[2] is None
    assert second.given == [1]
    found.stop()


def test_one_partition_that_stands_still_beside_others_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Stuck(1), Stuck()
    found = sender(monkeypatch, 0.05, first, second)
    found.send("t", b"v", b"k", 0, lambda _: None)
    found.send("t", b"v", b"k", 1, lambda _: None)
    for _ in range(50):
        found.send("t", b"v", b"k", 0, lambda _: None)
    eventually(lambda: found._producer is cast(Any, second))
    found.stop()


def test_a_record_that_was_late_once_replaces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Stuck(1)
    found = sender(monkeypatch, 0.2, first)
    first.given.append(1)
    found.send("t", b"v", b"k", 1, lambda _: None)
    first.stuck.clear()
    found.send("t", b"v", b"k", 1, lambda _: None)
    found._thread.join(0.4)
    assert found._thread.is_alive()
    assert found._producer is cast(Any, first)
    found.stop()
