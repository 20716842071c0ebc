"""Base types that every domain shares.

A *message* is a tagged JSON object: `type` (the class name, always first), `id`, `at`. A *command* asks (imperative name), a
*fact* tells what happened (past tense) and names its `cause`, the id of the message that it answers. A *state* is what an
entity knows; the host keeps it and hands it to the decider.

Units: coins are whole numbers; times are UTC, RFC 3339 on the wire and aware `datetime` in code. Ids are strings: a UUIDv7
where a process makes one, and "<cause's id>/<ordinal>" where a decision derives one, so that a replay derives the same.
"""

import uuid
from datetime import UTC, datetime
from secrets import randbits
from time import time_ns
from typing import Annotated, NewType

from msgspec import Meta, Struct

UserId = NewType("UserId", str)
AccountId = NewType("AccountId", str)
MessageId = NewType("MessageId", str)
TransferId = NewType("TransferId", str)
HoldId = NewType("HoldId", str)

# One message moves at most 10^12 coins, an account is owed at most 10^15: every sum stays exact in a 53-bit JSON number.
MAX_COINS = 1_000_000_000_000
MAX_BALANCE_COINS = 1_000_000_000_000_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_ID_LENGTH = 256
MAX_REF_LENGTH = 256

Coins = Annotated[int, Meta(gt=0, le=MAX_COINS, description="whole coins, more than zero")]
Time = Annotated[datetime, Meta(tz=True, description="UTC, RFC 3339")]
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Ref = Annotated[str, Meta(max_length=MAX_REF_LENGTH, description="the caller's own reference")]


class Message(Struct, frozen=True, gc=False, kw_only=True, tag=True, tag_field="type", omit_defaults=True):
    """Anything on the log. `id` is unique; `at` is the time of the event, not of its processing."""

    id: Id
    at: Time


class Fact(Message, frozen=True, gc=False, kw_only=True, tag=True, omit_defaults=True):
    """What happened. `cause` is the id of the message that was decided."""

    cause: Id


class Wake(Message, frozen=True, gc=False, kw_only=True, tag=True, omit_defaults=True):
    """Time reached the entity `key`: the host sends it when a state's `wake_at` has come. Deciders ignore a stale one."""

    key: Id


class State(Struct, frozen=True, gc=False, omit_defaults=True):
    """What an entity knows. The host asks each state for `wake_at`: when to send a `Wake`, or None."""

    @property
    def wake_at(self) -> datetime | None:
        """When this entity wants to be woken; no time by default."""
        return None

    def behind(self, common: "State | None") -> bool:
        """Of entities with a broadcast state: it has not been decided under `common` yet, so the host sends it a `Wake`."""
        del common
        return False


def unix_second(at: datetime) -> int:
    """The whole Unix second that a moment falls into; `timestamp` takes nearly twice as long."""
    since = at - EPOCH
    return since.days * 86_400 + since.seconds


def unix_minute(at: datetime) -> int:
    """The whole Unix minute that a moment falls into: a number of one digit to Python, which seconds are not any more."""
    since = at - EPOCH
    return since.days * 1_440 + since.seconds // 60


def now() -> datetime:
    """The wall clock, UTC. For edges (serving, host), never for deciders."""
    return datetime.now(UTC)


def new_id() -> MessageId:
    """A UUIDv7 (RFC 9562): its first 48 bits are Unix milliseconds, so ids sort by creation."""
    bits = ((time_ns() // 1_000_000) & ((1 << 48) - 1)) << 80 | 0x7 << 76 | randbits(12) << 64 | 0b10 << 62 | randbits(62)
    return MessageId(str(uuid.UUID(int=bits)))


def derived_id(cause: str, ordinal: int | str) -> MessageId:
    """The id of the message that a decision on `cause` derives."""
    return MessageId(f"{cause}/{ordinal}")
