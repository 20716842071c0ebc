"""The one map of the log: every entity, topic, key, retention and subscription, gathered from the domains' own files.

An *entity* has three topics: `<entity>.inbox` (its only input), `<entity>.events` (its facts) and `<entity>.state` (compacted).
A *subscription* copies a fact into another topic, keyed its own way, in the same transaction: into an inbox, where the entity
then decides on it, or into `feed`, which phones are shown. A domain's file in `schemas` declares its entities, with what they
hear and show and why; `olo topics` and docs/topics.md print the whole map. Keys are UTF-8; a record stands in partition
`crc32(key) % partitions` (librdkafka's `consistent` partitioner), the same in all topics of one key, so that state and inbox
always meet in one worker.
"""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from types import ModuleType
from typing import Any, Final

from msgspec import Struct

import schemas
from schemas.log.base import Message, Wake
from schemas.log.dead_letters import DeadLetter, LetterSettled
from schemas.log.entity import FEED_RETENTION_S, Entity, Topic, log_partitions, subscriptions_of
from schemas.log.parking import Release
from schemas.pulse import PulseWindow

# Every file of `schemas` is a domain's. What is no domain, such as the log's own machinery, stands in folders.
DOMAINS: Final = tuple(
    importlib.import_module(f"schemas.{module.name}")
    for module in sorted(pkgutil.iter_modules(schemas.__path__), key=lambda found: found.name)
    if not module.ispkg
)


def entities_of(domain: ModuleType) -> tuple[Entity, ...]:
    """The entities that a domain's file declares, in its order."""
    return tuple(found for found in vars(domain).values() if isinstance(found, Entity))


ENTITIES: Final = tuple(entity for domain in DOMAINS for entity in entities_of(domain))
FEED: Final = Topic(
    "feed",
    "user id",
    tuple(dict.fromkeys(shown.fact for entity in ENTITIES for shown in entity.shown)),
    retention_s=FEED_RETENTION_S,
)
WINDOW: Final = "<metric>/<width in seconds>/<start>"
DEAD_LETTERS: Final = Topic("dead_letters", "<topic>/<partition>/<offset>", (DeadLetter, LetterSettled), own_partitions=1)
SKIPS: Final = Topic("skips", "<topic>/<partition>/<offset>", (), own_partitions=1, compacted=True)
# Seconds are for whoever looks now, minutes for whoever asks later, too; each window of a metric has its own key.
PULSE_SECONDS: Final = Topic("pulse.seconds", WINDOW, (PulseWindow,), 1, compacted=True, retention_s=3_600, fades=True)
PULSE_MINUTES: Final = Topic("pulse.minutes", WINDOW, (PulseWindow,), 1, compacted=True, fades=True)
SUBSCRIPTIONS: Final = tuple(subscription for entity in ENTITIES for subscription in subscriptions_of(entity, FEED.name))


def hears(entity: Entity) -> tuple[type[Message], ...]:
    """Every type that an entity decides: commands, subscribed facts and wakes. (Its inbox also takes a `Release`, which the
    host itself acts on.)"""
    return (*entity.commands, *(heard.fact for heard in entity.hears), Wake)


def topics() -> tuple[Topic, ...]:
    """Every topic, in the order in which they are created."""
    found: list[Topic] = []
    for entity in ENTITIES:
        key = f"{entity.name} id"
        found += [
            Topic(entity.inbox, key, (*hears(entity), Release), retention_s=entity.inbox_retention_s),
            Topic(entity.events, key, entity.facts),
            Topic(entity.changelog, key, (entity.state,), compacted=True),
        ]
    return (*found, FEED, DEAD_LETTERS, SKIPS, PULSE_SECONDS, PULSE_MINUTES)


class Route(Struct, frozen=True):
    """Where a message goes: a topic, and the key in it. `own_partitions`: as a topic has them; `hides`: the fields that do not
    go along."""

    topic: str
    key: Callable[[Any], str]
    own_partitions: int = 0
    hides: tuple[str, ...] = ()

    @property
    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self.own_partitions or log_partitions()


@cache
def routes() -> dict[type[Message], tuple[Route, ...]]:
    """All ways of every message type: commands to their inbox, facts to their events topic and their subscriptions."""
    table: dict[type[Message], tuple[Route, ...]] = {}
    for entity in ENTITIES:
        for command in entity.commands:
            table[command] = (Route(entity.inbox, attrgetter(entity.key)),)
        for fact in entity.facts:
            heard = (Route(s.topic, s.key, hides=s.hides) for s in SUBSCRIPTIONS if s.fact is fact)
            table[fact] = (Route(entity.events, attrgetter(entity.key)), *heard)
    return table


def inbox_keys(entity: Entity) -> dict[type[Message], Callable[[Any], str]]:
    """For each type that `entity` hears: the key under which a record of that type must stand in its inbox."""
    keys: dict[type[Message], Callable[[Any], str]] = {command: attrgetter(entity.key) for command in entity.commands}
    keys.update({s.fact: s.key for s in SUBSCRIPTIONS if s.topic == entity.inbox})
    keys[Wake] = attrgetter("key")
    return keys
