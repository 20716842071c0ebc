"""Stores on disk are written anew once a week: LMDB leaves what was changed or deleted in pages that it has given up, and those
stay as they are until they are used again. A compacted copy has none of them; a file beside the store says when it was made."""

import os
import shutil
import time
from pathlib import Path
from typing import Final

import lmdb

RENEW_S: Final = 7 * 86_400.0
DATA: Final = "data.mdb"
MARK: Final = "renewed"


def mark(folder: Path) -> None:
    """The store in the folder holds nothing but what is in it, as of now."""
    (folder / MARK).write_bytes(b"")
    os.utime(folder / MARK)


def is_due(folder: Path) -> bool:
    """Whether the store is to be written anew."""
    try:
        return time.time() - (folder / MARK).stat().st_mtime > RENEW_S
    except OSError:
        return True


def copy(environment: lmdb.Environment, folder: Path) -> None:
    """A copy of the store, in a folder of its own, without what was given up. Errors: lmdb.Error, OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment.copy(str(folder), compact=True)
    mark(folder)


def replace(environment: lmdb.Environment, folder: Path) -> None:
    """Put such a copy into the place of the store, and close it; nobody else may write. Errors: lmdb.Error, OSError."""
    fresh = folder / "fresh"
    try:
        copy(environment, fresh)
    finally:
        environment.close()
    (fresh / DATA).replace(folder / DATA)
    shutil.rmtree(fresh, ignore_errors=True)
    mark(folder)
