"""What the map of the log is made of: topics, entities, subscriptions, and where a key belongs."""

from collections.abc import Callable
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any, Final
from zlib import crc32

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields, replace

from schemas.log.base import Fact, Message, State

DAY_S: Final = 86_400
# How far a flow can be scaled out (a partition is one process's), and what small transactions cost: librdkafka sends a request
# a partition, and at each record a broker looks at all partitions of the fetches that wait for it. Two are 180,000 decisions/s.
# A deployment that wants more sets OLO_PARTITIONS before its first start: afterwards keys would move.
DEFAULT_PARTITIONS: Final = 2
# Phones resume a feed within a week; facts are kept a month on the broker and for good in ClickHouse.
FEED_RETENTION_S: Final = 7 * DAY_S
EVENTS_RETENTION_S: Final = 30 * DAY_S

# A record's key, in bytes of UTF-8. A store on disk takes keys of up to 511 bytes, and its index of wakes adds the time to
# them.
MAX_KEY_BYTES: Final = 480
MAX_STORED_KEY_BYTES: Final = 511

_partitions = [DEFAULT_PARTITIONS]


def log_partitions() -> int:
    """How many partitions the topics of this process's log have."""
    return _partitions[0]


def set_log_partitions(partitions: int) -> None:
    """Say so once, when the settings have been read and before anything is routed."""
    _partitions[0] = partitions


class Topic(Struct, frozen=True):
    """A topic: `messages` are the types that it carries, `key` says in words what its records are keyed by.

    `own_partitions`: how many it has whatever the log's other topics have; 0: as many as those. `fades`: of a compacted one:
    also the last record of a key is gone after `retention_s`."""

    name: str
    key: str
    messages: tuple[type[Message] | type[State], ...]
    own_partitions: int = 0
    compacted: bool = False
    retention_s: int = EVENTS_RETENTION_S
    fades: bool = False

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self.own_partitions or log_partitions()

    @property
    def policies(self) -> tuple[str, ...]:
        """What a broker does with what is old, as Kafka calls it."""
        return ("compact", *(("delete",) if self.fades else ())) if self.compacted else ("delete",)

    @property
    def kept(self) -> str:
        """How long a record is kept, in words."""
        days, hours = self.retention_s // DAY_S, self.retention_s // 3_600
        span = f"{days} days" if days else f"{hours} hour{'s' if hours > 1 else ''}"
        return " for ".join(
            (*(("the last of each key",) if self.compacted else ()), *((span,) if "delete" in self.policies else ()))
        )


class Flow(StrEnum):
    """The processes that host deciders. `money` is apart because nothing may hold up coins, `growth` because it may lag."""

    MONEY = "money"
    LIVE = "live"
    GROWTH = "growth"


class Hears(Struct, frozen=True):
    """An entity takes a fact of another one: under the key that `key` gives, an attribute's name or a function; an empty key
    means that this fact is of no concern to it. `why` says for what the entity needs the fact."""

    fact: type[Fact]
    key: str | Callable[[Any], str]
    why: str


class Shown(Struct, frozen=True):
    """Phones are shown a fact: the users whose ids are in the attributes (or come of the functions) `to`.

    `hides`: fields that are none of their business, such as who reported them. In what these phones are shown they have their
    defaults, so each of them has one; the fact itself keeps them."""

    fact: type[Fact]
    to: tuple[str | Callable[[Any], str], ...]
    why: str
    hides: tuple[str, ...] = ()


class Entity(Struct, frozen=True):
    """A decided thing: its name, the message attribute that is its key, the flow that hosts it, and the types of its topics.

    The decider of the entity `gift` is the function `decide_gift` of a module in `pipelines`. ClickHouse's typed tables over
    its facts are the files of `schemas/tables` that select from its events topic; `raw`: why none of them does, and analysts
    find the facts in the table `log` only. `private`: its commands and states hold what analysts must not see; the store
    leaves its inbox out. `broadcast`: its decider also sees the state under its partition's broadcast key
    (`broadcast_keys`): rules that all entities of a partition share. `inbox_retention_s`: how long the broker keeps its
    commands; shorter where they bring what people may delete."""

    name: str
    key: str
    flow: Flow
    state: type[State]
    commands: tuple[type[Message], ...] = ()
    facts: tuple[type[Fact], ...] = ()
    hears: tuple[Hears, ...] = ()
    shown: tuple[Shown, ...] = ()
    raw: str = ""
    private: bool = False
    broadcast: bool = False
    inbox_retention_s: int = EVENTS_RETENTION_S

    @property
    def partitions(self) -> int:
        """How many partitions each of its topics has."""
        return log_partitions()

    @property
    def inbox(self) -> str:
        """The only input."""
        return f"{self.name}.inbox"

    @property
    def events(self) -> str:
        """The facts."""
        return f"{self.name}.events"

    @property
    def changelog(self) -> str:
        """The compacted states."""
        return f"{self.name}.state"


class Subscription(Struct, frozen=True):
    """`fact` is also put into `topic`, without the fields `hides`, under the key that `key` gives; an empty key: this one is
    of no concern there."""

    fact: type[Fact]
    topic: str
    key: Callable[[Any], str]
    why: str
    hides: tuple[str, ...] = ()


def without(message: Message, hides: tuple[str, ...]) -> Message:
    """The message as readers see it who must not see these fields: they have their defaults."""
    defaults = {field.name: field for field in fields(message) if field.name in hides}
    return replace(
        message,
        **{n: f.default_factory() if f.default is NODEFAULT else f.default for n, f in defaults.items()},
    )


def subscriptions_of(entity: Entity, feed: str) -> tuple[Subscription, ...]:
    """What an entity hears of others, and what phones are shown of it in the topic `feed`."""
    heard = (Subscription(one.fact, entity.inbox, _key(one.key), one.why) for one in entity.hears)
    return (*heard, *(Subscription(one.fact, feed, _key(key), one.why, one.hides) for one in entity.shown for key in one.to))


def _key(key: str | Callable[[Any], str]) -> Callable[[Any], str]:
    return attrgetter(key) if isinstance(key, str) else key


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that a key belongs to; equals librdkafka's `consistent` partitioner."""
    return crc32(key) % partitions


@cache
def broadcast_keys(partitions: int) -> tuple[str, ...]:
    """A key in each partition, by partition; no user id looks like one. What is told to all of them reaches every decision."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        found.setdefault(partition_of(f"@{number}".encode(), partitions), f"@{number}")
        number += 1
    return tuple(found[partition] for partition in range(partitions))
