"""Base types that every domain shares.

A *message* is a tagged JSON object: `type` (the class name, always first), `id`, `at`. A *command* asks (imperative name), a
*fact* tells what happened (past tense) and names its `cause`, the id of the message that it answers. A *state* is what an
entity knows; the host keeps it and hands it to the decider. Messages are immutable, and built with keywords only. Fields that a
command and its fact share are written once, in a class that derives from `Fields`.

A decider makes a fact with `reply` and another entity's command with `derive`, which fill in the envelope:
`GiftSent(**reply(message), gift=...)`, `Follow(**derive(message, 1), user=...)`.

Units: coins are whole numbers; times are UTC, RFC 3339 on the wire and aware `datetime` in code. Ids are strings: a UUIDv7
where a process makes one, and "<cause's id>/<ordinal>" where a decision derives one, so that a replay derives the same.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from secrets import randbits
from time import time_ns
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NewType, TypedDict, dataclass_transform

from msgspec import Meta, Struct, StructMeta

from schemas.log.personal import PLAIN

UserId = NewType("UserId", str)
AccountId = NewType("AccountId", str)
MessageId = NewType("MessageId", str)
TransferId = NewType("TransferId", str)
HoldId = NewType("HoldId", str)

# One message moves at most 10^12 coins, an account is owed at most 10^15: every sum stays exact in a 53-bit JSON number.
MAX_COINS = 1_000_000_000_000
MAX_BALANCE_COINS = 1_000_000_000_000_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The calendar's ends, a day inside them: in any other zone they are times as well.
FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

# How long an entity outlives its end, so that its outcome can be looked at and a repeated request is known. A client retries
# for minutes; a day leaves room for a phone that was off. Documented with `Idempotency-Key`; history is ClickHouse's.
REMEMBERED_FOR = timedelta(days=1)

# An entity's own id: a UUID, a user id, or a short name. A message's id may hold the key of an entity and some steps behind it.
MAX_ID_LENGTH = 128
MAX_REF_LENGTH = 256
MAX_MESSAGE_ID_LENGTH = 640

Coins = Annotated[int, Meta(gt=0, le=MAX_COINS, description="whole coins, more than zero")]
Time = Annotated[datetime, Meta(tz=True, description="UTC, RFC 3339")]
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH), PLAIN]
MessageName = Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_ID_LENGTH), PLAIN]
Key = Annotated[str, Meta(min_length=1, max_length=480, description="an entity's key, see MAX_KEY_BYTES"), PLAIN]
By = Annotated[str, Meta(max_length=160, description="who did it: a user, or a rule"), PLAIN]
OptionalId = Annotated[str, Meta(max_length=MAX_ID_LENGTH, description="an id, or empty"), PLAIN]
Ref = Annotated[str, Meta(max_length=MAX_REF_LENGTH, description="the caller's own reference"), PLAIN]


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Fields:
    """The base of a class that is no Struct by itself: fields that several Structs share, such as a command and its fact."""


class BookName(Fields):
    """Which book. A book is an entity that there is one of, such as all tariffs."""

    book: Id


class SharingMeta(StructMeta):
    """Makes Structs, and copies into them the fields of bases that derive from `Fields`, in front of their own.

    A Struct cannot inherit fields from two bases, since each base would lay them out in memory in its own way."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **more: Any) -> Any:
        structs = tuple(base for base in bases if isinstance(base, StructMeta))
        own = namespace.get("__annotations__", {})
        annotations: dict[str, Any] = {}
        for shared in (one for base in bases if base not in structs for one in reversed(base.__mro__)):
            found = vars(shared).get("__annotations__", {})
            annotations |= found
            namespace = {field: vars(shared)[field] for field in found if field in vars(shared)} | namespace
        return super().__new__(mcs, name, structs, namespace | {"__annotations__": annotations | own}, **more)


class MessageMeta(SharingMeta):
    """Likewise, and all fields are keywords."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **more: Any) -> Any:
        return super().__new__(mcs, name, bases, namespace, kw_only=True, **more)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Message(Struct, metaclass=MessageMeta, frozen=True, gc=False, tag=True, tag_field="type", omit_defaults=True):
    """Anything on the log. `id` is unique; `at` is the time of the event, not of its processing."""

    id: MessageName
    at: Time


class Fact(Message):
    """What happened. `cause` is the id of the message that was decided.

    `changes_state`: whether the decision may have changed the entity's state; whoever reads what it wrote waits for that state.
    `refused`: why the cause was refused, or None; a fact that repeats an outcome may tell a refusal, too. `alarm`: whether
    somebody of the staff has to look; flows count such facts (`olo_alarms`)."""

    cause: MessageName
    changes_state: ClassVar[bool] = True
    alarm: ClassVar[bool] = False

    @property
    def refused(self) -> StrEnum | None:
        """The named refusal; None where the cause was not refused."""
        return None


class Refused(Fact):
    """The cause was refused, for the reason `refusal`, which each subclass has as a field of its own enumeration."""

    changes_state: ClassVar[bool] = False
    # What clients are told instead, where a refusal is about somebody else: who has blocked whom, who is banned.
    told_as: ClassVar[Mapping[StrEnum, StrEnum]] = {}
    if TYPE_CHECKING:
        refusal: StrEnum

    @property
    def refused(self) -> StrEnum | None:
        """The named refusal, as clients are told."""
        return self.told_as.get(self.refusal, self.refusal)


class Repeated(Fact):
    """The same request came again, and is answered as before: each subclass has the first outcome's `refusal`, or None."""

    changes_state: ClassVar[bool] = False
    # As of `Refused`.
    told_as: ClassVar[Mapping[StrEnum, StrEnum]] = {}
    if TYPE_CHECKING:
        refusal: StrEnum | None

    @property
    def refused(self) -> StrEnum | None:
        """Why the first request was refused, as clients are told; None where it was not, or is under way."""
        return None if self.refusal is None else self.told_as.get(self.refusal, self.refusal)


class Wake(Message):
    """Time reached the entity `key`: the host sends it when a state's `wake_at` has come. Deciders ignore a stale one.

    `at` is the time that was waited for, `late_s` by how much the host's clock was behind it when it was sent, rounded down."""

    key: Key
    late_s: Annotated[int, Meta(ge=0, le=2**53)] = 0


@dataclass_transform(frozen_default=True)
class State(Struct, metaclass=SharingMeta, frozen=True, gc=False, omit_defaults=True):
    """What an entity knows. The host asks each state for `wake_at`: when to send a `Wake`, or None."""

    @property
    def wake_at(self) -> datetime | None:
        """When this entity wants to be woken; no time by default."""
        return None

    def is_due(self, at: datetime) -> bool:
        """Whether a `Wake` of that time is one that this state waits for; any other is stale."""
        wake_at = self.wake_at
        return wake_at is not None and wake_at <= at

    def behind(self, common: "State | None") -> bool:
        """Whether this entity still has to be decided under `common`, the broadcast state of its partition.

        When a broadcast state changes, the host sends a `Wake` to every entity of the partition that answers True."""
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


def later(at: datetime, span: timedelta) -> datetime:
    """The moment `span` behind `at`; where the calendar has ended by then, its last one. Times come from outside, too, and what
    is decided of them, or when a state wants to be woken, must not fail."""
    try:
        return in_calendar(at + span)
    except OverflowError:
        return LAST if span > timedelta() else FIRST


def in_calendar(at: datetime) -> datetime:
    """The moment, or the calendar's last or first one, where there is no such moment in UTC."""
    return FIRST if at < FIRST else min(at, LAST)


def moment_of(second: float) -> datetime:
    """The moment of a Unix second, or the calendar's last or first one."""
    try:
        return datetime.fromtimestamp(second, UTC)
    except (OverflowError, ValueError, OSError):
        return LAST if second > 0 else FIRST


def now() -> datetime:
    """The wall clock, UTC. For edges (serving, host), never for deciders."""
    return datetime.now(UTC)


def new_id() -> MessageId:
    """A UUIDv7 (RFC 9562): its first 48 bits are Unix milliseconds, so ids sort by creation."""
    bits = ((time_ns() // 1_000_000) & ((1 << 48) - 1)) << 80 | 0x7 << 76 | randbits(12) << 64 | 0b10 << 62 | randbits(62)
    return MessageId(str(uuid.UUID(int=bits)))


class Envelope(TypedDict):
    """The fields that every message has."""

    id: MessageId
    at: datetime


class Reply(Envelope):
    """The fields that every fact has."""

    cause: str


def derive(cause: Message, ordinal: int | str, at: datetime | None = None) -> Envelope:
    """The envelope of a command that a decision on `cause` sends; it happens when the cause did, unless `at` says otherwise."""
    return {"id": MessageId(f"{cause.id}/{ordinal}"), "at": cause.at if at is None else at}


def reply(cause: Message, ordinal: int | str = 0, *, at: datetime | None = None, to: str = "") -> Reply:
    """The envelope of a fact that a decision on `cause` tells. `to`: the id of the message that the fact answers, where that
    is an earlier one, such as the request that began what `cause` ends."""
    return {"id": MessageId(f"{cause.id}/{ordinal}"), "at": cause.at if at is None else at, "cause": to or cause.id}


@cache
def _common(one: type[Struct], other: type[Struct]) -> tuple[str, ...]:
    names = set(other.__struct_fields__) - {"id", "at", "cause"}
    return tuple(name for name in one.__struct_fields__ if name in names)


def same_fields(of: Struct, kind: type[Struct]) -> dict[str, Any]:
    """The values of all fields that `kind` has, too, without the envelope's."""
    return {name: getattr(of, name) for name in _common(type(of), kind)}
