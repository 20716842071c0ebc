"""The board: what the pulse told last, worked out once a second for all panels that are open, each number with its `as_of`.

While nobody looks, nothing is read: with the first panel a thread begins to follow `pulse.seconds`, five minutes back; a
moment behind the last one it ends. The board runs in the event loop alone. Of counts it shows how much came in the last minute,
of ring and answer the share and the time of the last five. The memory: five minutes of seconds of each metric, and SAMPLES
samples at most.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

import msgspec
from confluent_kafka import TopicPartition
from prometheus_client import Gauge

from infra.config import Config
from infra.kafka import TIMEOUT_S, reader, records_of
from schemas.log.base import unix_second
from schemas.log.topics import PULSE_SECONDS
from schemas.pulse import LEVELS, SECOND_S, Pulse, PulseWindow, window_of
from serving.runtime.feed import Send, send_now
from serving.runtime.stream import RETRY

log = logging.getLogger("olo.now")

# So long a panel that opens sees back.
BACK_S: Final = 300
# Of each number a point is kept every so often.
POINT_S: Final = 5
MINUTE_S: Final = 60
# At most so often panels are told what has changed.
TELL_S: Final = 0.5
IDLE_S: Final = 3.0
# Flows are a handful; whatever else may stand in the topic, no more numbers than this are kept.
SAMPLES: Final = 500
COUNTS: Final = tuple(metric for metric in Pulse if metric not in {*LEVELS, Pulse.RANG, Pulse.ANSWERED, Pulse.ANSWER_MS})

PANELS = Gauge("olo_panels", "Open streams of the panel's page Now")

Numbers = dict[str, tuple[float | None, datetime]]


class Watcher:
    """One open panel: how it is written to, how its stream is ended, and whether it has missed what was told."""

    __slots__ = ("behind", "cut", "send")

    def __init__(self, send: Send, cut: Callable[[], None]) -> None:
        self.send = send
        self.cut = cut
        self.behind = False


class Board:
    """All numbers, and whoever looks at them. `follow` begins to bring windows to `take`, and gives what ends that."""

    def __init__(self, follow: Callable[["Board"], Callable[[], None]]) -> None:
        self._follow = follow
        self._end: Callable[[], None] | None = None
        self._watchers: set[Watcher] = set()
        self._seconds: dict[str, dict[int, int]] = {metric: {} for metric in Pulse}
        self._samples: dict[str, tuple[int, datetime]] = {}
        self._as_of: datetime | None = None
        self._points: dict[str, deque[tuple[int, float | None]]] = {}
        self._told: Numbers = {}
        self._telling: asyncio.TimerHandle | None = None

    # --- who looks ---------------------------------------------------------------------------------------------------------

    def open(self, send: Send, cut: Callable[[], None]) -> Watcher:
        """A panel is open, whose answer has begun: it is sent everything, and then what changes. `cut`: ends its stream."""
        watcher = Watcher(send, cut)
        self._watchers.add(watcher)
        PANELS.inc()
        if self._end is None:
            self._end = self._follow(self)
        watcher.behind = not send_now(send, RETRY + self.snapshot())
        return watcher

    def close(self, watcher: Watcher) -> None:
        """A panel has ended."""
        self._watchers.discard(watcher)
        PANELS.dec()
        asyncio.get_running_loop().call_later(IDLE_S, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if not self._watchers:
            self.stop()

    def cut(self) -> None:
        """The process ends: let every panel go and look elsewhere."""
        for watcher in list(self._watchers):
            watcher.cut()

    def stop(self) -> None:
        """Follow the log no more; the next panel begins anew."""
        if self._end:
            self._end()
        self._end = None

    # --- what is seen ------------------------------------------------------------------------------------------------------

    def take(self, windows: Iterable[PulseWindow]) -> None:
        """Windows have come, in the order in which they were written."""
        for window in windows:
            second = unix_second(window.at)
            if window.width_s != SECOND_S:
                if window.metric in self._samples or len(self._samples) < SAMPLES:
                    self._samples[window.metric] = window.value, window.as_of
            elif window.metric in self._seconds:
                if self._as_of is None or window.as_of > self._as_of:
                    self._point()
                    self._as_of = window.as_of
                known = self._seconds[window.metric]
                known[second] = window.value + (0 if window.metric in LEVELS else window.late)
                known.pop(second - BACK_S, None)
        if self._watchers and self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_S, self._tell)

    def _point(self) -> None:
        """The numbers as they stood, now and then, for the small curves."""
        if self._as_of is None or unix_second(self._as_of) % POINT_S:
            return
        for name, (value, as_of) in self.numbers().items():
            self._points.setdefault(name, deque(maxlen=BACK_S // POINT_S)).append((unix_second(as_of), value))

    def numbers(self) -> Numbers:
        """All numbers as they stand."""
        found: Numbers = {name: (value, as_of) for name, (value, as_of) in self._samples.items()}
        if self._as_of is None:
            return found
        for metric in LEVELS:
            known = self._seconds[metric]
            found[metric] = (known[max(known)] if known else None, self._as_of)
        for metric in COUNTS:
            found[metric] = (self._sum(metric, MINUTE_S), self._as_of)
        rang, answered, took = (self._sum(one, BACK_S) for one in (Pulse.RANG, Pulse.ANSWERED, Pulse.ANSWER_MS))
        found["accept_percent"] = (round(100 * answered / rang, 1) if rang else None, self._as_of)
        found["answer_s"] = (round(took / answered / 1_000, 1) if answered else None, self._as_of)
        return found

    def _sum(self, metric: Pulse, span_s: int) -> int:
        known = self._seconds[metric]
        after = max(known, default=0) - span_s
        return sum(value for second, value in known.items() if second > after)

    def snapshot(self) -> bytes:
        """Everything, with the recent past, as an event."""
        numbers = [
            {"name": name, "value": value, "as_of": as_of, "recent": list(self._points.get(name, ()))}
            for name, (value, as_of) in self.numbers().items()
        ]
        return _event("snapshot", {"point_s": POINT_S, "numbers": numbers})

    def _tell(self) -> None:
        """Send what has changed to all panels: it is worked out and encoded once, and written without waiting. A panel that
        does not read what it was sent is sent everything, as soon as it reads again."""
        self._telling = None
        numbers = self.numbers()
        changed = {name: number for name, number in numbers.items() if self._told.get(name) != number}
        self._told = numbers
        if not changed:
            return
        rows = [{"name": name, "value": value, "as_of": as_of} for name, (value, as_of) in changed.items()]
        event = _event("numbers", {"numbers": rows})
        snapshot = self.snapshot() if any(watcher.behind for watcher in self._watchers) else b""
        for watcher in self._watchers:
            watcher.behind = not send_now(watcher.send, snapshot if watcher.behind else event)


def _event(name: str, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


def follower(config: Config) -> Callable[[Board], Callable[[], None]]:
    """Brings what the log has, and what comes, to a board, by a thread of its own."""

    def follow(board: Board) -> Callable[[], None]:
        loop, stopped = asyncio.get_running_loop(), threading.Event()
        threading.Thread(target=_read, args=(config, board, loop, stopped), name="now", daemon=True).start()
        return stopped.set

    return follow


def _read(config: Config, board: Board, loop: asyncio.AbstractEventLoop, stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            with reader(config, {"fetch.wait.max.ms": 500}) as consumer:
                begin_ms = round((time.time() - BACK_S) * 1_000)
                consumer.assign(consumer.offsets_for_times([TopicPartition(PULSE_SECONDS.name, 0, begin_ms)], TIMEOUT_S))
                while not stopped.is_set():
                    records = records_of(consumer.consume(5_000, 0.25))
                    windows = [found for record in records if (found := window_of(record.value() or b""))]
                    if windows and not loop.is_closed():
                        loop.call_soon_threadsafe(board.take, windows)
        except Exception as error:  # a broker that is away: what panels have is old by its as_of meanwhile
            log.warning("the pulse cannot be read yet: %s", type(error).__name__)
            stopped.wait(1.0)
