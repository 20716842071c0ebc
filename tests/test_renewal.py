"""Stores on disk keep what was deleted in pages that they have given up, until they are written anew."""

import os
import time
from pathlib import Path

import pytest

from infra import renewal
from pipelines.runtime.disk import Disk, Origin
from schemas.user import USER
from serving.view_store.store import Snapshot, StoreWriter

SECRET = b"what was erased"
MANY = {b"k%04d" % n: SECRET + b"x" * 300 for n in range(500)}


def aged(folder: Path) -> None:
    """As if the store had been written anew long ago."""
    long_ago = time.time() - renewal.RENEW_S - 60
    os.utime(folder / renewal.MARK, (long_ago, long_ago))


def opened(folder: Path) -> Disk:
    store = Disk(folder, Origin("cluster", "topic"))
    store.begin(1_000)
    return store


def written(store: Disk, changed: dict[bytes, bytes | None], contains: int) -> None:
    store.merge(changed, {})
    store.reached(contains, contains)
    store.tend(pressed=True)


def test_what_was_erased_is_not_in_a_flows_store_once_it_was_written_anew(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    written(store, {**MANY, b"kept": b"kept"}, 5)
    written(store, dict.fromkeys(MANY, b"") | {b"k0001": None}, 9)
    store.close(sync=True)
    data = tmp_path / "s" / "data.mdb"
    assert SECRET in data.read_bytes(), "LMDB leaves it there, which is why"
    opened(tmp_path / "s").close(sync=True)
    assert SECRET in data.read_bytes(), "it is not due yet"
    aged(tmp_path / "s")
    store = opened(tmp_path / "s")
    assert (store.why, store.contains, store.get(b"kept"), store.get(b"k0001"), store.get(b"k0002")) == (
        "", 9, b"kept", None, b"",
    )  # fmt: skip
    assert SECRET not in data.read_bytes()
    written(store, {b"new": b"1"}, 12)
    store.close(sync=True)
    again = opened(tmp_path / "s")
    assert (again.why, again.contains, again.get(b"new")) == ("", 12, b"1")
    again.close()


def test_a_disk_that_has_no_room_for_a_copy_loses_nothing_that_the_log_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "s")
    written(store, {b"a": b"1"}, 5)
    store.close(sync=True)
    aged(tmp_path / "s")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(renewal, "copy", full)
    store = opened(tmp_path / "s")
    assert ("no space left" in store.why, store.contains) == (True, 0), "it is made anew from the changelog"
    store.close()


def test_a_copy_of_the_views_store_has_its_contents_and_nothing_that_was_erased(tmp_path: Path) -> None:
    tables, place = (USER.changelog,), {(USER.changelog, 0): 7}
    writer = StoreWriter(tmp_path / "old", tables)
    writer.write({USER.changelog: MANY}, {(USER.changelog, 0): 6}, 0)
    writer.write({USER.changelog: dict.fromkeys(MANY) | {b"kept": b"kept"}}, place, 0)
    assert SECRET in (tmp_path / "old" / "data.mdb").read_bytes()
    assert renewal.is_due(tmp_path / "old"), "nobody has said when it was written anew"
    writer.copy(tmp_path / "new")
    writer.close()
    assert not renewal.is_due(tmp_path / "new")
    assert SECRET not in (tmp_path / "new" / "data.mdb").read_bytes()
    copied = StoreWriter(tmp_path / "new", tables)
    snapshot = Snapshot(copied._environment, copied._tables)
    assert (list(snapshot.items(USER.changelog)), snapshot.positions) == ([(b"kept", b"kept")], place)
    snapshot.close()
    copied.close()
