"""A watchdog: ends a process that hangs in a request to the log, and leaves one alone that waits because the machine is slow.

librdkafka does not always keep its time limits: when the broker dies under `send_offsets_to_transaction`, the call never
returns (2.16, most crashes of a broker); and a broker that is away from the cluster's metadata for a moment is taken out of
the client, whose transactions may stand still for over a minute behind its return. A limit in seconds cannot tell that from a
broker which has no processor: on an overloaded machine it ended processes that would have gone on, again and again. So the
limit is a number of looks at the broker, by a client of its own. When a broker has answered so many of them, one behind the
other, while a request to it stands, that request will never be answered. Where the broker is slow its answers are, too, and
the limit grows with them, twice over: there are fewer, and a late one counts for less, since a step waits for much that a look
does not. Where the broker is away nothing counts: to end would mend nothing.
"""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# Five seconds where the broker answers at once.
LOOKS: Final = 50
EVERY_S: Final = 0.1


class Watchdog:
    """Watches one thread's steps. `look`: asks the broker something; how much its answer counts, 0 for none in time, at most 1;
    None where there is no broker."""

    def __init__(self, name: str, look: Callable[[], float | None], end: Callable[[], None] | None = None) -> None:
        self._name = name
        self._look = look
        self._end = end or _end
        # What is under way, if anything, and the number of it: read and written as one, by two threads.
        self._step: tuple[int, str] = (0, "")
        self._seen = 0
        self._answered = 0.0
        self._stop = threading.Event()

    def start(self) -> "Watchdog":
        """Watch from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()
        return self

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    @contextmanager
    def watch(self, what: str) -> Iterator[None]:
        """Watch over what is done in the `with`. Cheap: no lock, nothing started."""
        self._step = (self._step[0] + 1, what)
        try:
            yield
        finally:
            self._step = (self._step[0], "")

    def turn(self) -> None:
        """Look at the broker if the step of the last turn is still under way; end the process after so many answers."""
        step = self._step
        number, what = step
        if number != self._seen or not what:
            self._seen, self._answered = number, 0.0
            return
        self._answered += self._look() or 0.0
        if self._answered >= LOOKS and self._step == step:
            told = f"{self._name}: hangs in {what}, while the broker has answered {LOOKS} looks"
            print(told, file=sys.stderr, flush=True)
            self._end()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.turn()


def _end() -> None:
    """Every thread's stack to stderr, then the end: what hangs in a client cannot be ended otherwise."""
    faulthandler.dump_traceback(all_threads=True)
    os._exit(1)
