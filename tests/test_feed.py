"""The feed: live, resumed, refused; and the hub by itself."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import httpx

from schemas.log.entity import partition_of
from schemas.log.topics import FEED
from serving.runtime.feed import RECENT, Connection, Hub, encode_event, send_now
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
        hub = Hub()
        partition = partition_of(b"ann", FEED.partitions)
        for offset in range(RECENT + 10):
            hub.publish(partition, offset, "ann", VALUE)
        assert len(hub.recent[partition]) == RECENT
        assert hub.recent_after("ann", 5) is None
        assert len(hub.recent_after("ann", 9) or ()) == RECENT
        assert hub.recent_after("ann", RECENT + 9) == []

    asyncio.run(run())


def test_a_connection_that_is_gone_is_not_written_to() -> None:
    async def gone(_: MutableMapping[str, Any]) -> None:
        raise OSError("closed")

    assert not send_now(gone, b"x")


def test_an_event_is_named_after_its_type() -> None:
    assert encode_event(1, 7, VALUE) == b"id: 1-7\nevent: EntryRecorded\ndata: " + VALUE + b"\n\n"
