"""The pulse as a Bytewax dataflow: a join of rings and answers, and sums over windows of a second and a minute, with Bytewax's
own operators. Words and laws: `pipelines.pulse`.

The clock of all windows is told by the input: an item of each metric for each tick, which also makes a window of a span in
which nothing happened. No window looks at the machine's clock, so that a replay closes each one at the same place of the log.
For that the steps must see the seconds one behind the other whichever way they took: each batch of the input, a second, is an
epoch of its own (an epoch's interval is zero), and Bytewax's stateful steps take epochs in order. Within an epoch the answers
may come before the next tick or behind it, so whether one is late is not left to the window. The join alone has the machine's
clock: only in order to forget calls of which the other side never comes.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import Source
from bytewax.operators import KeyedStream
from bytewax.outputs import Sink
from msgspec.structs import replace

from pipelines.pulse import LATE_S, TICK_S, WAIT_S, Resume, Second, Side, Way, counts_of_answer
from pipelines.runtime import metrics
from schemas.log.base import EPOCH
from schemas.pulse import LEVELS, MINUTE_S, SECOND_S, Pulse, PulseWindow, shown, window_key

WIDTHS: Final = (SECOND_S, MINUTE_S)
# A call rings half a minute; its answer is heard at most this much later, or is not joined.
RING_GAP: Final = timedelta(seconds=60)
JOIN_WAIT: Final = timedelta(minutes=5)

Keyed = tuple[str, tuple[Way, "Amount"]]


class Amount(NamedTuple):
    """`by` of a metric happened in the second `at`, and was heard in `clock`."""

    metric: Pulse
    at: int
    by: int
    clock: int


class Total(NamedTuple):
    """What has fallen into a window."""

    metric: Pulse | None = None
    by: int = 0


class Numbers:
    """What one metric's windows of one width were, as far back as LATE_S, and the level: the step behind the windows."""

    def __init__(self, metric: Pulse, width_s: int, level: int) -> None:
        self.metric = metric
        self.width_s = width_s
        self.level = level
        self._recent: dict[int, PulseWindow] = {}
        self._late: Counter[int] = Counter()

    def __deepcopy__(self, _: Any) -> "Numbers":
        """Itself. Bytewax copies a step's state at the end of each epoch, which is each second here, for a recovery that this
        flow does not use: it goes on from what it wrote. The copies took six sevenths of its time."""
        return self

    def close(self, start: int, total: int) -> PulseWindow:
        """A window has closed."""
        self.level += total
        closed_at, tick_s = start + self.width_s + WAIT_S[self.width_s], TICK_S[self.width_s]
        found = PulseWindow(
            id=window_key(self.metric, self.width_s, start), at=EPOCH + timedelta(seconds=start), metric=self.metric,
            width_s=self.width_s, value=shown(self.level if self.metric in LEVELS else total),
            as_of=EPOCH + timedelta(seconds=-(-closed_at // tick_s) * tick_s), late=shown(self._late[start]),
        )  # fmt: skip
        self._recent[start] = found
        for known in (self._recent, self._late):
            for old in [old for old in known if old <= start - LATE_S]:
                del known[old]
        return found

    def late(self, amount: Amount) -> PulseWindow | None:
        """Something came too late for its window; the window as it is now, if it has closed and is remembered."""
        self.level += amount.by
        start = amount.at // self.width_s * self.width_s
        if start > max(self._recent, default=0) - LATE_S:
            self._late[start] += amount.by
        if start not in self._recent:
            return None
        found = self._recent[start] = replace(self._recent[start], late=shown(self._late[start]))
        return found


def dataflow(name: str, source: Source[Any], sink: Sink[Any], resume: Resume) -> Dataflow:
    """The flow: `source` gives `Second`s one by one, `sink` takes (key, `PulseWindow`)."""
    flow = Dataflow(name)
    heard = op.input("input", flow, source)
    rings = op.flat_map("rings", heard, lambda second: [(side.call, side) for side in second.sides if side.rings])
    answers = op.flat_map("answers", heard, lambda second: [(side.call, side) for side in second.sides if not side.rings])
    pairs = win.join_window(
        "ring_and_answer", win.EventClock(_moment_of, JOIN_WAIT), win.SessionWindower(RING_GAP), rings, answers,
        insert_mode="first", emit_mode="complete", ordered=False,
    )  # fmt: skip
    written = [_windows(heard, pairs.down, Width(width_s, resume)) for width_s in WIDTHS]
    op.output("write", op.merge("windows", *written), sink)
    return flow


def _windows(heard: Stream[Second], pairs: KeyedStream[Any], width: "Width") -> KeyedStream[PulseWindow]:
    """The windows of one width, and what corrects them."""
    mark = f"_{width.width_s}"
    counted = op.flat_map(f"counted{mark}", heard, width.counted)
    answered = op.flat_map(f"answered{mark}", pairs, width.answered)
    apart = op.branch(f"apart{mark}", op.merge(f"amounts{mark}", counted, answered), lambda keyed: keyed[1][0] is Way.WINDOW)
    out = win.fold_window(
        f"sum{mark}", apart.trues, width.clock, win.TumblingWindower(timedelta(seconds=width.width_s), EPOCH), Total,
        lambda total, given: Total(given[1].metric, total.by + given[1].by),
        lambda one, other: Total(one.metric, one.by + other.by), ordered=False,
    )  # fmt: skip
    steps = op.merge(f"steps{mark}", out.down, out.late, apart.falses)
    return op.stateful_flat_map(f"numbers{mark}", steps, width.number)


class Width:
    """What the windows of one width take and tell."""

    def __init__(self, width_s: int, resume: Resume) -> None:
        self.width_s = width_s
        self._resume = resume
        # Stands still unless an item moves it, and wakes nobody.
        self.clock: win.EventClock[Any] = win.EventClock(
            lambda given: EPOCH + timedelta(seconds=given[1].at), timedelta(seconds=WAIT_S[width_s]), lambda: EPOCH,
            lambda _: None,
        )  # fmt: skip

    def counted(self, second: Second) -> Iterator[Keyed]:
        """What was heard in a second, and then the next one's tick."""
        for (metric, at), by in second.sums.items():
            yield from self._amount(Amount(metric, at, by, second.clock))
        tick = second.clock + 1
        if tick % TICK_S[self.width_s] == 0 and self._resume.way(self.width_s, tick, tick) is Way.WINDOW:
            for metric in Pulse:
                yield metric.value, (Way.WINDOW, Amount(metric, tick, 0, tick))

    def answered(self, pair: tuple[str, tuple[int, tuple[Side, Side]]]) -> Iterator[Keyed]:
        """What a ring and its answer count for. It is late if it is so for the next second's tick, which may be here before."""
        ring, answer = pair[1][1]
        clock = max(ring.clock, answer.clock)
        at, tick_s = min(answer.ms // 1_000, clock), TICK_S[self.width_s]
        late = at < (clock + 1) // tick_s * tick_s - WAIT_S[self.width_s]
        for metric, by in counts_of_answer(ring, answer):
            for key, (way, amount) in self._amount(Amount(metric, at, by, clock)):
                yield key, (Way.LATE if late and way is Way.WINDOW else way, amount)

    def _amount(self, amount: Amount) -> Iterator[Keyed]:
        way = self._resume.way(self.width_s, amount.at, amount.clock)
        if amount.by and (way is Way.WINDOW or (way is Way.LEVEL and amount.metric in LEVELS)):
            yield amount.metric.value, (way, amount)

    def number(self, numbers: Numbers | None, given: Any) -> tuple[Numbers, Iterable[PulseWindow]]:
        """A window that closed (its number, `Total`), what came late to one (its number, (way, `Amount`)), (way, `Amount`)."""
        place, found = given
        if isinstance(found, Total):
            assert found.metric is not None
            numbers = numbers or self._begun(found.metric)
            closed = numbers.close(place * self.width_s, found.by)
            if self.width_s == SECOND_S and found.metric in LEVELS:
                metrics.PULSE_LEVEL.labels(found.metric).set(closed.value)
            return numbers, (closed,)
        amount: Amount = found if isinstance(found, Amount) else found[1]
        numbers = numbers or self._begun(amount.metric)
        if place is Way.LEVEL:
            numbers.level += amount.by
            return numbers, ()
        if self.width_s == MINUTE_S:
            metrics.PULSE_LATE.labels(amount.metric).inc(abs(amount.by))
        changed = numbers.late(amount)
        return numbers, (changed,) if changed else ()

    def _begun(self, metric: Pulse) -> Numbers:
        return Numbers(metric, self.width_s, (self._resume.levels or {}).get(metric, 0))


def _moment_of(side: Side) -> datetime:
    return datetime.fromtimestamp(side.ms / 1_000, UTC)
