"""Dead letters: records that no decider can take, kept with their cause and their original bytes."""

from enum import StrEnum
from typing import Final

from schemas.log.base import Message


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

# These park the entity: the record, and all that come behind it, wait until an operator lets them go on.
PARKING: Final = frozenset(
    {DeadCause.DECIDER_FAILED, DeadCause.STATE_UNREADABLE, DeadCause.NOT_ENCODABLE, DeadCause.TOO_LARGE, DeadCause.BEHIND}
)


class DeadLetter(Message):
    """A record put aside: where it stood, what was wrong, the kind of its message where that could be read, and its bytes
    (`key` and `value` are base64 on the wire)."""

    cause: DeadCause
    error: str
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    kind: str = ""


class LetterSettled(Message):
    """A record that waited for a parked entity does not wait any more: it was decided ("redrive"), or was left out ("skip",
    "drop"). `id` is the letter's."""

    way: str
    by: str = ""
