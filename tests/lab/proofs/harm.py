"""What happens to a killed process's states on disk: nothing, or they are deleted, cut off, or put back from an older copy."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.log.topics import ENTITIES


def _nothing(_states: Path, _copy: Path) -> None:
    pass


def _delete(states: Path, _copy: Path) -> None:
    shutil.rmtree(states, ignore_errors=True)


def _truncate(states: Path, _copy: Path) -> None:
    for data in states.rglob("data.mdb"):
        os.truncate(data, data.stat().st_size // 2)


def _put_back(states: Path, copy: Path) -> None:
    if copy.is_dir():
        shutil.rmtree(states, ignore_errors=True)
        shutil.copytree(copy, states)


HARMS: Final[dict[str, Callable[[Path, Path], None]]] = {
    "": _nothing,
    "states deleted": _delete,
    "states cut off": _truncate,
    "older states put back": _put_back,
}


class Harm:
    """The states of a platform in `home`, of which copies are taken once."""

    def __init__(self, home: Path, seed: int) -> None:
        self._states, self._copies = home / "states", home / "states.copies"
        self._chance = random.Random(seed)

    def copy(self) -> None:
        """Take copies of all states as they are, of processes that go on writing them."""
        shutil.copytree(self._states, self._copies, ignore=lambda _, names: [name for name in names if name.endswith(".new")])

    def do(self, flow: str) -> str:
        """Harm the states that a flow's processes keep, by chance; what was done, in words."""
        name = self._chance.choice(list(HARMS))
        for entity in ENTITIES:
            if entity.flow == flow:
                HARMS[name](self._states / entity.name, self._copies / entity.name)
        return name
