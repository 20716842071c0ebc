"""The host's core: states, batches, wakes and broadcasts. It knows neither Kafka nor Bytewax nor the time.

A *lane* is one entity's share of one partition: its states, as the changelog has them. A *batch* decides records in an
overlay above the lanes and collects what is to be written; `merge` makes the overlay the state. The caller writes a batch's
outputs, with its positions, in one transaction, and merges only after the commit; if that fails, it drops the core with the
batch, and restores a new one.

Laws: a batch's outputs depend on the lanes and the records alone; states change only by `restore` and `merge`; a record that
cannot be decided becomes a dead letter at its own place in the order; a bug in a decider stops the batch (`DeciderError`).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple, cast

from msgspec import DecodeError, Struct

from pipelines.runtime.agenda import LONG_AGO
from pipelines.runtime.failures import (
    CarefulError,
    DeciderError,
    Tally,
    TooManyDeadLettersError,
    cause_of,
    place_of,
    weigh,
)
from pipelines.runtime.lane import Decide, DecideTogether, Lane, Routes
from pipelines.runtime.states import Memory, States
from schemas.log import positions
from schemas.log.base import Message, Wake, now
from schemas.log.codec import encode, unreadable
from schemas.log.dead_letters import MAX_ERROR, DeadCause, LetterSettled, letter_of
from schemas.log.entity import Entity, partition_of, without
from schemas.log.parking import Parked, Release, Way, held_key, offset_of, parked_key
from schemas.log.topics import DEAD_LETTERS

# Garbage comes alone; a thousand in a row is a producer or a schema gone wrong: going on would empty the inbox into the bin.
MAX_DEAD_IN_A_ROW: Final = 1_000
# Of the records that wait for an entity so many are decided in one transaction.
RELEASED: Final = 1_000
# A wake is a record at the end of its inbox. Behind a backlog of this many records it would be stale when it is decided.
# The host therefore holds wakes back until the backlog is shorter. It holds them for HELD at most, because the length of a
# backlog is an estimate from offsets, and because some inboxes are never without a backlog.
LONG_BACKLOG: Final = 10_000
HELD: Final = timedelta(seconds=10)


class Decider(Struct, frozen=True):
    """An entity and the pure function that decides for it: `decide(state, message) -> (state, messages)`; where the entity has
    a broadcast state, `decide(state, message, common)`."""

    entity: Entity
    decide: Decide | DecideTogether


class Output(NamedTuple):
    """One record to write; value None deletes the key from a compacted topic."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None


# A record of an inbox: offset, key, value.
Record = tuple[int, bytes, bytes]
Take = Callable[[Lane, int, bytes, bytes], None]
# An Output as a plain tuple: making a named one costs as much as decoding a message.
Written = tuple[str, int, bytes, bytes | None]


class Batch:
    """Decisions that are not state yet. Use once: `decide` records, write `outputs` and `positions`, then `merge`."""

    def __init__(self, core: "Core") -> None:
        self.core = core
        self.outputs: list[Written] = []
        self.taken = 0
        self.dead = 0
        # Entities that this batch has parked.
        self.parked: list[Parked] = []
        self._lanes: list[Lane] = []
        self._woken = 0
        self._careful = False

    @property
    def decided(self) -> int:
        """Records that a decider has seen."""
        return self.taken - self.dead

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """Where each inbox goes on behind this batch."""
        return {(lane.entity.inbox, lane.partition): lane.position for lane in self._lanes}

    def decide(self, feed: Callable[[Take], None]) -> None:
        """Decide records: `feed` hands them to the function that it is given, in their order.

        If anything fails, all is forgotten and `feed` is called again: now each record is decided by itself, and one that fails
        parks its entity. Errors: TooManyParkedError, TooManyDeadLettersError."""
        try:
            feed(self.take)
            self._settle()
        except TooManyDeadLettersError:
            raise
        except Exception:
            self._rewind()
            feed(self._take_carefully)
            for lane in self._lanes:
                self.core.tallies[lane.entity.name].check()

    def take(self, lane: Lane, offset: int, key: bytes, value: bytes) -> None:
        """Decide one record. Errors: whatever a decider, an encoder or a state raises; TooManyDeadLettersError."""
        lane.position = offset + 1
        self.taken += 1
        if lane.batch is not self:
            lane.batch, lane.began = self, offset
            self._lanes.append(lane)
        try:
            message = lane.decode(value)
        except (DecodeError, UnicodeDecodeError) as error:
            wrong = unreadable(error)
            self._bury(lane, (offset, key, value), wrong.cause, str(wrong))
            return
        kind = type(message)
        if kind is Wake:
            lane.woken.append((key, cast(Wake, message).at))
        due = lane.keys[kind](message).encode()
        if due != key or (self.core.skips and (lane.entity.inbox, lane.partition, offset) in self.core.skips):
            self._refuse(lane, (offset, key, value), due)
        elif kind is Release:
            self._release(lane, key, cast(Release, message))
        elif lane.parked and key in lane.parked:
            lane.overlay[held_key(key, offset)] = value
            self._letter(lane, (offset, key, value), DeadCause.BEHIND, f"waits behind {lane.parked[key].place}", kind.__name__)
        else:
            self._decide(lane, message, (offset, key, value))

    def _decide(self, lane: Lane, message: Message, record: Record) -> None:
        key, overlay = record[1], lane.overlay
        if key not in overlay:
            held = lane.states.get(key)
            state = None if held is None else lane.read(key, held)
        elif key in lane.busy:
            state = lane.busy[key]
        else:
            state = None if (held := overlay[key]) is None else lane.read(key, held)
        if state is None and (misplaced := lane.misplaced(key)):
            self._bury(lane, record, DeadCause.MISROUTED, misplaced)
            return
        try:
            if lane.common:
                after, told = lane.decide_together(state, message, lane.shared_now())
            else:
                after, told = lane.decide(state, message)
        except Exception as error:
            error.args = ()  # its words may repeat what the message says of a person; it is printed with the traceback
            raise DeciderError(
                f"the decider of {lane.entity.name} failed at {lane.entity.inbox}/{lane.partition}/{record[0]}, "
                f"type {type(message).__name__}, key {key.decode()!r}: {place_of(error)}"
            ) from error
        lane.dead_in_a_row = 0
        if after is not state:
            lane.change(key, after, state)
        if told:
            self._tell(lane, key, told)

    def _tell(self, lane: Lane, key: bytes, told: Sequence[Message]) -> None:
        for message in told:
            body = encode(message)
            own, others = lane.ways[type(message)]
            if own:
                self.outputs.append((own, lane.partition, key, body))
            for topic, key_of, partitions, hides in others:
                if to := key_of(message):
                    to_key = to.encode()
                    shown = encode(without(message, hides)) if hides else body
                    self.outputs.append((topic, partition_of(to_key, partitions), to_key, shown))

    # --- what cannot be decided -----------------------------------------------------------------------------------------

    def _refuse(self, lane: Lane, record: Record, due: bytes) -> None:
        """A readable record that must not be decided: an operator skips it, or it stands under a foreign key."""
        if (lane.entity.inbox, lane.partition, record[0]) in self.core.skips:
            self._bury(lane, record, DeadCause.SKIPPED, "skipped by an operator")
            return
        wrong = f"the record's key is {record[1][:64]!r}, the message belongs under {due[:64]!r}"
        self._bury(lane, record, DeadCause.KEY_MISMATCH, wrong)

    def _bury(self, lane: Lane, record: Record, cause: DeadCause, error: str) -> None:
        self._letter(lane, record, cause, error)
        lane.dead_in_a_row += 1
        if lane.dead_in_a_row > MAX_DEAD_IN_A_ROW:
            raise TooManyDeadLettersError(
                f"{lane.dead_in_a_row} records in a row are unreadable, the last one at {_place(lane, record[0])} "
                f"({cause}: {error}); see `olo dead-letters list`, mend the producer, then start again"
            )

    def _letter(self, lane: Lane, record: Record, cause: DeadCause, error: str, kind: str = "") -> None:
        self.dead += 1
        letter = letter_of((lane.entity.inbox, lane.partition), record, cause, error, kind)
        self.outputs.append((DEAD_LETTERS.name, 0, letter.id.encode(), encode(letter)))

    def _rewind(self) -> None:
        """Forget every decision, but not the wakes that were taken from the lanes."""
        del self.outputs[self._woken :]
        self.taken = self.dead = 0
        for lane in self._lanes:
            lane.forget()
        self._lanes.clear()
        self._careful = True

    def _settle(self) -> None:
        """Whatever is still an object becomes bytes, and nothing is larger than a topic takes. Errors: TooLargeError."""
        for lane in self._lanes:
            lane.settle()
            weigh(lane.overlay.values())
        weigh(output[3] for output in self.outputs)

    def _take_carefully(self, lane: Lane, offset: int, key: bytes, value: bytes) -> None:
        self._safely(lane, (offset, key, value), lambda: self.take(lane, offset, key, value))

    def _safely(self, lane: Lane, record: Record, decide: Callable[[], None], *, again: bool = False) -> None:
        """Decide a record by itself, or `again` one that waited; if that fails, leave no trace of it but that its entity is
        parked."""
        key, mark, before, dead = record[1], len(self.outputs), lane.remember(record[1]), self.dead
        tally = self.core.tallies[lane.entity.name]
        try:
            decide()
            lane.settle()
            weigh([lane.overlay.get(key), *(output[3] for output in self.outputs[mark:] if output[0] != DEAD_LETTERS.name)])
        except TooManyDeadLettersError:
            raise
        except Exception as error:
            del self.outputs[mark:]
            lane.put_back(key, before)
            self._park(lane, record, error)
            if key in lane.parked and not again:  # one that was parked before does no more harm
                tally.parked(error)
        else:
            if self.dead == dead:
                tally.well([key])

    def _park(self, lane: Lane, record: Record, error: Exception) -> None:
        offset, key, value = record
        if wrong := lane.misplaced(key):
            self._bury(lane, record, DeadCause.MISROUTED, wrong)
            return
        cause, kind, text = cause_of(error), type(lane.decode(value)).__name__, str(error)[:MAX_ERROR]
        lane.parked[key] = Parked(cause, text, _place(lane, offset), kind, now())
        lane.overlay[parked_key(key)] = encode(lane.parked[key])
        lane.overlay[held_key(key, offset)] = value
        self._letter(lane, record, cause, text, kind)
        self.parked.append(lane.parked[key])

    def _release(self, lane: Lane, key: bytes, message: Release) -> None:
        """Decide what waits for a parked entity, in order, up to a record that fails again."""
        if key not in lane.parked:
            return
        if not self._careful:
            raise CarefulError
        waiting, parked = lane.waiting(key), lane.parked.pop(key)
        lane.overlay[parked_key(key)] = None
        way = message.way
        for held, value in waiting[:RELEASED]:
            lane.overlay[held] = None
            if way is Way.REDRIVE:
                self._again(lane, (offset_of(held), key, value))
                if key in lane.parked:
                    return
            self._letter_settled(lane, offset_of(held), way, message.by)
            way = Way.REDRIVE if way is Way.SKIP else way
        if waiting[RELEASED:]:
            lane.parked[key] = parked
            lane.overlay[parked_key(key)] = encode(parked)
            more = Release(id=f"{message.id}/more", at=message.at, key=message.key, way=way, by=message.by)
            self.outputs.append((lane.entity.inbox, lane.partition, key, encode(more)))

    def _again(self, lane: Lane, record: Record) -> None:
        """Decide a record that waited."""
        self._safely(lane, record, lambda: self._decide(lane, lane.decode(record[2]), record), again=True)

    def _letter_settled(self, lane: Lane, offset: int, way: Way, by: str) -> None:
        place = _place(lane, offset)
        self.outputs.append((DEAD_LETTERS.name, 0, place.encode(), encode(LetterSettled(id=place, at=now(), way=way, by=by))))

    # --- the rest of a batch --------------------------------------------------------------------------------------------

    def wake(self, at: datetime) -> None:
        """Put a `Wake` into the inbox of every entity whose time has come by `at`. Call it before `decide`."""
        for lane, key, wake_at in self.core.due(at):
            name = key.decode()
            late_s = int((at - wake_at).total_seconds())
            wake = Wake(id=f"{name}@{wake_at.isoformat()}", at=wake_at, key=name, late_s=late_s)
            self.outputs.append((lane.entity.inbox, lane.partition, key, encode(wake)))
        for lane in self.core.sweeping():
            for key in lane.swept():
                name = key.decode()
                wake = Wake(id=f"{name}~{at.isoformat()}", at=at, key=name)
                self.outputs.append((lane.entity.inbox, lane.partition, key, encode(wake)))
        self._woken = len(self.outputs)

    def seal(self) -> list[Written]:
        """All outputs: the changed states (one record a key, however often it changed), and behind a lane's its position."""
        for lane in self._lanes:
            lane.settle()
            changelog, partition = lane.entity.changelog, lane.partition
            self.outputs += [(changelog, partition, key, value) for key, value in lane.overlay.items()]
            self.outputs.append((changelog, partition, positions.POSITION, positions.written(lane.position)))
        return self.outputs

    def merge(self) -> None:
        """The transaction is committed: what was decided is the state."""
        for lane in self._lanes:
            if not self._careful:
                self.core.tallies[lane.entity.name].well(lane.overlay)
            lane.merge()


def _place(lane: Lane, offset: int) -> str:
    """How people name a record."""
    return f"{lane.entity.inbox}/{lane.partition}/{offset}"


class Core:
    """The lanes of one worker and when their entities want to be woken. `states` makes a lane's store of states."""

    def __init__(
        self,
        deciders: Iterable[Decider],
        table: Routes | None = None,
        states: Callable[[Entity, int], States] = lambda _entity, _partition: Memory(),
    ) -> None:
        self.deciders = {decider.entity.inbox: decider for decider in deciders}
        self.changelogs = {decider.entity.changelog: inbox for inbox, decider in self.deciders.items()}
        self.lanes: dict[tuple[str, int], Lane] = {}
        self.skips: set[tuple[str, int, int]] = set()
        self.tallies = {decider.entity.name: Tally(decider.entity.name) for decider in self.deciders.values()}
        self._table = table
        self.states = states

    def open(self, inbox: str, partition: int) -> Lane:
        """Begin a lane with what its store has; the rest comes by `Lane.restore`, and `Lane.begin` ends that."""
        decider = self.deciders[inbox]
        states = self.states(decider.entity, partition)
        lane = self.lanes[inbox, partition] = Lane(decider.entity, decider.decide, partition, self._table, states)
        return lane

    def sweeping(self) -> list[Lane]:
        """The lanes whose entities are still being woken to look at a new broadcast state."""
        return [lane for lane in self.lanes.values() if lane.sweep is not None]

    def next_wake(self) -> datetime | None:
        """When the next entity may want to be woken (it may have changed its mind)."""
        if self.sweeping():
            return LONG_AGO
        return min((wake for lane in self.lanes.values() if (wake := lane.next_wake())), default=None)

    def hold(self, at: datetime, end_of: Callable[[Lane], int], long: int = LONG_BACKLOG) -> None:
        """Wakes that have come, of a lane whose inbox holds a long backlog up to the offset `end_of`, are held."""
        for lane in self.lanes.values():
            if lane.wakes and (first := lane.states.agenda.next()) and first <= at:
                if end_of(lane) - lane.position <= long:
                    lane.held_until = None
                elif lane.held_until is None:
                    lane.held_until = at + HELD

    def due(self, at: datetime) -> Iterable[tuple[Lane, bytes, datetime]]:
        """The entities whose wake has come by `at` and is not held, in the order of each lane."""
        for lane in self.lanes.values():
            wake = lane.next_wake()
            if wake is not None and wake <= at:
                lane.held_until = None
                yield from ((lane, key, wake_at) for key, wake_at in lane.states.agenda.due(at))
