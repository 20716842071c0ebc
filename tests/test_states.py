"""The states of a lane, in memory and on disk: one contract for both, and a store on disk under crashes, copies and old age."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.runtime import disk as disk_module
from pipelines.runtime import seal
from pipelines.runtime.disk import Disk, Origin
from pipelines.runtime.states import Memory, States
from schemas.log.entity import MAX_KEY_BYTES

T = datetime(2030, 1, 1, tzinfo=UTC)
ORIGIN = Origin("cluster", "topic")
DAY = timedelta(days=1)


@pytest.fixture(params=["memory", "disk"])
def states(request: pytest.FixtureRequest, tmp_path: Path) -> States:
    return Memory() if request.param == "memory" else Disk(tmp_path / "states", ORIGIN)


def write(store: States, contains: int = 1) -> None:
    """Have all of it on disk."""
    store.reached(contains, contains)
    store.tend(pressed=True)


def due(store: States, at: datetime) -> list[tuple[bytes, datetime]]:
    return list(store.agenda.due(at))


def reopened(folder: Path, end: int = 1_000) -> Disk:
    found = Disk(folder, ORIGIN)
    found.begin(end)
    return found


def killed(store: Disk) -> Disk:
    """The store as the next process finds it: this one has written nothing more."""
    store._read.abort()
    store._env.close()
    return reopened(store.folder)


# --- the contract ---------------------------------------------------------------------------------------------------------


def test_a_wake_comes_once_until_it_is_decided_and_then_again_if_the_state_wants_it(states: States) -> None:
    states.merge({b"a": b"1"}, {b"a": T})
    write(states)
    assert due(states, T) == [(b"a", T)]
    states.merge({b"a": b"2"}, {b"a": T})
    assert due(states, T) == [], "it is under way"
    states.agenda.decided(b"a", T)
    states.merge({b"a": b"3"}, {b"a": T})
    assert due(states, T) == [(b"a", T)]
    states.agenda.decided(b"a", T)
    states.merge({b"a": b"4"}, {b"a": None})
    assert due(states, T + DAY) == []


def test_a_wake_of_another_time_or_of_the_process_before_takes_none_away(states: States) -> None:
    states.merge({b"a": b"1"}, {b"a": T})
    states.agenda.decided(b"a", T)
    states.agenda.decided(b"a", T - DAY)
    assert due(states, T) == [(b"a", T)]


def test_what_was_merged_is_there_and_what_was_forgotten_is_not(states: States) -> None:
    states.merge({b"a": b"1", b"b": b"2"}, {})
    write(states)
    states.merge({b"a": b"3", b"b": None, b"c": b"4", b"never": None}, {})
    for _ in range(2):
        assert [states.get(key) for key in (b"a", b"b", b"c", b"d")] == [b"3", None, b"4", None]
        assert sorted(set(states.walk())) == [b"a", b"c"]
        write(states, 2)
    assert len(states) == 2


@pytest.mark.parametrize("key", [b"", b"\x00", b"x" * 512, b"x" * 10_000])
def test_a_key_that_cannot_be_is_unknown(states: States, key: bytes) -> None:
    assert states.get(key) is None


def test_the_longest_key_has_a_state_and_a_wake(states: States) -> None:
    key = b"\xf4" * MAX_KEY_BYTES
    states.merge({key: b"1"}, {key: T})
    write(states)
    assert states.get(key) == b"1"
    assert due(states, T) == [(key, T)]


def test_wakes_come_once_in_order_whether_in_memory_or_on_disk(states: States) -> None:
    moments = {b"soon": T, b"later": T + DAY, b"last": T + 9 * DAY}
    states.merge(dict.fromkeys(moments, b"1"), dict(moments))
    assert due(states, T) == [(b"soon", T)]
    write(states)
    assert not due(states, T)
    assert due(states, T + 30 * DAY) == [(b"later", T + DAY), (b"last", T + 9 * DAY)]
    assert not due(states, T + 99 * DAY)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("then", [T + timedelta(seconds=1), T + timedelta(hours=1), T - DAY])
def test_a_wake_that_was_moved_comes_at_its_new_time_only(states: States, then: datetime, on_disk: bool) -> None:
    states.merge({b"a": b"1"}, {b"a": T})
    if on_disk:
        write(states)
    assert not due(states, T - 2 * DAY)
    states.merge({b"a": b"2"}, {b"a": then})
    if on_disk:
        write(states, 2)
    assert due(states, T + 2 * DAY) == [(b"a", then)]


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_wake_that_was_taken_back_does_not_come(states: States, on_disk: bool) -> None:
    states.merge({b"a": b"1", b"b": b"1"}, {b"a": T, b"b": T})
    if on_disk:
        write(states)
    states.merge({b"a": b"2", b"b": None}, {b"a": None, b"b": None})
    if on_disk:
        write(states, 2)
    assert not due(states, T + DAY)


def test_next_is_never_later_than_the_first_wake(states: States) -> None:
    states.merge({b"a": b"1"}, {b"a": T + DAY})
    list(states.agenda.due(T))
    first = states.agenda.next()
    assert first is not None
    assert first <= T + DAY


def test_very_many_wakes_at_one_moment_and_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "WAKES", 10)
    store = Disk(tmp_path / "s", ORIGIN)
    wakes: dict[bytes, datetime | None] = {b"%03d" % n: T + timedelta(seconds=n // 30) for n in range(100)}
    store.merge(dict.fromkeys(wakes, b"1"), wakes)
    write(store)
    assert len(due(store, T + DAY)) == 100


def test_a_walk_meets_whatever_stays_while_states_change_and_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_module, "WALK", 7)
    store = Disk(tmp_path / "s", ORIGIN)
    store.merge({b"k%03d" % n: b"1" for n in range(100)}, {})
    write(store)
    store.merge({b"k%03d" % n: b"2" for n in range(50, 150)}, {})
    walk, met = store.walk(), set()
    for number, key in enumerate(walk):
        met.add(key)
        if number == 20:
            store.merge({b"k000": None, b"z": b"new"}, {})
            write(store, 2)
    assert {b"k%03d" % n for n in range(1, 150)} <= met


# --- what a crash leaves ----------------------------------------------------------------------------------------------------


def test_a_killed_process_leaves_what_it_had_written_and_how_far_that_goes(tmp_path: Path) -> None:
    store = Disk(tmp_path / "s", ORIGIN)
    assert (store.contains, store.position) == (0, -1)
    store.merge({b"a": b"1"}, {b"a": T})
    store.reached(7, 5)
    store.swept = b"book"
    store.tend(pressed=True)
    store.merge({b"a": b"2"}, {b"a": None})
    again = killed(store)
    assert (again.contains, again.position, again.swept, again.why) == (7, 5, b"book", "")
    assert again.get(b"a") == b"1"
    assert due(again, T) == [(b"a", T)]


def test_slices_without_the_last_leave_the_old_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "SLICE", 2)
    monkeypatch.setattr(disk_module, "FLUSH_S", 0.0)
    store = Disk(tmp_path / "s", ORIGIN)
    store.merge({b"a": b"1"}, {})
    write(store)
    store.merge({b"%d" % n: b"2" for n in range(40)}, {})
    store.reached(50, 40)
    store.tend()
    again = killed(store)
    assert (again.contains, again.why) == (1, "")
    again.merge({b"%d" % n: b"2" for n in range(40)}, {})  # read from the changelog once more
    assert sorted(set(again.walk())) == sorted([b"a", *(b"%d" % n for n in range(40))])


def test_without_a_known_position_nothing_is_written(tmp_path: Path) -> None:
    store = Disk(tmp_path / "s", ORIGIN)
    store.merge({b"a": b"1"}, {})
    store.tend(pressed=True)
    assert store.get(b"a") == b"1"
    assert killed(store).get(b"a") is None


def test_what_was_merged_but_not_committed_is_not_written_not_even_at_the_end(tmp_path: Path) -> None:
    store = Disk(tmp_path / "s", ORIGIN)
    store.merge({b"a": b"1"}, {})
    store.reached(1, 1)
    store.merge({b"a": b"2", b"b": b"2"}, {})
    store.close(sync=True)
    again = reopened(tmp_path / "s")
    assert (again.get(b"a"), again.get(b"b"), again.contains) == (None, None, 0)


def grow(folder: Path) -> None:
    store = Disk(folder, ORIGIN)
    store.merge({b"key %d" % n: b"x" * 100 for n in range(2_000)}, {})
    write(store, 900)
    store.close(sync=True)


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def truncate(folder: Path) -> None:
    os.truncate(folder / "data.mdb", 8_192)


def empty(folder: Path) -> None:
    os.truncate(folder / "data.mdb", 0)


def garbage(folder: Path) -> None:
    (folder / "data.mdb").write_bytes(os.urandom(100_000))


def put_back(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    time.sleep(0.01)
    shutil.copytree(folder.with_name("copy"), folder)


def put_back_in_place(folder: Path) -> None:
    data = (folder / "data.mdb").read_bytes()
    (folder / "data.mdb").write_bytes(data)


def without_seal(folder: Path) -> None:
    (folder / "seal").unlink()


def with_a_broken_seal(folder: Path) -> None:
    (folder / "seal").write_bytes(b"{")


@pytest.mark.parametrize(
    "harm", [delete, truncate, empty, garbage, put_back, put_back_in_place, without_seal, with_a_broken_seal]
)
def test_a_store_that_somebody_has_touched_is_made_anew(harm: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "s"
    grow(folder)
    harm(folder)
    store = reopened(folder)
    assert (store.contains, store.position, store.get(b"key 1")) == (0, -1, None)
    assert store.why
    store.merge({b"a": b"1"}, {})
    write(store)
    assert killed(store).get(b"a") == b"1"


def test_a_store_as_it_was_left_is_trusted(tmp_path: Path) -> None:
    grow(tmp_path / "s")
    store = reopened(tmp_path / "s")
    assert (store.contains, store.why, len(store)) == (900, "", 2_000)


def test_a_store_of_another_log_or_of_another_format_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, origin, version in (
        ("o", Origin("cluster", "another"), 1),
        ("c", Origin("another", "topic"), 1),
        ("f", ORIGIN, 9),
    ):
        grow(tmp_path / name)
        monkeypatch.setattr(disk_module, "FORMAT", version)
        assert Disk(tmp_path / name, origin).contains == 0
        monkeypatch.undo()


@pytest.mark.parametrize(("end", "age_s", "kept"), [(899, 0, False), (900, 0, True), (10_000, 0, True), (901, 9e9, True),
                                                    (902, 9e9, False)])  # fmt: skip
def test_a_store_beyond_the_changelog_or_older_than_its_marks_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: int, age_s: float, kept: bool
) -> None:
    grow(tmp_path / "s")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + age_s)
    store = reopened(tmp_path / "s", end)
    assert (store.contains == 900) is kept
    assert bool(store.get(b"key 1")) is kept


def test_after_a_loss_of_power_only_what_was_synced_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path / "synced")
    store = Disk(tmp_path / "lost", ORIGIN)
    store.merge({b"a": b"1"}, {})
    write(store)
    killed(store).close()
    grow(tmp_path / "written again")
    again = Disk(tmp_path / "written again", ORIGIN)
    again.merge({b"a": b"1"}, {})
    write(again)
    killed(again).close()
    monkeypatch.setattr(seal, "boot_id", lambda: "another boot")
    trusted = {name: Disk(tmp_path / name, ORIGIN).contains for name in ("synced", "lost", "written again")}
    assert trusted == {"synced": 900, "lost": 0, "written again": 0}


# --- two owners -------------------------------------------------------------------------------------------------------------


OTHER = """
import sys, time
from pathlib import Path
from pipelines.runtime.disk import Disk, DisownedError, Origin
store = Disk(Path(sys.argv[1]), Origin("cluster", "topic"))
store.merge({b"a": b"old"}, {})
store.reached(1, 1)
if sys.argv[2] == "locks":
    held = store._env.begin(write=True)
print("ready", flush=True)
sys.stdin.readline()
try:
    store.tend(pressed=True)
    print("written", flush=True)
except DisownedError:
    print("disowned", flush=True)
"""


@contextmanager
def other(folder: Path, does: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with the store open; a line on its input lets it write."""
    command = [sys.executable, "-c", OTHER, str(folder), does]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_an_owner_that_was_replaced_writes_nothing_any_more(tmp_path: Path) -> None:
    with other(tmp_path / "s", "waits") as first:
        second = Disk(tmp_path / "s", ORIGIN)
        second.merge({b"a": b"new"}, {})
        write(second, 2)
        assert first.stdin
        assert first.stdout
        print(file=first.stdin, flush=True)
        assert first.stdout.readline() == "disowned\n"
    again = killed(second)
    assert (again.get(b"a"), again.contains, again.why) == (b"new", 2, "")


def test_a_store_whose_writer_is_frozen_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path / "s")
    monkeypatch.setattr(disk_module, "LOCK_S", 0.2)
    with other(tmp_path / "s", "locks"):
        second = Disk(tmp_path / "s", ORIGIN)
        assert (second.contains, "does not go on" in second.why) == (0, True)
        second.merge({b"a": b"new"}, {})
        write(second, 5)
    again = killed(second)
    assert (again.get(b"a"), again.contains) == (b"new", 5)


def test_a_store_that_outgrows_its_map_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "MAP_BYTES", 1 << 18)
    store = Disk(tmp_path / "s", ORIGIN)
    for n in range(20):
        store.merge({b"%d/%d" % (n, k): b"x" * 1_000 for k in range(100)}, {})
        write(store, n + 1)
    assert len(store) == 2_000
    assert killed(store).get(b"19/99") == b"x" * 1_000
