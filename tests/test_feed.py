"""The feed: live, resumed, refused; and the hub by itself."""

import asyncio
import json
import time
from collections.abc import MutableMapping
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.config import Config
from schemas.log.entity import partition_of
from schemas.log.topics import FEED
from schemas.user import Role
from serving.runtime.auth import CALLER, Authenticator, Caller
from serving.runtime.feed import EVENT_BYTES, Connection, Hub, encode_event, send_now
from serving.runtime.stream import FeedEndpoint
from tests.conftest import Api, NewUser, Stack, eventually

# Of a stream: id, name and contents.
Event = tuple[str | None, str, Any]


def events(api: Api, count: int, cursor: str | None = None, kind: str = "EntryRecorded") -> list[Event]:
    """Read a stream until `count` events of a kind have come; (id, event, data) of all events."""
    headers = {"Last-Event-ID": cursor} if cursor else {}
    found, event = [], {}
    with api.stream("GET", "/v1/feed", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event:
                if "event" in event:
                    found.append((event.get("id"), event["event"], json.loads(event["data"])))
                event = {}
                if sum(1 for _, name, _ in found if name == kind) == count:
                    return found
    raise AssertionError(f"the stream ended after {found}")


def grant(admin: Api, user: str, *coins: int) -> None:
    for amount in coins:
        assert admin.place("/v1/admin/grants", account=f"{user}/coins", coins=amount).status_code == 201


def test_a_stream_resumes_without_a_gap_or_a_repeat(admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    cursor = ann.balance().json()["cursor"]
    grant(admin, ann.user, 1, 2, 3)
    whole = events(ann, 3, cursor)
    assert [data["coins"] for _, name, data in whole if name == "EntryRecorded"] == [1, 2, 3]
    middle = next(id_ for id_, _, data in whole if data.get("coins") == 2)
    assert [data["coins"] for _, name, data in events(ann, 1, middle) if name == "EntryRecorded"] == [3]


def test_a_snapshot_and_its_cursor_tell_one_story(admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    for coins in range(1, 6):
        before = ann.balance().json()
        grant(admin, ann.user, coins)
        (entry,) = (data for _, name, data in events(ann, 1, before["cursor"]) if name == "EntryRecorded")
        assert (entry["seq"], entry["balance_coins"]) == (before["seq"] + 1, before["balance_coins"] + coins)


def test_a_ready_event_carries_the_cursor_of_now(admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    (id_, name, data) = events(ann, 1, kind="ready")[0]
    assert (name, data["cursor"]) == ("ready", id_)
    grant(admin, ann.user, 9)
    assert [d["coins"] for _, n, d in events(ann, 1, data["cursor"]) if n == "EntryRecorded"] == [9]


def test_nobody_sees_anothers_feed(admin: Api, new_user: NewUser) -> None:
    ann, bob = new_user(), new_user()
    cursor = bob.balance().json()["cursor"]
    grant(admin, ann.user, 1)
    grant(admin, bob.user, 2)
    assert {data["account"] for _, name, data in events(bob, 1, cursor) if name == "EntryRecorded"} == {f"{bob.user}/coins"}


def test_a_cursor_from_the_future_or_of_no_form_is_refused(new_user: NewUser) -> None:
    ann = new_user()
    partition = partition_of(ann.user.encode(), FEED.partitions)
    for cursor, code in (
        (f"{partition}-99999999", "cursor_ahead"),
        ("yesterday", "cursor_invalid"),
        ("1-2-3", "cursor_invalid"),
    ):
        answer = ann.get("/v1/feed", headers={"Last-Event-ID": cursor})
        assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_cursor_of_another_partitioning_is_a_gap(new_user: NewUser) -> None:
    ann = new_user()
    other = (partition_of(ann.user.encode(), FEED.partitions) + 1) % FEED.partitions
    assert events(ann, 1, f"{other}-0", kind="gap")[0][1] == "gap"


def test_a_new_process_resumes_from_the_log(stack: Stack, admin: Api, new_user: NewUser) -> None:
    """What lies before a process's memory is read from the log."""
    ann = new_user()
    cursor = ann.balance().json()["cursor"]
    grant(admin, ann.user, 1, 2)
    stack.kill("serving-0")
    eventually(lambda: ready(stack))
    grant(admin, ann.user, 3)
    assert [d["coins"] for _, n, d in events(ann, 3, cursor) if n == "EntryRecorded"] == [1, 2, 3]
    assert ann.balance().json()["balance_coins"] == 6


def ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.http}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


# --- the hub by itself ------------------------------------------------------------------------------------------------------


class Client:
    """An ASGI send that remembers; `slow`: the server asks the writer to wait."""

    def __init__(self, slow: bool = False) -> None:
        self.slow, self.was_cut = slow, False
        self.bodies: list[bytes] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self.slow:
            await asyncio.sleep(0)
        self.bodies.append(message["body"])

    def connect(self, hub: Hub, user: str, after: int = -1) -> Connection:
        connection = Connection(self.send, lambda: setattr(self, "was_cut", True), after)
        hub.add(user, connection)
        return connection


VALUE = b'{"type":"EntryRecorded","id":"x"}'


def test_what_comes_in_one_turn_is_one_send_and_the_past_is_not_repeated() -> None:
    async def run() -> None:
        hub, near, far = Hub(), Client(), Client()
        near.connect(hub, "ann", after=0)
        far.connect(hub, "ann")
        for offset in range(3):
            hub.publish(1, offset, "ann", VALUE)
        hub.publish(1, 3, "bob", VALUE)
        await asyncio.sleep(0)
        assert far.bodies == [b"".join(encode_event(1, offset, VALUE) for offset in range(3))]
        assert near.bodies == [b"".join(encode_event(1, offset, VALUE) for offset in (1, 2))]

    asyncio.run(run())


def test_a_slow_reader_is_cut() -> None:
    async def run() -> None:
        hub, slow = Hub(), Client(slow=True)
        slow.connect(hub, "ann")
        hub.publish(1, 0, "ann", VALUE)
        await asyncio.sleep(0)
        assert slow.was_cut
        assert slow.bodies == []

    asyncio.run(run())


def test_memory_is_bounded_and_says_when_it_does_not_reach_back() -> None:
    async def run() -> None:
        kept, partition = 100, partition_of(b"ann", FEED.partitions)
        each = len(encode_event(partition, 100, VALUE)) + EVENT_BYTES
        hub = Hub(FEED.partitions * kept * each)
        for offset in range(100, 210):
            hub.publish(partition, offset, "ann", VALUE)
        assert len(hub.recent[partition]) == kept
        assert hub.recent_after("ann", 108) is None
        assert len(hub.recent_after("ann", 109) or ()) == kept
        assert hub.recent_after("ann", 209) == []

    asyncio.run(run())


def test_an_event_larger_than_all_memory_is_shown_and_not_kept() -> None:
    async def run() -> None:
        hub, near = Hub(EVENT_BYTES), Client()
        near.connect(hub, "ann")
        partition = partition_of(b"ann", FEED.partitions)
        for offset in range(3):
            hub.publish(partition, offset, "ann", VALUE)
        await asyncio.sleep(0)
        assert b"".join(near.bodies).count(b"id: ") == 3
        assert hub.recent_after("ann", 1) is None
        assert hub.recent_after("ann", 2) == []

    asyncio.run(run())


def test_a_connection_that_is_gone_is_not_written_to() -> None:
    async def gone(_: MutableMapping[str, Any]) -> None:
        raise OSError("closed")

    assert not send_now(gone, b"x")


def test_an_event_is_named_after_its_type() -> None:
    assert encode_event(1, 7, VALUE) == b"id: 1-7\nevent: EntryRecorded\ndata: " + VALUE + b"\n\n"


# --- cut and resumed --------------------------------------------------------------------------------------------------------


class Log(FeedEndpoint):
    """The endpoint over a log in memory: user and body by offset, all of one partition."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub, cast("Authenticator", None), cast("Config", SimpleNamespace(streams=8)))
        self.hub, self.records = hub, list[tuple[str, bytes]]()

    def publish(self, user: str) -> None:
        offset = len(self.records)
        self.records.append((user, b'{"type":"EntryRecorded","id":"m%d"}' % offset))
        self.hub.publish(PARTITION, offset, *self.records[-1])

    async def _bounds(self, partition: int) -> tuple[int, int]:  # noqa: ARG002 - there is one
        return 0, len(self.records)

    def _read(self, user: str, partition: int, start: int, end: int) -> list[bytes]:
        found = enumerate(self.records[start:end], start)
        return [encode_event(partition, offset, value) for offset, (of, value) in found if of == user]


PARTITION = partition_of(b"ann", FEED.partitions)


async def take(log: Log, cursor: str, most: int, live: int) -> tuple[list[bytes], str]:
    """Ann's phone comes with a cursor; `live` more events come while the stream is open. What it saw until it was cut behind
    `most` events, and the cursor that it has then."""
    cut, began, ready = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        began.set()
        for block in message.get("body", b"").split(b"\n\n"):
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
            if fields.get(b"event") == b"ready":
                ready.set()
            if b"event" in fields and not cut.is_set():
                taken.append(fields)
                if sum(one[b"event"] != b"ready" for one in taken) == most:
                    cut.set()

    async def receive() -> dict[str, str]:
        await cut.wait()
        return {"type": "http.disconnect"}

    taken: list[dict[bytes, bytes]] = []
    caller = Caller(user="ann", role=Role.USER, expires_at=time.time() + 999)
    scope = {
        "type": "http", "method": "GET", "path": "/v1/feed", "query_string": b"", "state": {CALLER: caller},
        "headers": [(b"last-event-id", cursor.encode())] if cursor else [],
    }  # fmt: skip
    stream = asyncio.get_running_loop().create_task(log(scope, receive, send))
    await began.wait()
    for n in range(live):
        log.publish("ann" if n % 3 else "bob")
        if n % 2:
            await asyncio.sleep(0)
    await ready.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    cut.set()
    await stream
    seen = [one[b"data"] for one in taken if one[b"event"] != b"ready"]
    return seen, taken[-1][b"id"].decode() if taken else cursor


@pytest.mark.parametrize("kept", [10_000, 4, 1, 0])
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), min_size=1, max_size=12))
def test_who_is_cut_behind_every_third_event_sees_exactly_the_uncut_feed(kept: int, rounds: list[tuple[int, int]]) -> None:
    """Whether memory reaches back so far or the log has to be read: no gap, no repeat, in order."""

    async def run() -> None:
        log = Log(Hub(FEED.partitions * kept * 300))
        seen: list[bytes] = []
        cursor = f"{PARTITION}--1"
        for away, live in rounds:
            for n in range(away):
                log.publish("bob" if n % 3 == 1 else "ann")
            more, cursor = await take(log, cursor, 3, live)
            assert len(more) <= 3
            seen += more
        while more:
            more, cursor = await take(log, cursor, 3, 0)
            seen += more
        assert seen == [value for user, value in log.records if user == "ann"]

    asyncio.run(run())
