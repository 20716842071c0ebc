"""The pulse's input and output: the facts' topics, read by hand from a time on, and windows written to topics of their own.

The input is in no consumer group: where to begin follows from what was written (`resume_from`). Errors: KafkaException, final.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from infra.config import Config
from infra.kafka import TIMEOUT_S, BoundedRead, Record, ask_patiently, ends_of, quiet, reader, records_of
from pipelines.pulse import HEARD, Resume, Second, Seconds, resume_of
from pipelines.runtime import metrics
from pipelines.runtime.lag import Lag
from schemas.log.base import Fact, Message, unix_second
from schemas.log.codec import decoder_of, encode
from schemas.log.topics import PULSE_MINUTES, PULSE_SECONDS
from schemas.pulse import LEVELS, MINUTE_S, Pulse, PulseWindow, window_of

NAME: Final = "pulse"
POLL_S: Final = 0.1
BATCH_RECORDS: Final = 20_000
# A partition of which all is read is heard up to this moment ago: what was logged since may still be on its way.
SETTLE_MS: Final = 700
# Of its own minutes it reads so many records back: some two hours of all metrics.
BACK_RECORDS: Final = 3_000

Decode = Callable[[bytes], Message]


def resume_from(config: Config) -> Resume:
    """Where the flow goes on, by the minutes that stand in the log."""
    place = (PULSE_MINUTES.name, 0)
    end = ask_patiently("the end of the pulse", config, lambda plain: ends_of(plain, [place]))[place]
    written: dict[tuple[Pulse, int], int] = {}
    with BoundedRead(config, [TopicPartition(*place, max(0, end - BACK_RECORDS))], {place: end}) as read:
        while not read.done:
            for record in read.next():
                window = window_of(record.value() or b"")
                if window is not None and window.metric in set(Pulse):
                    written[Pulse(window.metric), unix_second(window.at)] = window.value
    return resume_of(written, LEVELS, int(time.time()))


class Input(StatelessSourcePartition[Any]):
    """What was heard, second by second. `stopped`: whether to end; `closed` is set before the windows are told of
    the end, which closes them all before their time."""

    def __init__(self, config: Config, resume: Resume, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self.closed = False
        self._ready: deque[Second] = deque()
        self._decode: dict[str, tuple[tuple[bytes, ...], Decode]] = {
            topic: (tuple(f'{{"type":"{kind.__name__}"'.encode() for kind in kinds), decoder_of(kinds))
            for topic, kinds in HEARD.items()
        }
        # What the client knows of ends is nothing at first, and then as old as its last fetch.
        self._ends, starts = ask_patiently("where the pulse begins", config, lambda plain: _starts(plain, config, resume))
        places = list(self._ends)
        self._seconds = Seconds(places, resume.begin, resume.minute)
        self._consumer = reader(config, {"queued.min.messages": 20_000})
        self._consumer.assign(starts)
        self._held: set[tuple[str, int]] = set()
        self._lag = Lag(NAME, self._consumer)
        self._at = {(start.topic, start.partition): start.offset for start in starts}
        metrics.PARTITIONS.labels(NAME).set(len(places))

    def next_batch(self) -> list[Second]:
        """What was heard in a second of the log; each batch is an epoch."""
        if self._stopped():
            self.closed = True
            raise StopIteration
        if not self._ready:
            self._hear()
        return [self._ready.popleft()] if self._ready else []

    def _hear(self) -> None:
        asked_ms = round(time.time() * 1_000) - SETTLE_MS
        records = records_of(self._consumer.consume(BATCH_RECORDS, POLL_S))
        for record in records:
            self._put(record)
        for part in self._consumer.position([TopicPartition(*place) for place in self._at]):
            place = (part.topic, part.partition)
            self._at[place] = max(part.offset, self._at[place])
            if self._at[place] >= max(self._ends[place], self._lag.end_of(*place)):
                self._seconds.reach(place, asked_ms)
        if records:
            self._lag.took(records[-1])
            metrics.DECIDED.labels(NAME).inc(len(records))
        self._lag.publish(self._at.items())
        for second in self._seconds.whole():
            self._ready.append(second)
        self._hold()

    def _hold(self) -> None:
        """Read on only where the others are not far behind. Errors: KafkaException."""
        far = self._seconds.far(self._held)
        if pause := far - self._held:
            self._consumer.pause([TopicPartition(*place) for place in pause])
        if resume := self._held - far:
            self._consumer.resume([TopicPartition(*place) for place in resume])
        self._held = far

    def _put(self, record: Record) -> None:
        topic, value, logged_ms = record.topic(), record.value() or b"", record.timestamp()[1]
        self._seconds.reach((topic, record.partition()), logged_ms)
        kinds, decode = self._decode[topic]
        if value.startswith(kinds):
            try:
                fact = decode(value)
            except ValueError:  # nobody's fact: whoever decides on it has put it aside
                return
            assert isinstance(fact, Fact)
            self._seconds.put(fact, logged_ms)

    def next_awake(self) -> None:
        """At once: the input waits for records by itself."""

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()


def _starts(plain: Consumer, config: Config, resume: Resume) -> tuple[dict[tuple[str, int], int], list[TopicPartition]]:
    """Where each partition ends now, and where to begin with it: at a time, or, where nothing was counted yet, at its
    beginning."""
    places = [(topic, partition) for topic in HEARD for partition in range(config.partitions)]
    ends = ends_of(plain, places)
    if resume.levels is None:
        return ends, [TopicPartition(*place, 0) for place in places]
    asked = plain.offsets_for_times([TopicPartition(*place, resume.begin * 1_000) for place in places], TIMEOUT_S)
    for part in asked:
        if part.error:
            raise KafkaException(part.error)
        if part.offset < 0:  # nothing was logged since
            part.offset = ends[part.topic, part.partition]
    return ends, asked


class InputSource(DynamicSource[Any]):
    """The one input of the one worker."""

    def __init__(self, given: Input) -> None:
        self._given = given

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> Input:
        """Bytewax asks for it."""
        return self._given


class Output(StatelessSinkPartition[Any]):
    """Writes windows, each in the order in which it changed. Also takes samples, from another thread."""

    def __init__(self, config: Config) -> None:
        self._failed: list[KafkaError] = []
        self._producer = Producer(quiet(config, **{"enable.idempotence": True, "linger.ms": 20}))
        self.open: Callable[[], bool] = lambda: True

    def write_batch(self, items: list[tuple[str, PulseWindow]]) -> None:
        """Write them, unless the flow is ending. Errors: KafkaException, of an earlier one that the broker did not take."""
        if self.open():
            self.write(window for _, window in items)
            metrics.mark_working(NAME)

    def write(self, windows: Iterable[PulseWindow]) -> None:
        """Write windows. Errors: KafkaException."""
        for window in windows:
            topic = PULSE_MINUTES if window.width_s == MINUTE_S else PULSE_SECONDS
            self._producer.produce(topic.name, encode(window), window.id.encode(), 0, on_delivery=self._delivered)
            metrics.WRITTEN.labels(NAME).inc()
        self._producer.poll(0)
        if self._failed:
            raise KafkaException(self._failed[0])

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self._failed.append(error)

    def close(self) -> None:
        """Wait for what is on its way; what does not get there is counted again by the next process."""
        self._producer.flush(TIMEOUT_S)


class OutputSink(DynamicSink[Any]):
    """The one output of the one worker."""

    def __init__(self, given: Output) -> None:
        self._given = given

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> Output:
        """Bytewax asks for it."""
        return self._given
