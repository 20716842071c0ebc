"""The wakes of one lane in the order of their times: all of them in memory, or those of the next minute, the rest on disk.

A wake is armed once, and stays marked after it was given out, until its record is decided: a state that is changed meanwhile
and wants to be woken at the same time is woken by that record. One that wants the same time behind its decision is woken again.
What is armed for later than `horizon` is left to the disk; when the horizon has come, `load` gives what lies before the next.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

NEVER: Final = datetime.max.replace(tzinfo=UTC)
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
# So much of the future is in memory.
AHEAD: Final = timedelta(seconds=60)

# (since, until) -> the wakes in between, and until when they are complete: less than asked where there are very many.
Load = Callable[[datetime, datetime], tuple[Iterable[tuple[datetime, bytes]], datetime]]


class Agenda:
    """`load`: where wakes beyond the horizon come from; None: there is nothing beyond, all are in memory."""

    def __init__(self, load: Load | None = None) -> None:
        self._load = load
        self.horizon = LONG_AGO if load else NEVER
        self._armed: dict[bytes, datetime] = {}
        self._given: set[bytes] = set()
        self._heap: list[tuple[datetime, bytes]] = []

    def arm(self, key: bytes, wake_at: datetime | None) -> None:
        """Wake an entity then; None: not any more."""
        if wake_at is None or wake_at >= self.horizon:
            if self._armed:
                self._armed.pop(key, None)
                self._given.discard(key)
        elif self._armed.get(key) != wake_at:
            self._armed[key] = wake_at
            self._given.discard(key)
            heapq.heappush(self._heap, (wake_at, key))

    def decided(self, key: bytes, wake_at: datetime) -> None:
        """A wake of that time was decided. To be called before what the decision made of the state is armed."""
        if key in self._given and self._armed.get(key) == wake_at:
            del self._armed[key]
            self._given.discard(key)

    def next(self) -> datetime | None:
        """When there is something to do: to send the first wake, or to load the next ones."""
        first = self._heap[0][0] if self._heap else NEVER
        found = min(first, self.horizon)
        return None if found == NEVER else found

    def due(self, at: datetime) -> Iterator[tuple[bytes, datetime]]:
        """The entities whose wake has come by `at`, in its order; each armed wake is given once."""
        while True:
            while self._heap and self._heap[0][0] <= at:
                wake_at, key = heapq.heappop(self._heap)
                if self._armed.get(key) == wake_at and key not in self._given:
                    self._given.add(key)
                    yield key, wake_at
            if self._load is None or self.horizon > at:
                return
            self._extend(at)

    def _extend(self, at: datetime) -> None:
        assert self._load is not None
        until = min(at, NEVER - AHEAD) + AHEAD
        found, self.horizon = self._load(self.horizon, until)
        for wake_at, key in found:
            self.arm(key, wake_at)
