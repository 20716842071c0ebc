"""How a decision can fail, and what a dead letter says of it."""

from collections.abc import Iterable
from typing import Final

from pipelines.runtime.lane import StateError
from schemas.log.dead_letters import DeadCause

# A broker takes 1 MiB with the key and the record's head.
MAX_RECORD_BYTES: Final = 900_000


class DeciderError(Exception):
    """A decider raised: a bug. It parks the entity. The cause is chained."""


class TooLargeError(Exception):
    """A decision makes a record that is larger than the log takes."""


class CarefulError(Exception):
    """This can only be done where each record is decided by itself."""


class TooManyParkedError(Exception):
    """So many entities in a row could not be decided that it is a bug: nothing is committed. The cause is chained."""


class TooManyDeadLettersError(Exception):
    """So many records in a row were unreadable that going on would do harm."""


def weigh(values: Iterable[bytes | None]) -> None:
    """Errors: TooLargeError, where a record would be larger than the log takes."""
    largest = max(map(len, filter(None, values)), default=0)
    if largest > MAX_RECORD_BYTES:
        raise TooLargeError(f"a record of {largest:,} bytes; the log takes {MAX_RECORD_BYTES:,}")


def cause_of(error: Exception) -> DeadCause:
    """Why a letter says that a decision failed."""
    causes = {
        DeciderError: DeadCause.DECIDER_FAILED,
        StateError: DeadCause.STATE_UNREADABLE,
        TooLargeError: DeadCause.TOO_LARGE,
    }
    return causes.get(type(error), DeadCause.NOT_ENCODABLE)
