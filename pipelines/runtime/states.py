"""Where a lane's states are: what a store of states promises, and the simplest one, which holds them in memory.

`Memory` is what the simulator and the benchmarks' peer run on; production's is `disk.Disk`. Both keep the same contract, which
one test tries on both: what was merged is there; a wake that was merged comes when its time has come, once; a walk over the
keys gives each that was there when it began, and that is still there.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol, cast

from pipelines.runtime.agenda import Agenda


class States(Protocol):
    """The states of one lane, by key, as JSON bytes.

    `swept`: under which broadcast state all of them have been decided. What an opened store has already: the changelog up to
    the offset `contains`, and the inbox decided up to `position` (-1: it does not say). `recent_bytes`: what is only in memory.
    `why`: why it was made anew, empty where it was not."""

    agenda: Agenda
    swept: bytes
    contains: int
    position: int
    recent_bytes: int
    why: str

    def begin(self, end: int, /) -> None:
        """The changelog ends at the offset `end`: a store that cannot be a copy of its beginning is made anew."""

    def get(self, key: bytes, /) -> bytes | None:
        """A state; None: unknown."""

    def merge(self, changed: Mapping[bytes, bytes | None], wakes: Mapping[bytes, datetime | None], /) -> None:
        """What was decided, None forgets; and when those whose wakes have changed want to be woken."""

    def walk(self) -> Iterator[bytes]:
        """All keys of entities; it goes on while states change."""

    def under(self, prefix: bytes, /) -> list[tuple[bytes, bytes]]:
        """What stands under reserved keys that begin so, sorted by key."""

    def __len__(self) -> int:
        """How many entities there are, about."""

    def reached(self, contains: int, position: int) -> None:
        """What was merged so far is committed: the changelog up to the offset `contains`, the inbox up to `position`."""

    def tend(self, *, pressed: bool = False) -> bool:
        """Write some of what is only in memory, if it is time; `pressed`: all of it. For between transactions. Whether there
        was anything to write."""

    def close(self, *, sync: bool = False) -> None:
        """Write all, and let go; `sync`: it is to outlive the loss of power."""


class Memory:
    """All states in memory."""

    def __init__(self) -> None:
        self.contains, self.position, self.recent_bytes, self.why = 0, -1, 0, ""
        self.values: dict[bytes, bytes] = {}
        self.agenda = Agenda()
        self.swept = b""
        self.get = self.values.get

    def begin(self, end: int) -> None:
        """See `States`."""

    def merge(self, changed: Mapping[bytes, bytes | None], wakes: Mapping[bytes, datetime | None]) -> None:
        """See `States`."""
        self.values.update(cast(Mapping[bytes, bytes], changed))  # the forgotten ones go out below
        for key, value in changed.items():
            if value is None:
                self.values.pop(key, None)
        for key, wake_at in wakes.items():
            self.agenda.arm(key, wake_at)

    def walk(self) -> Iterator[bytes]:
        """See `States`."""
        return (key for key in list(self.values) if key in self.values and not key.startswith(b"\x00"))

    def under(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """See `States`."""
        return sorted((key, value) for key, value in self.values.items() if key.startswith(prefix))

    def __len__(self) -> int:
        return len(self.values)

    def reached(self, contains: int, position: int) -> None:
        """See `States`."""

    def tend(self, *, pressed: bool = False) -> bool:
        """See `States`."""
        del pressed
        return False

    def close(self, *, sync: bool = False) -> None:
        """See `States`."""
