"""Dead letters: records that no decider can take, kept with their cause and their original bytes."""

from enum import StrEnum
from typing import Annotated, Final

from schemas.log.base import Message, now
from schemas.log.personal import PLAIN, WORDS


class DeadCause(StrEnum):
    """Why a record was put aside."""

    BROKEN_JSON = "broken_json"
    UNKNOWN_TYPE = "unknown_type"
    INVALID = "invalid"
    KEY_MISMATCH = "key_mismatch"
    MISROUTED = "misrouted"
    SKIPPED = "skipped"
    WEBHOOK_INVALID = "webhook_invalid"
    DECIDER_FAILED = "decider_failed"
    STATE_UNREADABLE = "state_unreadable"
    NOT_ENCODABLE = "not_encodable"
    TOO_LARGE = "too_large"
    BEHIND = "behind"


# Of a record's bytes a letter has so many at most; all of them stand at its place in the topic.
MAX_VALUE_BYTES: Final = 500_000
MAX_ERROR: Final = 1_000

# These park the entity: the record, and all that come behind it, wait until an operator lets them go on.
PARKING: Final = frozenset(
    {DeadCause.DECIDER_FAILED, DeadCause.STATE_UNREADABLE, DeadCause.NOT_ENCODABLE, DeadCause.TOO_LARGE, DeadCause.BEHIND}
)


class DeadLetter(Message):
    """A record put aside: where it stood, what was wrong, the kind of its message where that could be read, and its bytes
    (`key` and `value` are base64 on the wire)."""

    cause: DeadCause
    error: Annotated[str, WORDS]
    topic: Annotated[str, PLAIN]
    partition: int
    offset: int
    key: Annotated[bytes, WORDS]
    value: Annotated[bytes, WORDS]
    kind: Annotated[str, PLAIN] = ""


def letter_of(place: tuple[str, int], record: tuple[int, bytes, bytes], cause: DeadCause, error: str, kind: str) -> DeadLetter:
    """The letter of a record (offset, key, value) of a topic's partition, named after its place; too long parts are cut."""
    (topic, partition), (offset, key, value) = place, record
    return DeadLetter(
        id=f"{topic}/{partition}/{offset}", at=now(), cause=cause, error=error[:MAX_ERROR], topic=topic, partition=partition,
        offset=offset, key=key[:MAX_ERROR], value=value[:MAX_VALUE_BYTES], kind=kind,
    )  # fmt: skip


class LetterSettled(Message):
    """A record that waited for a parked entity does not wait any more: it was decided ("redrive"), or was left out ("skip",
    "drop"). `id` is the letter's."""

    way: Annotated[str, PLAIN]
    by: Annotated[str, PLAIN] = ""
