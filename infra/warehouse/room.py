"""Room for others: threads of long statements of people have one half of the cores, all other threads of ours the other half.

Where this process may also take a lower priority back (root, or the capability SYS_NICE), long ones have the lowest meanwhile.
Threads go back to the engine's pool behind a statement, so nothing may stick to them. On a single core, and on macOS, where a
thread cannot be told its cores, there is no such room.
"""

import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

TASKS: Final = Path("/proc/self/task")
LOWEST: Final = 19


class Room:
    """Which threads of this process are confined."""

    def __init__(self) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        self._nice = may_take_back()
        self._confined: set[int] = set()
        self._lock = threading.Lock()

    def confine(self, threads: Iterable[int]) -> None:
        """Confine these, too, and place what has been started since."""
        with self._lock:
            self._confined |= set(threads)
            self._place()

    def release(self, threads: Iterable[int]) -> None:
        """These are like others again."""
        with self._lock:
            if released := self._confined.intersection(threads):
                self._confined -= released
                self._place()

    def _place(self) -> None:
        if sys.platform != "linux" or len(self._cores) < 2:
            return
        # One that has ended may be another process's by now.
        alive = {int(task.name) for task in TASKS.iterdir()}
        self._confined &= alive
        half = len(self._cores) // 2
        others = self._cores[:-half] if self._confined else self._cores
        for thread in alive:
            confined = thread in self._confined
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, self._cores[-half:] if confined else others)
                if self._nice and confined != (os.getpriority(os.PRIO_PROCESS, thread) == LOWEST):
                    os.setpriority(os.PRIO_PROCESS, thread, LOWEST if confined else 0)


def may_take_back() -> bool:
    """Whether a thread of this process may have a lower priority for a while."""
    if sys.platform != "linux":
        return False
    able: list[bool] = []

    def attempt() -> None:
        thread = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, thread)
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, before + 1)
            os.setpriority(os.PRIO_PROCESS, thread, before)
            able.append(before == 0)

    trying = threading.Thread(target=attempt)
    trying.start()
    trying.join()
    return bool(able)
