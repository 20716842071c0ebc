"""A lane: one entity's share of one partition, its states, what a batch changes of them, and its wakes.

A lane keeps each state as the JSON bytes that the changelog has of it, not as Python objects, in memory or on disk (`states`).
The bytes take less memory, the garbage collector has nothing to visit in them, and they can be stored as they are. It is
faster, too: the objects of one state lie scattered over memory, so encoding a state that nobody has touched for a while costs
more than decoding its bytes, deciding on it and encoding it at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from hashlib import blake2b
from itertools import islice
from operator import attrgetter
from typing import Any, Final, Protocol, cast

from msgspec import DecodeError

from pipelines.runtime.states import Memory, States
from schemas.log import positions
from schemas.log.base import Fact, Message, State
from schemas.log.codec import decoder_of, encode, state_decoder, wording
from schemas.log.entity import MAX_KEY_BYTES, MAX_STORED_KEY_BYTES, Entity, broadcast_keys, partition_of
from schemas.log.parking import OFFSET_DIGITS, PARKED, Parked, Release, held_prefix, read_parked
from schemas.log.topics import Route, hears, inbox_keys, routes

# When a broadcast state changes, so many entities a batch are woken to look at it: the flow goes on deciding meanwhile.
SWEEP: Final = 2_000

# A topic, the key in it, its partitions, and the fields of a message that do not go there.
Destination = tuple[str, Callable[[Any], str], int, tuple[str, ...]]
Routes = dict[type[Message], tuple[Route, ...]]
Decision = tuple[State | None, Sequence[Message]]


class Decide(Protocol):
    """A pure decider: of the entity's state (None: it is unknown) and a message it makes the state after it, and messages.

    Which state and messages a decider takes is its own business, and held against the map of the log by `flows.deciders`."""

    def __call__(self, state: Any, message: Any, /) -> Decision: ...


class DecideTogether(Protocol):
    """Likewise, for an entity with a broadcast state, which all entities of a partition share."""

    def __call__(self, state: Any, message: Any, common: Any, /) -> Decision: ...


class StateError(Exception):
    """A state in the changelog that the entity's schema cannot read: the schema was changed against its rules."""


@cache
def _readers(
    entity: Entity,
) -> tuple[Callable[[bytes], Message], Callable[[bytes], State], dict[type[Message], Callable[[Any], str]]]:
    """An entity's decoders and keys; building them takes longer than deciding a thousand records."""
    keys: dict[type[Message], Callable[[Any], str]] = {**inbox_keys(entity), Release: attrgetter("key")}
    return decoder_of((*hears(entity), Release)), state_decoder(entity.state), keys


def _ways(entity: Entity, table: Routes) -> dict[type[Message], tuple[str, tuple[Destination, ...]]]:
    """For each message type: the entity's own events topic, if it goes there, and all other ways. Facts of other entities have
    none: what stands in an entity's events follows from its own inbox."""
    return {
        type_: (
            next((way.topic for way in ways if way.topic == entity.events), ""),
            tuple((way.topic, way.key, way.partitions, way.hides) for way in ways if way.topic != entity.events),
        )
        for type_, ways in table.items()
        if type_ in entity.facts or not issubclass(type_, Fact)
    }


@cache
def _usual_ways(entity: Entity) -> dict[type[Message], tuple[str, tuple[Destination, ...]]]:
    return _ways(entity, routes())


class Lane:
    """One entity's states in one partition, and the tables that its decisions need."""

    def __init__(
        self,
        entity: Entity,
        decide: Decide | DecideTogether,
        partition: int,
        table: Routes | None,
        states: States | None = None,
    ) -> None:
        self.entity = entity
        self.partition = partition
        # Where the inbox goes on; -1: neither the states nor the changelog say so.
        self.position = -1
        self.states: States = Memory() if states is None else states
        self.overlay: dict[bytes, bytes | None] = {}
        # What changed more than once in a batch stays an object until its end.
        self.busy: dict[bytes, State | None] = {}
        self.wakes_at: dict[bytes, datetime | None] = {}
        # The wakes that a batch decides: key and time.
        self.woken: list[tuple[bytes, datetime]] = []
        self.batch: object = None
        self.began = 0
        self.decide = cast(Decide, decide)
        self.decide_together = cast(DecideTogether, decide)
        self.decode, self.decode_state, self.keys = _readers(self.entity)
        self.ways = _usual_ways(self.entity) if table is None else _ways(self.entity, table)
        self.wakes = self.entity.state.wake_at is not State.wake_at
        self.held_until: datetime | None = None
        self.common = broadcast_keys(self.entity.partitions)[partition].encode() if self.entity.broadcast else b""
        self.shared: State | None = None
        self.sweep: Iterator[bytes] | None = None
        self.dead_in_a_row = 0
        # Entities that wait for an operator.
        self.parked: dict[bytes, Parked] = {}

    def misplaced(self, key: bytes) -> str | None:
        """Why an unknown entity's record does not belong here: no entity has such a key, or another partition has it."""
        if not key or key.startswith(positions.RESERVED) or len(key) > MAX_KEY_BYTES:
            return f"the key {key[:64]!r} has {len(key)} bytes; keys have 1 to {MAX_KEY_BYTES}, the first of them not zero"
        right = partition_of(key, self.entity.partitions)
        if right == self.partition:
            return None
        return f"the key belongs to partition {right}; produce with crc32(key) % {self.entity.partitions}"

    def read(self, key: bytes, value: bytes) -> State:
        """A state from its bytes. Errors: StateError."""
        try:
            return self.decode_state(value)
        except (DecodeError, UnicodeDecodeError) as error:
            raise StateError(f"{self.entity.changelog}/{self.partition}, key {key.decode()!r}: {wording(error)}") from error

    def change(self, key: bytes, state: State | None, before: State | None) -> None:
        """Put it into the overlay: encoded at once, while it is warm, unless it changes often (or all others look at it)."""
        overlay = self.overlay
        if key in overlay or key == self.common:
            self.busy[key], overlay[key] = state, None
        else:
            overlay[key] = None if state is None else encode(state)
        if self.wakes:
            wake_at = None if state is None else state.wake_at
            # The same object: it is armed, or was put here in this batch. Most changes leave it alone.
            if before is None or wake_at is not before.wake_at or wake_at is None:
                self.wakes_at[key] = wake_at

    def forget(self) -> None:
        """Drop all that a batch has decided."""
        self.position, self.batch = self.began, None
        for changes in (self.overlay, self.busy, self.wakes_at, self.woken):
            changes.clear()

    def remember(self, key: bytes) -> tuple[bool, bytes | None, bool, datetime | None]:
        """What the overlay has of an entity, for `put_back`; nothing may be busy."""
        return key in self.overlay, self.overlay.get(key), key in self.wakes_at, self.wakes_at.get(key)

    def put_back(self, key: bytes, before: tuple[bool, bytes | None, bool, datetime | None]) -> None:
        """Undo what one record has changed."""
        changed, value, woken, wake_at = before
        self.busy.clear()
        self.overlay.pop(key, None)
        self.wakes_at.pop(key, None)
        if changed:
            self.overlay[key] = value
        if woken:
            self.wakes_at[key] = wake_at

    def waiting(self, key: bytes) -> list[tuple[bytes, bytes]]:
        """The records that wait for a parked entity, in order: where each one stands in the changelog, and its bytes."""
        prefix = held_prefix(key)
        found: dict[bytes, bytes | None] = dict(self.states.under(prefix))
        found |= {held: value for held, value in self.overlay.items() if held.startswith(prefix)}
        length = len(prefix) + OFFSET_DIGITS
        return sorted((held, value) for held, value in found.items() if value is not None and len(held) == length)

    def settle(self) -> None:
        """Whatever is still an object becomes bytes."""
        for key, state in self.busy.items():
            self.overlay[key] = None if state is None else encode(state)
        self.busy.clear()

    def merge(self) -> None:
        """What the batch changed becomes the states; None forgets an entity."""
        self.settle()
        for key, wake_at in self.woken:
            self.states.agenda.decided(key, wake_at)
        self.states.merge(self.overlay, self.wakes_at)
        shared = self.common in self.overlay
        self.overlay.clear()
        self.wakes_at.clear()
        self.woken.clear()
        if shared:
            self.share()
            self.sweep = self.states.walk()

    def restore(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take what the changelog has: the last record of each key. Keys that nothing of ours has are a stranger's, and left
        out: a store cannot hold them, and nobody can be named by bytes that are no UTF-8."""
        found = {
            key: value for key, value in records.items() if 0 < len(key) <= MAX_STORED_KEY_BYTES and positions.is_text(key)
        }
        if (position := found.pop(positions.POSITION, None)) is not None:
            self.position = positions.read(position)
        self.states.merge(found, {key: self.wake_of(key, value) for key, value in found.items()} if self.wakes else {})

    def wake_of(self, key: bytes, value: bytes | None) -> datetime | None:
        """When a state wants to be woken; never, where it cannot be read: the entity is parked when the next record comes."""
        if value is None or key.startswith(positions.RESERVED):
            return None
        try:
            return self.read(key, value).wake_at
        except Exception:
            return None

    def next_wake(self) -> datetime | None:
        """When the first wake is to be sent."""
        first = self.states.agenda.next() if self.wakes else None
        return first if first is None or self.held_until is None else max(first, self.held_until)

    def share(self) -> None:
        """Read the broadcast state. Errors: StateError."""
        held = self.states.get(self.common) if self.common else None
        self.shared = None if held is None else self.read(self.common, held)

    def shared_now(self) -> State | None:
        """The broadcast state as the batch has made it so far, so that no decision depends on where a batch ends. Errors:
        StateError."""
        if self.common not in self.overlay:
            return self.shared
        if self.common not in self.busy:  # it was settled since
            held = self.overlay[self.common]
            self.busy[self.common] = None if held is None else self.read(self.common, held)
        return self.busy[self.common]

    def begin(self) -> None:
        """All states are there. Those that were not decided under the broadcast state yet are to be. Errors: StateError."""
        self.parked = {key.removeprefix(PARKED): read_parked(value) for key, value in self.states.under(PARKED)}
        self.share()
        if self.common and self.states.swept != self._mark():
            self.sweep = self.states.walk()

    def _mark(self) -> bytes:
        """What identifies the broadcast state."""
        return blake2b(self.states.get(self.common) or b"", digest_size=16).digest()

    def swept(self) -> Iterable[bytes]:
        """The next entities that have not been decided under the broadcast state; SWEEP are looked at at a time."""
        if self.sweep is None:
            return []
        found = list(islice(self.sweep, SWEEP))
        if len(found) < SWEEP:
            self.sweep, self.states.swept = None, self._mark()
        return [key for key in found if self._behind(key)]

    def _behind(self, key: bytes) -> bool:
        """Whether an entity is to look at the broadcast state; one that cannot say so is, and is parked then."""
        value = self.states.get(key)
        try:
            return value is not None and self.read(key, value).behind(self.shared)
        except Exception:
            return True
