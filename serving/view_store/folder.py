"""The folder of the views' store, `$OLO_HOME/views`: which store is in it, whether it can be trusted, and who may write.

    lock                  held by the one process that writes
    current.json          the note: which store is the current one, of which log, and who wrote it last
    store-<id>/           a store (LMDB); one without a note is being built, or left over

A store is built in a folder of its own and becomes the current one when it is complete, by the note, which is replaced in one
piece. Readers look at the note once a second. What was written without a sync is lost or torn when the machine loses power, so
the note tells under which boot of the machine a store was written, and whether it was synced at the end: after an unclean end
under another boot nobody trusts it. A store whose writers died soon after they began, again and again, is not trusted either.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from infra.machine import boot_id

# Change it whenever older stores, or what indexes say of the same states, would be read wrongly.
FORMAT: Final = 8
# A file that is broken ends whoever touches the broken page, which nobody can catch.
MAX_DEATHS: Final = 3


class Log(msgspec.Struct, frozen=True):
    """Which log a store is of: the cluster's id, its partitions, and each topic's id (empty where a broker gives none)."""

    cluster: str
    partitions: int
    topics: dict[str, str]


class Note(msgspec.Struct, frozen=True):
    """The current store. `clean`: it was synced and closed. `deaths`: so many writers in a row have begun and not
    got far yet, the one that runs among them."""

    store: str
    log: Log
    boot: str
    clean: bool = False
    deaths: int = 0
    format: int = FORMAT


_note = msgspec.json.Decoder(Note).decode


class Taken(Exception):  # noqa: N818 - nothing is wrong: one writer is enough
    """Another process writes in this folder."""


class Folder:
    """The folder, for readers and for its writer."""

    def __init__(self, home: Path, boot: str | None = None) -> None:
        self.path = home / "views"
        self.boot = boot_id() if boot is None else boot

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer. Errors: Taken."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Taken(f"another process keeps the views in {self.path}") from None
            yield

    def note(self) -> Note | None:
        """What the note says; None without one that can be read."""
        try:
            return _note((self.path / "current.json").read_bytes())
        except (OSError, ValueError):
            return None

    def readable(self, log: Log) -> Path | None:
        """The store that readers may open now; None: its writer has yet to say that it is good."""
        note = self.note()
        fine = note is not None and (note.format, note.log, note.boot) == (FORMAT, log, self.boot)
        return self.path / note.store if note and fine else None

    def distrust(self, log: Log) -> str:
        """Why a writer cannot go on with the current store; empty: it can."""
        note = self.note()
        if note is None:
            return "there is none"
        if note.format != FORMAT:
            return f"it has format {note.format}, not {FORMAT}"
        if note.log.cluster != log.cluster or note.log.partitions != log.partitions:
            return "it is of another log"
        if renewed := [topic for topic, known in note.log.topics.items() if log.topics.get(topic, known) != known]:
            return f"the topic {renewed[0]} was made anew"
        if not note.clean and (note.boot != self.boot or not self.boot):
            return "the machine stopped while it was written"
        if note.deaths >= MAX_DEATHS:
            return f"its last {note.deaths} writers died soon after they began"
        return ""

    def write(self, note: Note) -> None:
        """Replace the note, for good: it is on disk before anything else is written."""
        new = self.path / "current.json.new"
        with new.open("wb") as file:
            file.write(msgspec.json.encode(note))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / "current.json")
        with suppress(OSError):  # not every file system takes it
            place = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(place)
            finally:
                os.close(place)

    def new_store(self) -> Path:
        """A folder for a store to be built in."""
        return self.path / f"store-{uuid.uuid4().hex[:12]}"

    def tidy(self, current: Path | None) -> None:
        """Remove all other stores. Whoever has one open goes on with it: its file is gone when the last one closes it."""
        for other in self.path.glob("store-*"):
            if other != current:
                shutil.rmtree(other, ignore_errors=True)
