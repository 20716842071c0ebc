"""Room for others: threads of long statements of people run when nobody else wants to.

Where this process may also take such a policy back (root, or the capability SYS_NICE), their policy is the kernel's `idle`: a
core on which they run counts as free, and whoever wakes up has it at once. Elsewhere they have one half of the cores, and all
other threads of ours the other half. Threads go back to the engine's pool behind a statement, and what they start has what they
have, so that nothing may stick. On a single core without the right, and on macOS, which has neither, there is no such room.
"""

import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

TASKS: Final = Path("/proc/self/task")


class Room:
    """Which threads of this process are confined. `idle`: by the kernel's policy, where that may be had; else by cores."""

    def __init__(self, *, idle: bool = True) -> None:
        self._cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
        self._may_idle = idle and may_idle()
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
        if sys.platform != "linux" or not (self._may_idle or self._cores[1:]):
            return
        # One that has ended may be another process's by now.
        alive = {int(task.name) for task in TASKS.iterdir()}
        self._confined &= alive
        half = len(self._cores) // 2
        others = self._cores[:-half] if self._confined else self._cores
        for thread in alive:
            confined = thread in self._confined
            with suppress(ProcessLookupError):
                if self._may_idle:
                    set_idle(thread, confined)
                else:
                    os.sched_setaffinity(thread, self._cores[-half:] if confined else others)


def set_idle(thread: int, idle: bool) -> None:
    """Give a thread the kernel's policy `idle`, or the ordinary one; one that has it is left alone."""
    if sys.platform == "linux":
        policy = os.SCHED_IDLE if idle else os.SCHED_OTHER
        if os.sched_getscheduler(thread) != policy:
            os.sched_setscheduler(thread, policy, os.sched_param(0))


def may_idle() -> bool:
    """Whether a thread of this process may have the policy `idle` for a while."""
    able: list[bool] = []

    def attempt() -> None:
        with suppress(OSError):  # not allowed, or unknown in a sandbox
            set_idle(threading.get_native_id(), True)
            set_idle(threading.get_native_id(), False)
            able.append(sys.platform == "linux")

    trying = threading.Thread(target=attempt)
    trying.start()
    trying.join()
    return bool(able)
