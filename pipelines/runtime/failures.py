"""How a decision can fail, and what a dead letter says of it."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from traceback import extract_tb
from typing import Final

from pipelines.runtime.lane import StateError
from schemas.log.dead_letters import DeadCause

# One entity that cannot be decided waits for an operator. Where so many of a kind are parked, and next to no other one is
# decided well, it is the code, and going on would park the world.
MAX_PARKED: Final = 100
ENOUGH_WELL: Final = 10
# What was decided well long ago says nothing of a rule that was published just now: behind so many parked, all is counted anew.
TALLY: Final = 1_000
# A broker takes 1 MiB with the key and the record's head.
MAX_RECORD_BYTES: Final = 900_000


class DeciderError(Exception):
    """A decider raised: a bug. It parks the entity. The cause is chained."""


class TooLargeError(Exception):
    """A decision makes a record that is larger than the log takes."""


class CarefulError(Exception):
    """This can only be done where each record is decided by itself."""


class TooManyParkedError(Exception):
    """So many entities could not be decided, and so few could, that it is a bug: nothing is committed. The cause is chained."""


class TooManyDeadLettersError(Exception):
    """So many records in a row were unreadable that going on would do harm."""


class Tally:
    """Of one kind of entity, in one process: how many were parked, and some that were decided well meanwhile.

    What it tells apart is a bug that everybody meets from one that somebody looks for. A sender can have any number of
    entities parked, those that are named after its own requests; as long as ENOUGH_WELL others are decided well, the flow goes
    on."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._parked = 0
        self._well: set[bytes] = set()
        self._last: Exception | None = None

    def parked(self, error: Exception) -> None:
        """One more entity waits."""
        self._parked += 1
        self._last = error

    def well(self, keys: Iterable[bytes]) -> None:
        """These were decided."""
        if room := ENOUGH_WELL - len(self._well):
            self._well.update(islice(keys, room))

    def check(self) -> None:
        """Behind all records of a batch, so that those of others count. Errors: TooManyParkedError."""
        if self._parked > MAX_PARKED and len(self._well) < ENOUGH_WELL:
            raise TooManyParkedError(
                f"{self._parked} entities ({self._kind}) could not be decided, and only {len(self._well)} others could; the "
                f"last one: {self._last}"
            ) from self._last
        if self._parked >= TALLY:
            self._parked = 0
            self._well.clear()


def weigh(values: Iterable[bytes | None]) -> None:
    """Errors: TooLargeError, where a record would be larger than the log takes."""
    largest = max(map(len, filter(None, values)), default=0)
    if largest > MAX_RECORD_BYTES:
        raise TooLargeError(f"a record of {largest:,} bytes; the log takes {MAX_RECORD_BYTES:,}")


def place_of(error: Exception) -> str:
    """What was raised, and where, without its words: they may repeat what a message says of a person."""
    frames = extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else type(error).__name__


def cause_of(error: Exception) -> DeadCause:
    """Why a letter says that a decision failed."""
    causes = {
        DeciderError: DeadCause.DECIDER_FAILED,
        StateError: DeadCause.STATE_UNREADABLE,
        TooLargeError: DeadCause.TOO_LARGE,
    }
    return causes.get(type(error), DeadCause.NOT_ENCODABLE)
