"""Replay: one partition's inbox, decided again by the same core, and held against what was written. It writes nothing.

What decides is the inbox in its order. Wakes, releases and rules that a partition shares are records of it like any other, and
where a batch ends decides nothing, but for one thing: the host weighs what a batch has made, and a state that is too large for
the log only between two records of one batch may pass. Therefore nothing is weighed here, and dead letters are an input: they
say which records could not be decided when they came, and those are put aside or parked again, whatever today's deciders would
make of them. The host's own clock shows in why an entity is parked; that time is not compared, nor are the words, which the
warehouse has not.

A replay differs, and says where, when a decider was changed so that it decides old records otherwise, or a state's schema so
that it is written otherwise. It begins with nothing, and therefore needs the inbox from its first record on (`flows.history`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum, auto
from itertools import islice
from typing import Final, NamedTuple

from msgspec.structs import replace

from pipelines.runtime.core import Batch, Core, Decider, Record
from pipelines.runtime.lane import Lane, Routes
from schemas.log.base import EPOCH, Message
from schemas.log.codec import encode
from schemas.log.dead_letters import PARKING, DeadCause, DeadLetter
from schemas.log.outward import line_of
from schemas.log.parking import PARKED, Parked, held_key, parked_key, read_parked
from schemas.log.positions import POSITION
from schemas.log.topics import DEAD_LETTERS

SLICE: Final = 5_000


class Recorded(NamedTuple):
    """What the log has of one partition of an entity: `position`, up to where its inbox was decided; `inbox(start, end)`, the
    records between two offsets (end None: all there are); its own facts as (offset, key, value), which may go on behind the
    position; the states at the position, also under reserved keys; the letters of the inbox's records, in order."""

    position: int
    inbox: Callable[[int, int | None], Iterable[Record]]
    facts: Iterable[Record]
    states: Mapping[bytes, bytes]
    letters: Iterable[DeadLetter] = ()


class Difference(NamedTuple):
    """Where a replay and the log differ first. `offset`: of the fact, or -1; `cause`: which record of the inbox was decided."""

    topic: str
    partition: int
    offset: int
    key: bytes
    written: bytes | None
    decided: bytes | None
    cause: str = ""

    def __str__(self) -> str:
        place = f"{self.topic}/{self.partition}" + (f"/{self.offset}" if self.offset >= 0 else "")
        because = f" ({self.cause})" if self.cause else ""
        written, decided = line_of(self.topic, self.written), line_of(self.topic, self.decided)
        hidden = " (they differ in what is personal)" if written == decided and self.written != self.decided else ""
        return f"{place}, key {self.key!r}: written {written}, decided {decided}{hidden}{because}"


class RecordedFailureError(Exception):
    """This record could not be decided when it came, says its letter."""

    def __init__(self, letter: DeadLetter) -> None:
        super().__init__(letter.id)
        self.letter = letter


class ReplayError(Exception):
    """A record that was decided when it came cannot be decided today. The cause is chained."""


class Fact(NamedTuple):
    """A fact of the entity's own, and the offset of the record that it was decided from."""

    cause: int
    key: bytes
    value: bytes | None


class Trace(Enum):
    """What a record that was decided leaves: a fact or a letter, which is there or is not (`PROOF`); states that were lost, or
    messages to others (`LOST`); or nothing, so that it is the same whether it was decided (`NONE`)."""

    PROOF = auto()
    LOST = auto()
    NONE = auto()


class _Again(Batch):
    """A batch that fails where the letters say so, and nowhere else."""

    def __init__(self, core: Core, failed: Mapping[int, deque[DeadLetter]]) -> None:
        super().__init__(core)
        self._failed = failed
        self._careful = True

    def again(self, lane: Lane, record: Record) -> None:
        """Decide a record. Errors: ReplayError."""
        # How many in a row is for the host, which stops there and is started again.
        lane.dead_in_a_row = 0
        self._safely(lane, record, lambda: self.take(lane, *record))

    def _decide(self, lane: Lane, message: Message, record: Record) -> None:
        if letters := self._failed.get(record[0]):
            raise RecordedFailureError(letters.popleft())
        super()._decide(lane, message, record)

    def _safely(self, lane: Lane, record: Record, decide: Callable[[], None], *, again: bool = False) -> None:
        del again
        offset, key, value = record
        try:
            decide()
        except RecordedFailureError as failure:
            letter = failure.letter
            lane.parked[key] = Parked(letter.cause, letter.error, letter.id, letter.kind, letter.at)
            lane.overlay[parked_key(key)] = encode(lane.parked[key])
            lane.overlay[held_key(key, offset)] = value
        except Exception as error:
            raise ReplayError(f"{lane.entity.inbox}/{lane.partition}/{offset} cannot be decided today: {error}") from error


class Replay:
    """One partition of one entity from its very beginning. `letters`: of its inbox's records, in order; `slice_`: after how
    many records what was decided becomes the state, which changes nothing."""

    def __init__(
        self,
        decider: Decider,
        partition: int,
        letters: Iterable[DeadLetter] = (),
        table: Routes | None = None,
        slice_: int = SLICE,
    ) -> None:
        self.entity = decider.entity
        self.partition = partition
        self._core = Core([decider], table)
        self._lane = self._core.open(self.entity.inbox, partition)
        self._lane.begin()
        self._slice = slice_
        self._failed: dict[int, deque[DeadLetter]] = {}
        for letter in letters:
            if letter.cause not in PARKING:
                self._core.skips.add((self.entity.inbox, partition, letter.offset))
            elif letter.cause is not DeadCause.BEHIND:
                self._failed.setdefault(letter.offset, deque()).append(letter)

    def decide(self, records: Iterable[Record]) -> Iterator[Fact]:
        """The entity's own facts, as the records lead to them; `states` are complete when all are taken. Errors:
        ReplayError."""
        rest = iter(records)
        while portion := list(islice(rest, self._slice)):
            batch = _Again(self._core, self._failed)
            for record in portion:
                told = len(batch.outputs)
                batch.again(self._lane, record)
                for topic, _, key, value in batch.outputs[told:]:
                    if topic == self.entity.events:
                        yield Fact(record[0], key, value)
            try:
                batch.merge()
            except Exception as error:
                raise ReplayError(f"{self.entity.inbox}/{self.partition}/{portion[-1][0]}: {error}") from error

    def trace(self, record: Record) -> Trace:
        """What the log would have of the next record, had it been decided. Errors: ReplayError."""
        batch = _Again(self._core, self._failed)
        batch.again(self._lane, record)
        found = Trace.NONE
        for topic, _, key, value in batch.seal():
            if topic in (self.entity.events, DEAD_LETTERS.name):
                return Trace.PROOF
            if topic != self.entity.changelog or (key != POSITION and self._lane.states.get(key) != value):
                found = Trace.LOST
        batch.merge()
        return found

    @property
    def states(self) -> dict[bytes, bytes]:
        """All states, and what stands under reserved keys but the position."""
        return dict(self._lane.states.under(b""))


def first_difference(replay: Replay, recorded: Recorded) -> Difference | None:
    """Decide all of it again; the first place where the log has something else. The facts behind the position are held against
    the records behind it, as far as there are facts: the flow may be deciding meanwhile."""
    written = iter(recorded.facts)
    try:
        facts = replay.decide(recorded.inbox(0, recorded.position))
        found = next(filter(None, (differs(replay, fact, next(written, None)) for fact in facts)), None)
        found = found or states_differ(replay, recorded.states)
        if found:
            return found
        more = replay.decide(recorded.inbox(recorded.position, None))
        return next(filter(None, (differs(replay, next(more, None), fact) for fact in written)), None)
    except ReplayError as error:
        return Difference(replay.entity.inbox, replay.partition, -1, b"", None, None, str(error))


def differs(replay: Replay, decided: Fact | None, written: Record | None) -> Difference | None:
    """Whether a fact is another one than that which was written; None: there is none."""
    if decided is not None and written is not None and decided[1:] == written[1:]:
        return None
    key = written[1] if written else decided.key if decided else b""
    cause = f"of {replay.entity.inbox}/{replay.partition}/{decided.cause}" if decided else "nothing in the inbox leads to it"
    return Difference(
        replay.entity.events,
        replay.partition,
        written[0] if written else -1,
        key,
        written[2] if written else None,
        decided.value if decided else None,
        cause,
    )


def states_differ(replay: Replay, written: Mapping[bytes, bytes]) -> Difference | None:
    """The first key, in their order, whose state is another one than that which was written."""
    decided = replay.states
    for key in sorted(decided.keys() | written.keys()):
        if _timeless(key, decided.get(key)) != _timeless(key, written.get(key)):
            return Difference(replay.entity.changelog, replay.partition, -1, key, written.get(key), decided.get(key))
    return None


def _timeless(key: bytes, value: bytes | None) -> bytes | None:
    """A state; why an entity is parked, without the host's clock and words."""
    if value is None or not key.startswith(PARKED):
        return value
    return encode(replace(read_parked(value), at=EPOCH, error=""))
