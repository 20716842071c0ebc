"""The views of a serving process that has just started."""

import asyncio
import threading
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from infra.kafka import end_offsets, reader
from schemas.log.topics import FEED
from schemas.user import USER
from serving.runtime import views
from serving.runtime.feed import Hub
from tests.conftest import NewUser, Stack, eventually


class SlowChangelogs:
    """A consumer whose changelogs do not come until `go`; how often it was polled since the feed had come, up to `ends`."""

    def __init__(self, consumer: Consumer, ends: dict[int, int]) -> None:
        self.go = False
        self.polled = 0
        self._consumer = consumer
        self._ends = ends
        self._late: list[TopicPartition] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def assign(self, parts: list[TopicPartition]) -> None:
        self._consumer.assign(parts)
        self._late = [part for part in parts if part.topic in views.SMALL]
        self._consumer.pause(self._late)

    def poll(self, timeout: float) -> Message | None:
        feed = self._consumer.position([TopicPartition(FEED.name, partition) for partition in self._ends])
        self.polled += all(part.offset >= self._ends[part.partition] for part in feed)
        if self.go and self._late:
            self._consumer.resume(self._late)
            self._late = []
        return self._consumer.poll(timeout)


def test_it_is_ready_when_it_knows_everybody_not_only_when_the_feed_has_come(
    stack: Stack, new_user: NewUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {new_user().user for _ in range(3)}
    ends = end_offsets(reader(stack.config), FEED.name, range(FEED.partitions))
    slow = SlowChangelogs(reader(stack.config), {partition: end for partition, end in ends.items() if end})
    monkeypatch.setattr(views, "reader", lambda *_: slow)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    known = views.Views(Hub())
    tail = views.Tail(stack.config, known, loop)
    try:
        eventually(lambda: slow.polled > 3)
        assert not known.ready
        slow.go = True
        eventually(lambda: known.ready)
        assert users <= set(known.of(USER))
    finally:
        tail.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
