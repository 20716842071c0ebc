"""Views over a store that lags behind: whatever is written when, a view is what the log told up to now."""

from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.balance import coins_account
from schemas.log.codec import encode
from schemas.log.entity import log_partitions, partition_of
from schemas.log.topics import FEED
from schemas.user import USER, Role, User
from serving.runtime.feed import Hub
from serving.runtime.outcomes import Outcomes
from serving.runtime.views import UNKNOWN, Remembered, Views
from serving.view_store.changes import TABLES, Batch, places
from serving.view_store.indexes import ONLINE
from serving.view_store.store import Snapshot, StoreWriter

AT = datetime(2026, 11, 26, tzinfo=UTC)
NAMES = ("ann", "bob", "cem", "dee", "eve")
STATES = st.none() | st.builds(
    User, role=st.sampled_from([Role.USER, Role.STREAMER]), signed_up_at=st.just(AT), online_since=st.none() | st.just(AT)
)
Step = tuple[str, Any, Any]
# A user's state changes, or a balance; the store is written; the views move to what is written, if they have heard of it.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("state"), st.sampled_from(NAMES), STATES),
        st.tuples(st.just("entry"), st.sampled_from(NAMES), st.integers(0, 99)),
        st.tuples(st.just("hear"), st.integers(1, 5), st.none()),
        st.tuples(st.just("write"), st.integers(1, 5), st.none()),
        st.tuples(st.just("look"), st.none(), st.none()),
    ),
    max_size=40,
)


class World:
    """A log of two partitions, a store that has a part of it, and views that have heard another part. `known`: what they must
    tell, worked out from the log alone."""

    def __init__(self, folder: str) -> None:
        self.log: list[Any] = []
        self.heard = self.stored = 0
        self.writer = StoreWriter(Path(folder), TABLES)
        self.positions = dict.fromkeys(places(), 0)
        self.writer.write({}, self.positions, 0)
        self.views = Views(Hub())
        self.views.start(self.snapshot())
        self.seq = count(1)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.writer._environment, self.writer._tables)

    def append(self, topic: str, key: str, value: bytes | None) -> None:
        partition, offset = partition_of(key.encode(), log_partitions()), len(self.log)
        self.log.append(
            SimpleNamespace(
                topic=lambda: topic, partition=lambda: partition, key=key.encode, value=lambda: value, offset=lambda: offset,
            )
        )  # fmt: skip

    def entry(self, name: str, coins: int) -> None:
        body = {"type": "EntryRecorded", "id": "i", "at": AT, "cause": "c", "account": coins_account(name), "kind": "credit"}
        self.append(FEED.name, name, encode(body | {"seq": next(self.seq), "balance_coins": coins, "held_coins": 0}))

    def hear(self, records: int) -> None:
        self.views.take(self.log[self.heard : self.heard + records])
        self.heard = min(len(self.log), self.heard + records)

    def write(self, records: int) -> None:
        """What is written may be ahead of what is heard."""
        batch = Batch()
        batch.take(self.log[self.stored : self.stored + records])
        for message in self.log[self.stored : self.stored + records]:
            self.positions[message.topic(), message.partition()] = message.offset() + 1
        self.stored = min(len(self.log), self.stored + records)
        self.writer.write(batch.changes(self.writer.get_many), self.positions, 0)

    def look(self) -> None:
        """The tail's rule: no snapshot is ahead of what was heard."""
        snapshot = self.snapshot()
        if self.stored <= self.heard:
            self.views.move(snapshot)
        else:
            snapshot.close()

    def check(self) -> None:
        states: dict[str, bytes] = {}
        balances: dict[str, bytes] = {}
        for message in self.log[: self.heard]:
            name = message.key().decode()
            if message.topic() == FEED.name:
                balances[name] = message.value()
            elif message.value() is None:
                states.pop(name, None)
            else:
                states[name] = message.value()
        users = self.views.of(USER)
        assert {name: encode(state) for name in NAMES if (state := users.get(name))} == states
        assert {name: encode(state) for name, state in users.items()} == states
        assert {name for name in NAMES if name in users} == states.keys()
        for role in (Role.USER, Role.STREAMER):
            online = sorted(n for n in states if (user := users.get(n)).online_since and user.role == role)
            assert self.views.rows(ONLINE, role) == online
            assert self.views.rows(ONLINE, role, 1) == online[:1]
            assert self.views.count(ONLINE, role) == len(online)
        told = {n: balance.balance_coins for n in NAMES if (balance := self.views.balance(coins_account(n)))}
        assert told == {name: _coins(value) for name, value in balances.items()}
        assert self.views.accounts() == len(balances)


def closed(views: Views) -> None:
    """Let go of the snapshot that the views look at."""
    assert views._snapshot is not None
    views._snapshot.close()


def coins_of(views: Views, name: str) -> int | None:
    balance = views.balance(coins_account(name))
    return None if balance is None else balance.balance_coins


def _coins(value: bytes) -> int:
    return int(value.partition(b'"balance_coins":')[2].partition(b",")[0])


@given(STEPS)
def test_a_view_is_what_the_log_told_whatever_the_store_has(steps: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        world = World(folder)
        for what, one, other in steps:
            match what:
                case "state":
                    world.append(USER.changelog, one, other and encode(other))
                case "entry":
                    world.entry(one, other)
                case "look":
                    world.look()
                case _:
                    getattr(world, what)(one)
            world.check()
        world.hear(len(world.log))
        world.write(len(world.log))
        world.look()
        world.check()
        assert len(world.views._overlay) == 0
        closed(world.views)
        world.writer.close()


def test_watchers_see_the_state_that_came_and_begin_with_what_is_stored() -> None:
    with TemporaryDirectory() as folder:
        world = World(folder)
        world.append(USER.changelog, "ann", encode(User(Role.USER, AT, online_since=AT)))
        world.write(1)
        views = Views(Hub())
        seen: list[Any] = []
        views.at_start(lambda: seen.append(views.rows(ONLINE, Role.USER)))
        views.watch(USER, lambda name, state: seen.append((name, state and state.role, views.of(USER).get(name) == state)))
        views.start(world.snapshot())
        assert seen == [["ann"]]
        world.append(USER.changelog, "ann", encode(User(Role.STREAMER, AT)))
        world.append(USER.changelog, "bob", None)
        views.take(world.log[1:])
        assert seen[1:] == [("ann", Role.STREAMER, True), ("bob", None, True)]
        assert views.rows(ONLINE, Role.USER) == []
        closed(views)
        closed(world.views)
        world.writer.close()


def test_the_feeds_past_is_for_phones_and_changes_no_balance() -> None:
    """A new process reads a little of the feed again that the store has already."""
    with TemporaryDirectory() as folder:
        world = World(folder)
        for coins in (1, 2, 3):
            world.entry("ann", coins)
        world.write(3)
        views = Views(Hub())
        views.start(world.snapshot())
        views.take(world.log[:1])
        assert coins_of(views, "ann") == 3
        views.take(world.log[1:])
        assert coins_of(views, "ann") == 3
        assert len(views.hub.recent[partition_of(b"ann", log_partitions())]) == 3
        closed(views)
        closed(world.views)
        world.writer.close()


def test_what_is_remembered_is_bounded_by_its_bytes() -> None:
    kept = Remembered(1_000)
    for number in range(5):
        kept.put(("t", f"k{number}"), number, 200)
    assert [kept.get(("t", f"k{number}")) for number in range(5)] == [UNKNOWN, UNKNOWN, 2, 3, 4]
    kept.get(("t", "k2"))
    kept.put(("t", "k5"), None, 0)
    assert kept.get(("t", "k5")) is None
    kept.put(("t", "k6"), 6, 0)
    assert [kept.get(("t", f"k{number}")) for number in (2, 3, 6)] == [2, UNKNOWN, 6]
    kept.put(("t", "huge"), 7, 5_000)
    assert [kept.get(("t", name)) for name in ("huge", "k6")] == [UNKNOWN, UNKNOWN]
    kept.put(("t", "k7"), 7, 0)
    kept.forget(("t", "k7"))
    kept.forget(("t", "k7"))
    assert (kept.get(("t", "k7")), kept._bytes) == (UNKNOWN, 0)


def told(topic: str, key: bytes | None, value: bytes | None, offset: int = 0) -> Any:
    return SimpleNamespace(
        topic=lambda: topic, key=lambda: key, value=lambda: value, offset=lambda: offset, partition=lambda: 0,
        timestamp=lambda: (1, 0),
    )  # fmt: skip


@pytest.mark.parametrize("key", [b"ann", b"", b"\xff", None])
@pytest.mark.parametrize("value", [b"", b"\xff", b'{"type":"EntryRecorded"}', b'{"type":"\n', b"[1]", None])
@pytest.mark.parametrize("topic", [FEED.name, USER.changelog, USER.events])
def test_a_record_that_cannot_be_read_takes_no_other_one_with_it(
    topic: str, key: bytes | None, value: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = Views(Hub())
    seen: list[str] = []
    views.watch(USER, lambda name, _: seen.append(name))
    monkeypatch.setattr(Outcomes, "__bool__", lambda _: True)  # somebody waits, so that facts are read, too
    bob = encode(User(Role.USER, AT))
    views.take([told(topic, key, value), told(USER.changelog, b"bob", bob, 1)])
    assert views.of(USER).get("bob") == User(Role.USER, AT)
    assert "bob" in seen
    if topic == FEED.name:
        assert not [event for recent in views.hub.recent.values() for event in recent if b"\n\n" in event[2][:-2]]
