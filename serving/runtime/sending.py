"""The producer of one serving process, and the thread that hears what became of each record.

A producer from whose metadata a node was away for a moment may wait for that node for minutes (librdkafka 2.16), while a new
one delivers at once. So a producer is replaced that has not delivered to a partition for STUCK_S. What it still held fails;
its clients send the same command again, which counts once.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, Producer

# Longer than a leader is elected where the machine has time for it; a replacement that mends nothing harms nothing.
STUCK_S: Final = 5.0

Settled = Callable[[KafkaError | None], None]


class Sender:
    """Sends records. `new`: makes a producer."""

    def __init__(self, new: Callable[[], Producer]) -> None:
        self._new = new
        self._producer = new()
        # Since when nothing was delivered to a partition, though something was sent: (topic, partition) -> monotonic time.
        self._failing: dict[tuple[str, int], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)
        self._thread.start()

    def send(self, topic: str, value: bytes, key: bytes, partition: int, settled: Settled) -> None:
        """`settled` is called in another thread, with the error if the record was not delivered. Errors: BufferError."""
        producer = self._producer

        def delivered(error: KafkaError | None, _: Any) -> None:
            if error is None:
                self._failing.pop((topic, partition), None)
            elif producer is self._producer:
                self._failing.setdefault((topic, partition), time.monotonic())
            settled(error)

        producer.produce(topic, value, key, partition, on_delivery=delivered)

    def stop(self) -> None:
        """Deliver what is under way, then end."""
        self._producer.flush(2)
        self._stop.set()
        self._thread.join(2)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.1)
            if self._failing and time.monotonic() - min(self._failing.values()) > STUCK_S:
                self._replace()

    def _replace(self) -> None:
        old, self._producer = self._producer, self._new()
        self._failing.clear()
        # In a thread of its own: its end may wait for the node, too.
        threading.Thread(target=_let_go, args=(old,), name="producer-let-go", daemon=True).start()


def _let_go(producer: Producer) -> None:
    """Whoever waits for what it holds is told; then it ends. Somebody may be handing it a last record at this moment."""
    time.sleep(1)
    producer.purge()
    producer.poll(1)
