"""Serving on its store: a process that has just started, and a store that is killed, deleted, broken or old."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.config import Config
from infra.exposition import total
from infra.kafka import end_offsets, reader
from schemas.log.topics import FEED
from schemas.user import USER
from serving.runtime import tail
from serving.runtime.feed import Hub
from serving.runtime.views import Views
from serving.view_store.changes import CHANGELOGS, TABLES
from serving.view_store.folder import Folder, Note
from serving.view_store.keeper import Keeper
from serving.view_store.store import StoreWriter
from tests.conftest import Api, NewUser, Stack, eventually

COPY = "import lmdb, sys; lmdb.open(sys.argv[1], readonly=True, max_dbs=512, map_size=1 << 40).copy(sys.argv[2])"


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
        self._late = [part for part in parts if part.topic in CHANGELOGS]
        self._consumer.pause(self._late)

    def poll(self, timeout: float) -> Any:
        feed = self._consumer.position([TopicPartition(FEED.name, partition) for partition in self._ends])
        self.polled += all(part.offset >= self._ends[part.partition] for part in feed)
        if self.go and self._late:
            self._consumer.resume(self._late)
            self._late = []
        return self._consumer.poll(timeout)


@contextmanager
def running(config: Config) -> Iterator[Views]:
    """Views in this process, with their tail."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    known = Views(Hub())
    reads = tail.Tail(config, known, loop)
    try:
        yield known
    finally:
        reads.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def note_of(folder: Folder) -> Note:
    """The folder's note, where there must be one."""
    note = folder.note()
    assert note is not None
    return note


def copy_of_store(stack: Stack, home: Path) -> None:
    """The folder of the views as it is now, in another home, where nobody keeps it."""
    here, there = Folder(stack.home), Folder(home)
    note = note_of(here)
    target = there.path / note.store
    target.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", COPY, here.path / note.store, target], check=True)
    there.write(note)


def test_it_is_ready_when_it_knows_everybody_not_only_when_the_feed_has_come(
    stack: Stack, new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also on an older copy of the store that nobody keeps: what lies behind it comes from the log."""
    copy_of_store(stack, tmp_path)
    signed_up = [new_user() for _ in range(3)]
    eventually(lambda: all(one.balance().is_success for one in signed_up))  # their accounts are opened behind the sign-up
    users = {one.user for one in signed_up}
    ends = end_offsets(reader(stack.config), FEED.name, range(FEED.partitions))
    slow = SlowChangelogs(reader(stack.config), {partition: end for partition, end in ends.items() if end})
    monkeypatch.setattr(tail, "reader", lambda *_: slow)
    with running(stack.config.model_copy(update={"home": tmp_path})) as known:
        eventually(lambda: slow.polled > 3)
        assert not known.ready
        slow.go = True
        eventually(lambda: known.ready)
        assert all(user in known.of(USER) for user in users)
        assert all((found := known.balance(f"{user}/coins")) and found.balance_coins == 0 for user in users)


def test_a_store_that_is_far_behind_and_that_nobody_keeps_is_taken_as_it_is(
    stack: Stack, new_user: NewUser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also while the log grows."""
    monkeypatch.setattr(tail, "NEAR_RECORDS", -1)
    monkeypatch.setattr(tail, "STANDSTILL_S", 0.5)
    copy_of_store(stack, tmp_path)
    users: list[str] = []

    def grown_and_ready() -> bool:
        users.append(new_user().user)
        return known.ready

    with running(stack.config.model_copy(update={"home": tmp_path})) as known:
        eventually(grown_and_ready)
        eventually(lambda: all(user in known.of(USER) for user in users))


def test_a_new_process_reads_the_store_and_only_the_rest_of_the_log(stack: Stack, new_user: NewUser) -> None:
    ann = new_user()
    eventually(lambda: _overlay(stack) == 0)
    with running(stack.config) as known:
        eventually(lambda: known.ready)
        assert len(known._overlay) < 50
        assert ann.user in known.of(USER)
        assert known.accounts() >= 2


def _overlay(stack: Stack) -> float:
    return total(httpx.get(f"{stack.http}/metrics").text, "olo_view_overlay")


class People:
    """Users with a balance each. `check`: all of them are known, and what is written now is read at once."""

    def __init__(self, new_user: NewUser, admin: Api) -> None:
        self._new_user = new_user
        self._admin = admin
        self._coins: dict[Api, int] = {}

    def check(self) -> None:
        for user, coins in self._coins.items():
            assert user.balance().json()["balance_coins"] == coins
            assert user.get("/v1/users/me").json()["user"] == user.user
        ann = self._new_user()
        self._coins[ann] = len(self._coins) + 1
        granted = self._admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=self._coins[ann])
        assert granted.status_code == 201
        assert ann.balance().json()["balance_coins"] == self._coins[ann]


@pytest.fixture
def people(new_user: NewUser, admin: Api) -> People:
    found = People(new_user, admin)
    for _ in range(3):
        found.check()
    return found


def up(stack: Stack) -> bool:
    """Whether serving is ready."""
    try:
        return httpx.get(f"{stack.http}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_serving_goes_on_while_its_store_is_killed_and_comes_back(stack: Stack, people: People) -> None:
    store = note_of(Folder(stack.home)).store
    for number in (signal.SIGKILL, signal.SIGSTOP):
        pid = stack.child("views")["pid"]
        os.kill(pid, number)
        people.check()
        people.check()
        if number == signal.SIGSTOP:
            assert _overlay(stack) > 0
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: _overlay(stack) == 0)
        people.check()
    assert note_of(Folder(stack.home)).store == store
    stack.kill("serving-0")
    eventually(lambda: up(stack))
    people.check()


@pytest.mark.parametrize("what", ["deleted", "torn"])
def test_a_store_that_is_lost_is_built_anew_and_nobody_is_unknown(stack: Stack, people: People, what: str) -> None:
    folder = Folder(stack.home)
    store = note_of(folder).store
    if what == "deleted":
        shutil.rmtree(folder.path)
    else:
        folder.write(msgspec.structs.replace(note_of(folder), boot="another one"))
        stack.kill("views")
    people.check()
    eventually(lambda: (note := folder.note()) and note.store != store)
    people.check()
    eventually(lambda: _overlay(stack) == 0)
    people.check()
    stack.kill("serving-0")
    eventually(lambda: up(stack))
    people.check()


def test_a_file_that_is_cut_ends_whoever_touches_it_and_is_built_anew(stack: Stack, people: People) -> None:
    folder = Folder(stack.home)
    store = note_of(folder).store
    os.truncate(folder.path / store / "data.mdb", 8_192)
    eventually(lambda: (note := folder.note()) and note.store != store and up(stack), 60)
    people.check()
    eventually(lambda: _overlay(stack) == 0)
    people.check()


def test_a_second_keeper_says_so_in_one_line_and_ends(stack: Stack) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "serving.view_store"],
        env=stack.environment | {"OLO_BROKERS": stack.brokers}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr == f"views: another process keeps the views in {stack.home / 'views'}\n"


def test_a_keeper_that_is_told_to_end_leaves_a_synced_store(stack: Stack, people: People, tmp_path: Path) -> None:
    """On an older copy, which it brings up to date; and the next one goes on with it, also after another boot."""
    copy_of_store(stack, tmp_path)
    people.check()
    folder = Folder(tmp_path)
    store = note_of(folder).store
    environment = stack.environment | {"OLO_BROKERS": stack.brokers, "OLO_HOME": str(tmp_path)}
    for _ in range(2):
        keeper = subprocess.Popen([sys.executable, "-m", "serving.view_store"], env=environment)
        eventually(lambda: note_of(folder).deaths == 1)
        with running(stack.config.model_copy(update={"home": tmp_path})) as known:
            eventually(lambda: known.ready)
            eventually(lambda: len(known._overlay) == 0)
        keeper.terminate()
        assert keeper.wait(20) == 0
        assert (note_of(folder).store, note_of(folder).clean, note_of(folder).deaths) == (store, True, 0)
        folder.write(msgspec.structs.replace(note_of(folder), boot="before the power cut"))


@pytest.mark.parametrize(
    ("moved", "hours", "reason"),
    [(0, 0, ""), (0, 121, "it was written last 121 hours ago"), (10**12, 0, "the log of feed does not reach so far")],
)
def test_which_store_the_log_has_left_behind(stack: Stack, tmp_path: Path, moved: int, hours: int, reason: str) -> None:
    copy_of_store(stack, tmp_path)
    folder = Folder(tmp_path)
    found = Keeper(stack.config, folder)
    writer = StoreWriter(folder.path / note_of(folder).store, TABLES)
    at, positions = writer.positions()
    place = (FEED.name, 0)
    writer.write({}, positions | {place: positions[place] + moved}, at - hours * 3_600)
    assert found._left_behind(writer) == reason
    writer.close()


def test_a_store_without_positions_is_built_anew(stack: Stack, tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", TABLES)
    assert Keeper(stack.config, Folder(tmp_path))._left_behind(writer) == "it is empty"
    writer.close()
