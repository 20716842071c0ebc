"""The host's core: states, batches, wakes and broadcasts. It knows neither Kafka nor Bytewax nor the time.

A *lane* is one entity's share of one partition: its states, restored from the changelog. A *batch* decides records in an
overlay above the lanes and collects what is to be written; `merge` makes the overlay the state. The caller writes a batch's
outputs, with its positions, in one transaction, and merges only after the commit; if that fails, it drops the core with the
batch, and restores a new one.

A lane holds states as the bytes that stand in the changelog: less memory, nothing for the cycle collector to visit, and what is
restored is what was there. A state as objects is scattered over a hundred places: encoding a cold one takes longer than
reading its bytes, deciding and encoding it again while it is warm.

Laws: a batch's outputs depend on the lanes and the records alone; states change only by `restore` and `merge`; a record that
cannot be decided becomes a dead letter at its own place in the order; a bug in a decider stops the batch (`DeciderError`).
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import count
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import DecodeError, Struct

from schemas.base import Message, State, Wake, now
from schemas.codec import decoder_of, encode, state_decoder, unreadable
from schemas.dead_letters import DeadCause, DeadLetter
from schemas.entity import Entity, broadcast_keys, partition_of
from schemas.topics import DEAD_LETTERS, Route, hears, inbox_keys, routes

# Garbage comes alone; a thousand in a row is a producer or a schema gone wrong: going on would empty the inbox into the bin.
MAX_DEAD_IN_A_ROW: Final = 1_000
# When a broadcast state changes, so many entities a batch are woken to look at it: the flow goes on deciding meanwhile.
SWEEP: Final = 2_000
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

S = TypeVar("S", bound=State)


class Decider(Struct, frozen=True):
    """An entity and the pure function that decides for it: `decide(state, message) -> (state, messages)`; where the entity has
    a broadcast state, `decide(state, message, common)`."""

    entity: Entity
    decide: Callable[..., tuple[State | None, Sequence[Message]]]


class Output(NamedTuple):
    """One record to write; value None deletes the key from a compacted topic."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None


# An Output as a plain tuple: making a named one costs as much as decoding a message.
Written = tuple[str, int, bytes, bytes | None]

Way = tuple[str, Callable[[Any], str], int]


class StateError(Exception):
    """A state in the changelog that the entity's schema cannot read: the schema was changed against its rules."""


class DeciderError(Exception):
    """A decider raised: a bug. Nothing of the batch is committed; the cause is chained."""


class TooManyDeadLettersError(Exception):
    """So many records in a row were unreadable that going on would do harm."""


@cache
def _readers(
    entity: Entity,
) -> tuple[Callable[[bytes], Message], Callable[[bytes], State], dict[type[Message], Callable[[Any], str]]]:
    """An entity's decoders and keys; building them takes longer than deciding a thousand records."""
    return decoder_of(hears(entity)), state_decoder(entity.state), inbox_keys(entity)


def _ways(entity: Entity, table: dict[type[Message], tuple[Route, ...]]) -> dict[type[Message], tuple[str, tuple[Way, ...]]]:
    """For each message type: the entity's own events topic, if it goes there, and all other ways."""
    return {
        type_: (
            next((way.topic for way in ways if way.topic == entity.events), ""),
            tuple((way.topic, way.key, way.partitions) for way in ways if way.topic != entity.events),
        )
        for type_, ways in table.items()
    }


@cache
def _usual_ways(entity: Entity) -> dict[type[Message], tuple[str, tuple[Way, ...]]]:
    return _ways(entity, routes())


class Lane:
    """One entity's states in one partition, and the tables that its decisions need."""

    def __init__(self, decider: Decider, partition: int, table: dict[type[Message], tuple[Route, ...]] | None) -> None:
        self.entity = decider.entity
        self.partition = partition
        self.position = 0
        self.states: dict[bytes, bytes] = {}
        self.overlay: dict[bytes, bytes | None] = {}
        # What changed more than once in a batch stays an object until its end.
        self.busy: dict[bytes, State | None] = {}
        self.wakes_at: dict[bytes, datetime | None] = {}
        self.batch: Batch | None = None
        self.decide = decider.decide
        self.decode, self.decode_state, self.keys = _readers(self.entity)
        self.ways = _usual_ways(self.entity) if table is None else _ways(self.entity, table)
        self.wakes = self.entity.state.wake_at is not State.wake_at
        self.armed: dict[bytes, datetime] = {}
        self.common = broadcast_keys(self.entity.partitions)[partition].encode() if self.entity.broadcast else b""
        self.shared: State | None = None
        self.sweep: list[bytes] = []
        self.dead_in_a_row = 0

    def misplaced(self, key: bytes) -> str | None:
        """Why an unknown entity's record does not belong here: another partition has its states."""
        right = partition_of(key, self.entity.partitions)
        if right == self.partition:
            return None
        return f"the key belongs to partition {right}; produce with crc32(key) % {self.entity.partitions}"

    def read(self, key: bytes, value: bytes) -> State:
        """A state from its bytes. Errors: StateError."""
        try:
            return self.decode_state(value)
        except (DecodeError, UnicodeDecodeError) as error:
            raise StateError(f"{self.entity.changelog}/{self.partition}, key {key.decode()!r}: {error}") from error

    def change(self, key: bytes, state: State | None) -> None:
        """Put it into the overlay: encoded at once, while it is warm, unless it changes often (or all others look at it)."""
        overlay = self.overlay
        if key in overlay or key == self.common:
            self.busy[key], overlay[key] = state, None
        else:
            overlay[key] = None if state is None else encode(state)
        if self.wakes:
            self.wakes_at[key] = None if state is None else state.wake_at

    def settle(self) -> None:
        """Whatever is still an object becomes bytes."""
        for key, state in self.busy.items():
            self.overlay[key] = None if state is None else encode(state)
        self.busy.clear()

    def begin_sweep(self) -> None:
        """The broadcast state is another one: every entity is to be decided under it. Errors: StateError."""
        held = self.states.get(self.common)
        self.shared = None if held is None else self.read(self.common, held)
        self.sweep = list(self.states) if self.common else []

    def swept(self) -> Iterable[bytes]:
        """The next entities that have not been decided under the broadcast state, at most SWEEP at a time."""
        found, self.sweep = self.sweep[-SWEEP:], self.sweep[:-SWEEP]
        held = ((key, self.states.get(key)) for key in found)
        return [key for key, value in held if value is not None and self.read(key, value).behind(self.shared)]


class Batch:
    """Decisions that are not state yet. Use once: `take` records, write `outputs` and `positions`, then `merge`."""

    def __init__(self, core: "Core") -> None:
        self.core = core
        self.outputs: list[Written] = []
        self.taken = 0
        self.dead = 0
        self._lanes: list[Lane] = []

    @property
    def decided(self) -> int:
        """Records that a decider has seen."""
        return self.taken - self.dead

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """Where each inbox goes on behind this batch."""
        return {(lane.entity.inbox, lane.partition): lane.position for lane in self._lanes}

    def take(self, lane: Lane, offset: int, key: bytes, value: bytes) -> None:
        """Decide one record. Errors: DeciderError, TooManyDeadLettersError."""
        lane.position = offset + 1
        self.taken += 1
        if lane.batch is not self:
            lane.batch = self
            self._lanes.append(lane)
        try:
            message = lane.decode(value)
        except (DecodeError, UnicodeDecodeError) as error:
            wrong = unreadable(error)
            self._bury(lane, (offset, key, value), wrong.cause, str(wrong))
            return
        due = lane.keys[type(message)](message).encode()
        if due != key or (self.core.skips and (lane.entity.inbox, lane.partition, offset) in self.core.skips):
            self._refuse(lane, (offset, key, value), due)
            return
        overlay = lane.overlay
        if key not in overlay:
            held = lane.states.get(key)
            state = None if held is None else lane.read(key, held)
        elif key in lane.busy:
            state = lane.busy[key]
        else:
            state = None if (held := overlay[key]) is None else lane.read(key, held)
        if state is None and (misplaced := lane.misplaced(key)):
            self._bury(lane, (offset, key, value), DeadCause.MISROUTED, misplaced)
            return
        try:
            if lane.common:
                after, told = lane.decide(state, message, lane.busy.get(lane.common, lane.shared))
            else:
                after, told = lane.decide(state, message)
        except Exception as error:
            raise DeciderError(
                f"the decider of {lane.entity.name} failed at {lane.entity.inbox}/{lane.partition}/{offset}, "
                f"type {type(message).__name__}, key {key.decode()!r}: {error!r}"
            ) from error
        lane.dead_in_a_row = 0
        if after is not state:
            lane.change(key, after)
        if told:
            self._tell(lane, key, told)

    def _tell(self, lane: Lane, key: bytes, told: Sequence[Message]) -> None:
        for message in told:
            body = encode(message)
            own, others = lane.ways[type(message)]
            if own:
                self.outputs.append((own, lane.partition, key, body))
            for topic, key_of, partitions in others:
                if to := key_of(message):
                    to_key = to.encode()
                    self.outputs.append((topic, partition_of(to_key, partitions), to_key, body))

    def _refuse(self, lane: Lane, rest: tuple[int, bytes, bytes], due: bytes) -> None:
        """A readable record that must not be decided: an operator skips it, or it stands under a foreign key."""
        if (lane.entity.inbox, lane.partition, rest[0]) in self.core.skips:
            self._bury(lane, rest, DeadCause.SKIPPED, "skipped by an operator")
            return
        wrong = f"the record's key is {rest[1][:64]!r}, the message belongs under {due[:64]!r}"
        self._bury(lane, rest, DeadCause.KEY_MISMATCH, wrong)

    def _bury(self, lane: Lane, rest: tuple[int, bytes, bytes], cause: DeadCause, error: str) -> None:
        self.dead += 1
        offset, key, value = rest
        inbox = lane.entity.inbox
        place = f"{inbox}/{lane.partition}/{offset}"
        letter = DeadLetter(
            id=place,
            at=now(),
            cause=cause,
            error=error,
            topic=inbox,
            partition=lane.partition,
            offset=offset,
            key=key,
            value=value,
        )
        self.outputs.append((DEAD_LETTERS.name, 0, place.encode(), encode(letter)))
        lane.dead_in_a_row += 1
        if lane.dead_in_a_row > MAX_DEAD_IN_A_ROW:
            raise TooManyDeadLettersError(
                f"{lane.dead_in_a_row} records in a row are unreadable, the last one at {place} ({cause}: {error}); "
                "see `olo dead-letters list`, mend the producer, then start again"
            )

    def wake(self, at: datetime) -> None:
        """Put a `Wake` into the inbox of every entity whose time has come by `at`."""
        for lane, key, wake_at in self.core.due(at):
            name = key.decode()
            wake = Wake(id=f"{name}@{wake_at.isoformat()}", at=wake_at, key=name)
            self.outputs.append((lane.entity.inbox, lane.partition, key, encode(wake)))
        for lane in self.core.sweeping():
            for key in lane.swept():
                name = key.decode()
                wake = Wake(id=f"{name}~{at.isoformat()}", at=at, key=name)
                self.outputs.append((lane.entity.inbox, lane.partition, key, encode(wake)))

    def seal(self) -> list[Written]:
        """All outputs, the changed states included (one record a key, however often it changed)."""
        for lane in self._lanes:
            lane.settle()
            changelog, partition = lane.entity.changelog, lane.partition
            self.outputs += [(changelog, partition, key, value) for key, value in lane.overlay.items()]
        return self.outputs

    def merge(self) -> None:
        """The transaction is committed: what was decided is the state."""
        for lane in self._lanes:
            lane.settle()
            self.core.put(lane)


class Core:
    """The lanes of one worker and when their entities want to be woken."""

    def __init__(self, deciders: Iterable[Decider], table: dict[type[Message], tuple[Route, ...]] | None = None) -> None:
        self.deciders = {decider.entity.inbox: decider for decider in deciders}
        self.changelogs = {decider.entity.changelog: inbox for inbox, decider in self.deciders.items()}
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.skips: set[tuple[str, int, int]] = set()
        self._table = table
        self._wakes: list[tuple[datetime, int, Lane, bytes]] = []
        self._ordinal = count()

    def open(self, inbox: str, partition: int) -> Lane:
        """Begin a lane, empty; its states come by `restore`."""
        lane = self.lanes[inbox, partition] = Lane(self.deciders[inbox], partition, self._table)
        return lane

    def close(self, inbox: str, partition: int) -> Lane | None:
        """Give up a lane: another worker may have it now."""
        return self.lanes.pop((inbox, partition), None)

    def reopen(self, closed: Lane) -> None:
        """Go on with a lane that was given up, as it was. Its wakes may have been passed over meanwhile: arm them anew."""
        lane = self.open(closed.entity.inbox, closed.partition)
        lane.position, lane.states = closed.position, closed.states
        self.restored(lane)

    def restore(self, changelog: str, partition: int, key: bytes, value: bytes | None) -> None:
        """Take one changelog record; the last one of a key wins."""
        states = self.lanes[self.changelogs[changelog], partition].states
        if value is None:
            states.pop(key, None)
        else:
            states[key] = value

    def restored(self, lane: Lane) -> None:
        """All of the changelog is there: arm the wakes. Errors: StateError."""
        if lane.wakes:
            for key, value in lane.states.items():
                self._arm(lane, key, lane.read(key, value).wake_at)
        lane.begin_sweep()

    def sweeping(self) -> list[Lane]:
        """The lanes whose entities are still being woken to look at a new broadcast state."""
        return [lane for lane in self.lanes.values() if lane.sweep]

    def put(self, lane: Lane) -> None:
        """Make the lane's overlay its states; None forgets an entity."""
        states, overlay = lane.states, lane.overlay
        states.update(overlay)  # type: ignore[arg-type]
        for key, value in overlay.items():
            if value is None:
                del states[key]
        for key, wake_at in lane.wakes_at.items():
            self._arm(lane, key, wake_at)
        shared = lane.common in overlay
        overlay.clear()
        lane.wakes_at.clear()
        if shared:
            lane.begin_sweep()

    def _arm(self, lane: Lane, key: bytes, wake_at: datetime | None) -> None:
        """A wake is armed once, and stays marked after it was sent: its answer changes the state, or it was stale."""
        if wake_at is None:
            if lane.armed:
                lane.armed.pop(key, None)
        elif lane.armed.get(key) != wake_at:
            lane.armed[key] = wake_at
            heapq.heappush(self._wakes, (wake_at, next(self._ordinal), lane, key))

    def next_wake(self) -> datetime | None:
        """When the next entity may want to be woken (it may have changed its mind)."""
        if self.sweeping():
            return LONG_AGO
        return self._wakes[0][0] if self._wakes else None

    def due(self, at: datetime) -> Iterable[tuple[Lane, bytes, datetime]]:
        """The entities whose wake has come by `at`, in its order; each armed wake is given once."""
        while self._wakes and self._wakes[0][0] <= at:
            wake_at, _, lane, key = heapq.heappop(self._wakes)
            live = self.lanes.get((lane.entity.inbox, lane.partition)) is lane
            if live and lane.armed.get(key) == wake_at:
                yield lane, key, wake_at
