"""What the map of the log is made of: topics, entities, subscriptions, and where a key belongs."""

import os
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from zlib import crc32

from msgspec import Struct

from schemas.log.base import Fact, Message, State

DAY_S: Final = 86_400
# How far a flow can be scaled out (a partition is one process's), and what small transactions cost: librdkafka sends a request
# a partition, and at each record a broker looks at all partitions of the fetches that wait for it. Two are 180,000 decisions/s.
# A deployment that wants more sets OLO_PARTITIONS before its first start: afterwards keys would move. (What is no number is
# refused by `infra.config`, which every process reads first.)
_GIVEN: Final = os.environ.get("OLO_PARTITIONS", "")
PARTITIONS: Final = int(_GIVEN) if _GIVEN.isdecimal() and int(_GIVEN) else 2
# Phones resume a feed within a week; facts are kept a month on the broker and for good in ClickHouse.
FEED_RETENTION_S: Final = 7 * DAY_S
EVENTS_RETENTION_S: Final = 30 * DAY_S


class Topic(Struct, frozen=True):
    """A topic: `messages` are the types that it carries, `key` says in words what its records are keyed by."""

    name: str
    key: str
    messages: tuple[type[Message] | type[State], ...]
    partitions: int = PARTITIONS
    compacted: bool = False
    retention_s: int = EVENTS_RETENTION_S


class Entity(Struct, frozen=True):
    """A decided thing: its name, the message attribute that is its key, and the types of its three topics.

    `private`: its commands and states hold what analysts must not see; the store leaves its inbox out. `broadcast`: its decider
    also sees the state under its partition's broadcast key (`broadcast_keys`): rules that all entities of a partition share."""

    name: str
    key: str
    commands: tuple[type[Message], ...]
    facts: tuple[type[Fact], ...]
    state: type[State]
    partitions: int = PARTITIONS
    private: bool = False
    broadcast: bool = False

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
    """`fact` is also put into `topic`, under the key that `key` gives; an empty key: this one is of no concern there."""

    fact: type[Fact]
    topic: str
    key: Callable[[Any], str]
    why: str


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
