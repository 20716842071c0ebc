"""When a process looks for objects that only hold each other: by time, not by how many were made.

Python does so every 700 new objects, which costs a flow that makes 100,000 tuples a batch a quarter of its rate, and serving a
tenth of a delivery. With a limit of 100,000 it hardly ever does where few are made: an HTTP request to a vendor leaves 59 such
objects, 4 to 7 KB, and they lie there for minutes. So the limit stays high, and all is looked through every so often besides,
between two batches. What was there at the start stays for good and is not looked at.
"""

import gc
import time
from typing import Final

EVERY_S: Final = 10.0
LIMITS: Final = (100_000, 50, 100)


class Cycles:
    """One process's looks: `turn` is to be called often."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.every_s = every_s
        gc.set_threshold(*LIMITS)
        gc.collect()
        gc.freeze()
        self._next = time.monotonic() + self.every_s

    def turn(self) -> None:
        """Let go of what only holds itself, if it is time."""
        moment = time.monotonic()
        if moment >= self._next:
            gc.collect()
            self._next = time.monotonic() + self.every_s
