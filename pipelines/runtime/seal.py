"""Whether a store on disk may be trusted: a small file beside it, which says who wrote the store last, and what it looked like.

The store's pages are not synced as they are written: a process that is killed loses nothing by that, since the pages are the
operating system's; a machine that loses its power does. A store is therefore trusted when this boot of the machine has written
it, or when it was closed and synced. And it must be the file that was written then: one that was copied, put back from a backup
or cut off has another time of its last change (ctime), which no tool can set. What is not trusted is made anew from the log.
"""

import os
import time
from pathlib import Path
from typing import Final

from msgspec import DecodeError, Struct, json

from infra.machine import boot_id

# Between the time that a seal tells and the time of its own file lies the writing of a hundred bytes. A copy comes later.
FRESH_S: Final = 5.0


class Seal(Struct, frozen=True):
    """`boot`: of the machine; `synced`: closed, all pages are on the disk; `changed_ns`: the store's ctime, 0 while it is being
    written; `at_ns`: when the seal was written."""

    boot: str
    synced: bool
    changed_ns: int
    at_ns: int


def put(file: Path, data: Path, *, writing: bool = False, synced: bool = False) -> None:
    """Seal the store `data` as it is now; `synced`: it is on the disk, and so must the seal be."""
    changed_ns = 0 if writing else data.stat().st_ctime_ns
    new = file.with_name("seal.new")
    with new.open("wb") as out:
        out.write(json.encode(Seal(boot_id(), synced, changed_ns, time.time_ns())))
    new.replace(file)
    if synced:
        sync(file)


def sync(file: Path) -> None:
    """See to it that the seal outlives the loss of power."""
    with file.open("rb") as written:
        os.fsync(written.fileno())


def broken(file: Path, data: Path) -> str | None:
    """Why the store `data` cannot be trusted; None when it can."""
    try:
        seal = json.decode(file.read_bytes(), type=Seal)
        found, changed_ns = file.stat(), data.stat().st_ctime_ns
    except (OSError, DecodeError):
        return "it has no seal"
    if not seal.synced and (seal.boot != boot_id() or not seal.boot):
        return "the machine was started again before the store was synced"
    if abs(found.st_ctime_ns - seal.at_ns) > FRESH_S * 1e9:
        return "it is a copy"
    if seal.changed_ns not in (0, changed_ns):
        return "it was changed by somebody else"
    return None
