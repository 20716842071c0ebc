"""Dead letters: records that no decider can take, kept with their cause and their original bytes."""

from enum import StrEnum

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


class DeadLetter(Message):
    """A record put aside: where it stood, what was wrong, and its bytes (`key` and `value` are base64 on the wire)."""

    cause: DeadCause
    error: str
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
