"""The views' store as a unit: a table of keys, a model of dicts, a killed writer, and which folders are trusted."""

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.balance import ACCOUNT, Account
from schemas.log.codec import encode
from schemas.log.positions import POSITION
from schemas.log.topics import FEED
from schemas.panel import MEMBER, Member
from schemas.user import USER, Role, User
from serving.view_store.changes import Balance, Batch, decode_balance
from serving.view_store.folder import FORMAT, MAX_DEATHS, Folder, Log, Note, Taken
from serving.view_store.indexes import COHORT_MEMBERS, EVERYBODY, MEMBER_VERSIONS, ONLINE, memberships
from serving.view_store.store import BALANCES, Snapshot, StoreError, StoreReader, StoreWriter, fit

AT = datetime(2026, 11, 26, tzinfo=UTC)
TABLES = (USER.changelog, MEMBER.changelog, BALANCES)
KEYS = st.one_of(
    st.text(max_size=3).map(str.encode),
    st.integers(0, 9).map(lambda n: f"u{n}".encode()),
    st.sampled_from([399, 400, 401, 511, 1024]).map(lambda n: b"k" * n),
    st.sampled_from([b"k" * 1000 + b"1", b"k" * 1000 + b"2"]),
)


def user(online: bool = False, role: Role = Role.USER) -> bytes:
    return encode(User(role, AT, online_since=AT if online else None))


@pytest.mark.parametrize(
    "key", [b"", b"a", b"\0", "ü".encode(), b"x" * 399, b"x" * 400, b"x" * 511, ("😀" * 128).encode(), b"x" * 5_000]
)
def test_any_key_fits_and_comes_back(key: bytes, tmp_path: Path) -> None:
    assert 1 <= len(fit(key)) <= 495
    writer = StoreWriter(tmp_path, TABLES)
    writer.write({USER.changelog: {key: user(online=True)}}, {(USER.changelog, 0): 1}, 0)
    found = snapshot_of(writer)
    assert found.get(USER.changelog, key) == user(online=True)
    assert list(found.items(USER.changelog)) == [(key, user(online=True))]
    if key != b"":
        assert list(found.rows(ONLINE, Role.USER)) == [key]
    found.close()
    writer.close()


def snapshot_of(writer: StoreWriter) -> Snapshot:
    """What a reader in another process would see; LMDB opens an environment once a process."""
    return Snapshot(writer._environment, writer._tables)


@given(st.lists(KEYS, unique=True))
def test_no_two_keys_are_the_same_on_disk(keys: list[bytes]) -> None:
    assert len({fit(key) for key in keys}) == len(keys)


VALUES = st.one_of(st.none(), st.booleans().map(lambda online: user(online=online)), st.just(b"no JSON"))
BATCHES = st.lists(st.tuples(st.dictionaries(KEYS, VALUES, max_size=8), st.booleans()), max_size=8)


@given(BATCHES)
def test_it_holds_what_a_dict_would_hold(batches: list[tuple[dict[bytes, bytes | None], bool]]) -> None:
    model: dict[bytes, bytes] = {}
    position = 0
    with TemporaryDirectory() as folder:
        writer = StoreWriter(folder_of(folder), TABLES)
        for values, reopened in batches:
            position += 1
            writer.write({USER.changelog: values}, {(USER.changelog, 0): position, (USER.changelog, 1): 0}, position)
            model = {key: value for key, value in (model | values).items() if value is not None}
            if reopened:
                writer.close()
                writer = StoreWriter(folder_of(folder), TABLES)
            found = snapshot_of(writer)
            assert dict(found.items(USER.changelog)) == model
            assert found.size(USER.changelog) == len(model)
            assert found.positions.get((USER.changelog, 0)) == position
            online = {key for key, value in model.items() if memberships(USER.changelog, key, value)}
            assert set(found.rows(ONLINE, Role.USER)) == online
            assert found.count(ONLINE, Role.USER) == len(online)
            assert all(found.get(USER.changelog, key) == model.get(key) for key in values)
            found.close()
        writer.close()


def folder_of(path: str) -> Path:
    return Path(path) / "store"


MEMBERS = st.dictionaries(
    st.sampled_from([b"ann", b"bob", b"cem", b"@0"]),
    st.none() | st.builds(Member, cohorts=st.sampled_from([{}, {"a": "x"}, {"a": "x", "b": "y"}]), version=st.integers(0, 2)),
)


@given(st.lists(MEMBERS, max_size=5))
def test_groups_are_counted_as_they_change(batches: list[dict[bytes, Member | None]]) -> None:
    model: dict[bytes, Member | None] = {}
    with TemporaryDirectory() as folder:
        writer = StoreWriter(folder_of(folder), TABLES)
        for members in batches:
            values = {key: None if member is None else encode(member) for key, member in members.items()}
            writer.write({MEMBER.changelog: values}, {(MEMBER.changelog, 0): 1}, 0)
            model |= members
        known = {key: member for key, member in model.items() if member is not None and key != b"@0"}
        found = snapshot_of(writer)
        assert found.count(MEMBER_VERSIONS, EVERYBODY) == len(known)
        versions = Counter(member.version for member in known.values())
        assert [found.count(MEMBER_VERSIONS, str(version)) for version in range(3)] == [versions[v] for v in range(3)]
        for cohort in ("a", "b"):
            rows = sorted(key for key, member in known.items() if cohort in member.cohorts)
            assert list(found.rows(COHORT_MEMBERS, cohort)) == rows
            assert found.count(COHORT_MEMBERS, cohort) == len(rows)
        found.close()
        writer.close()


WRITES = """
import sys
from pathlib import Path
from serving.view_store.store import StoreWriter
writer = StoreWriter(Path(sys.argv[1]), ["user.state"])
begin = writer.positions()[1].get(("user.state", 0), 0) + 1
for number in range(begin, 10**9):
    writer.write({"user.state": {b"u%d" % (key % 5_000): b"%d" % number for key in range(number * 7, number * 7 + 500)}},
                 {("user.state", 0): number}, number)
    if number == begin + 20:
        print("go", flush=True)
"""


def test_what_a_killed_writer_has_left_is_whole(tmp_path: Path) -> None:
    """States and positions are those of the same batch, and the next writer goes on."""
    last = 0
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path / "s")], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"go\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        reader = StoreReader(tmp_path / "s", ["user.state"])
        found = reader.snapshot()
        before, last = last, found.positions["user.state", 0]
        assert last > before + 20
        assert all(found.get("user.state", b"u%d" % (key % 5_000)) == b"%d" % last for key in range(last * 7, last * 7 + 500))
        assert max(int(value) for _, value in found.items("user.state")) == last
        found.close()
        reader.close()


@pytest.mark.parametrize("length", [0, 100])
def test_a_file_without_its_head_is_an_error_or_empty(tmp_path: Path, length: int) -> None:
    writer = StoreWriter(tmp_path / "s", TABLES)
    writer.write({USER.changelog: {b"ann": user()}}, {(USER.changelog, 0): 1}, 0)
    writer.close()
    os.truncate(tmp_path / "s" / "data.mdb", length)
    try:
        writer = StoreWriter(tmp_path / "s", TABLES)
    except StoreError:
        return
    assert writer.positions() == (0.0, {})
    writer.close()


def test_a_file_that_lacks_its_end_is_not_touched(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", TABLES)
    many = {b"u%d" % number: b"x" * 500 for number in range(10_000)}
    writer.write({USER.changelog: many}, {(USER.changelog, 0): 1}, 0)
    size = writer.size()
    writer.close()
    os.truncate(tmp_path / "s" / "data.mdb", size // 2)
    with pytest.raises(StoreError, match="lacks"):
        StoreWriter(tmp_path / "s", TABLES)


def test_a_reader_wants_every_table(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", [USER.changelog])
    writer.close()
    with pytest.raises(StoreError, match="lacks a table"):
        StoreReader(tmp_path / "s", TABLES)
    with pytest.raises(StoreError, match="cannot be opened"):
        StoreReader(tmp_path / "nothing", TABLES)


# --- the folder --------------------------------------------------------------------------------------------------------------

LOG = Log("c1", 2, {"user.state": "t1", "feed": "t2"})
GOOD = Note("store-1", LOG, "boot 1")


@pytest.mark.parametrize(
    ("note", "log", "boot", "reason"),
    [
        (GOOD, LOG, "boot 1", ""),
        (msgspec.structs.replace(GOOD, clean=True), LOG, "boot 1", ""),
        (msgspec.structs.replace(GOOD, clean=True), LOG, "boot 2", ""),
        (msgspec.structs.replace(GOOD, deaths=MAX_DEATHS - 1), LOG, "boot 1", ""),
        (GOOD, Log("c1", 2, {**LOG.topics, "gift.state": "t3"}), "boot 1", ""),
        (GOOD, Log("c1", 2, {}), "boot 1", ""),
        (None, LOG, "boot 1", "there is none"),
        (msgspec.structs.replace(GOOD, format=FORMAT + 1), LOG, "boot 1", "format"),
        (GOOD, Log("c2", 2, LOG.topics), "boot 1", "another log"),
        (GOOD, Log("c1", 4, LOG.topics), "boot 1", "another log"),
        (GOOD, Log("c1", 2, {**LOG.topics, "feed": "t9"}), "boot 1", "the topic feed was made anew"),
        (GOOD, LOG, "boot 2", "the machine stopped"),
        (msgspec.structs.replace(GOOD, boot=""), LOG, "", "the machine stopped"),
        (msgspec.structs.replace(GOOD, deaths=MAX_DEATHS), LOG, "boot 1", "died"),
    ],
)
def test_which_store_a_writer_trusts(tmp_path: Path, note: Note | None, log: Log, boot: str, reason: str) -> None:
    folder = Folder(tmp_path, boot)
    folder.path.mkdir()
    if note:
        folder.write(note)
    told = folder.distrust(log)
    assert reason in told
    assert bool(told) == bool(reason)


@pytest.mark.parametrize("written", [b"", b"{", b'{"store":1}', b"\0" * 300])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, written: bytes) -> None:
    folder = Folder(tmp_path, "boot 1")
    folder.path.mkdir()
    (folder.path / "current.json").write_bytes(written)
    assert folder.note() is None
    assert folder.readable(LOG) is None
    assert folder.distrust(LOG) == "there is none"


def test_readers_wait_until_a_writer_of_this_boot_has_looked_at_the_store(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "boot 2")
    folder.path.mkdir()
    folder.write(msgspec.structs.replace(GOOD, clean=True))
    assert folder.readable(LOG) is None
    folder.write(msgspec.structs.replace(GOOD, boot="boot 2"))
    assert folder.readable(LOG) == folder.path / "store-1"
    assert folder.readable(Log("c2", 2, LOG.topics)) is None
    folder.write(msgspec.structs.replace(GOOD, boot="boot 2", deaths=MAX_DEATHS))
    assert folder.readable(LOG) == folder.path / "store-1"


def test_one_process_writes(tmp_path: Path) -> None:
    with (
        Folder(tmp_path).writing(),
        pytest.raises(Taken, match="another process keeps the views"),
        Folder(tmp_path).writing(),
    ):
        pass
    with Folder(tmp_path).writing():
        pass


# --- what records change -----------------------------------------------------------------------------------------------------


def record(topic: str, key: bytes, value: bytes | None, offset: int = 0) -> Any:
    return SimpleNamespace(
        topic=lambda: topic, key=lambda: key, value=lambda: value, offset=lambda: offset, partition=lambda: 0
    )


def entry(account: str, seq: int, coins: int) -> Any:
    body = {"type": "EntryRecorded", "id": "i", "at": AT, "cause": "c", "account": account, "seq": seq, "kind": "credit"}
    return record(FEED.name, b"ann", encode(body | {"balance_coins": coins, "held_coins": 0}))


@pytest.mark.parametrize(
    ("stored", "records", "expected"),
    [
        (None, [entry("ann/coins", 1, 5)], 5),
        (None, [entry("ann/coins", 1, 5), entry("ann/coins", 2, 7)], 7),
        (Balance(2, 7, 0, AT), [entry("ann/coins", 1, 5)], None),
        (Balance(2, 7, 0, AT), [entry("ann/coins", 1, 5), entry("ann/coins", 2, 7), entry("ann/coins", 3, 9)], 9),
        (None, [record(ACCOUNT.changelog, b"ann/coins", encode(Account(4, AT, 9)))], 9),
        (None, [record(ACCOUNT.changelog, b"ann/coins", encode(Account(4, AT, 9))), entry("ann/coins", 3, 5)], 9),
        (None, [record(ACCOUNT.changelog, b"ann/coins", None)], None),
        (None, [record(FEED.name, b"ann", b'{"type":"GiftSent"}')], None),
    ],
)
def test_balances_go_by_seq(stored: Balance | None, records: list[Any], expected: int | None) -> None:
    batch = Batch()
    batch.take(records)
    changes = batch.changes(lambda _, keys: {key: encode(stored) for key in keys} if stored else {})
    found = changes[BALANCES].get(b"ann/coins")
    assert (found and decode_balance(found).balance_coins) == expected


def test_of_a_key_the_last_state_counts_a_tombstone_too() -> None:
    batch = Batch()
    batch.take(
        [record(USER.changelog, b"ann", b"1"), record(USER.changelog, b"bob", b"2"), record(USER.changelog, b"ann", None)]
    )
    batch.take([record(topic, POSITION, b'{"next":1}') for topic in (USER.changelog, ACCOUNT.changelog)])
    assert batch.changes(lambda *_: {}) == {USER.changelog: {b"ann": None, b"bob": b"2"}, BALANCES: {}}
    assert batch.records == 5


NO_TEXT = b"\xff\xfe"


@pytest.mark.parametrize(
    "poison",
    [
        record(FEED.name, b"ann", b'{"type":"EntryRecorded","seq":"many"}'),
        record(FEED.name, NO_TEXT, b'{"type":"EntryRecorded"\xff'),
        record(FEED.name, b"", b""),
        record(ACCOUNT.changelog, b"ann/coins", b"no JSON"),
        record(ACCOUNT.changelog, NO_TEXT, b"{}"),
        *(record(USER.changelog, key, user(online=True)) for key in (b"", NO_TEXT, b"ann\xed\xa0\x80", b"\0x")),
    ],
)
def test_a_record_that_cannot_be_read_is_left_out_and_the_others_are_kept(poison: Any, tmp_path: Path) -> None:
    batch = Batch()
    batch.take(
        [record(USER.changelog, b"ann", user()), poison, record(USER.changelog, "ü".encode(), user()), entry("ann/coins", 1, 7)]
    )
    writer = StoreWriter(tmp_path, (*TABLES, ACCOUNT.changelog))
    writer.write(batch.changes(writer.get_many), {(USER.changelog, 0): 4}, 0)
    found = snapshot_of(writer)
    assert [key for key, _ in found.items(USER.changelog)] == [b"ann", "ü".encode()]
    assert [key for key, _ in found.items(BALANCES)] == [b"ann/coins"]
    assert not list(found.rows(ONLINE, Role.USER))
    found.close()
    writer.close()
