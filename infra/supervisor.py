"""The supervisor: starts children, says so, restarts the ones that die, stops them all cleanly.

A child that dies is started again in the same slot at once (its transactional id fences what it left open); one that dies again
and again waits longer each time, up to BACKOFF_S. Children die with the supervisor, even when it is killed.
"""

import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from infra.machine import launch

# A crash loop must not eat the machine, yet a slot that is back within 5 s needs short waits.
BACKOFF_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 3.0)
# A child that has lived this long is taken for healthy: the next death starts the waits anew.
HEALTHY_S: Final = 20.0
STOP_S: Final = 20.0
# So many of its last deaths are remembered: one that dies now and then counts as healthy each time.
REMEMBERED: Final = 10
# A child that has used so much more of a processor is at work; one that hangs uses next to nothing.
WORKS_S: Final = 0.5
# A line of a stack. One that hangs ends with its threads' stacks, behind the line that says so.
STACK: Final = re.compile(r" |(Current t|T)hread 0x")

Tell = Callable[[str], None]


@dataclass
class Child:
    """One process to keep alive: its role ("money-0"), command, URL if it has one, and how it is doing."""

    role: str
    command: list[str]
    log: Path
    url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    # The last to be stopped: what others need in order to end cleanly.
    foundation: bool = False
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    start_at: float = 0.0
    died_at: deque[float] = field(default_factory=partial(deque, maxlen=REMEMBERED))

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    @property
    def lives(self) -> dict[str, Any]:
        """For `olo doctor`: how often in a row it has died; when it was started last, and when it has died (Unix times)."""
        ahead = time.time() - time.monotonic()
        return {"deaths": self.deaths, "started": ahead + self.started_at, "died": [ahead + at for at in self.died_at]}

    def worked_s(self) -> float:
        """The processor time that it has used; 0 while it does not run."""
        if not self.pid:
            return 0.0
        try:
            used = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(used.user + used.system)

    def start(self) -> None:
        """Start the process, its output going to its log."""
        self.started_at = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            environment = os.environ | self.environment
            self.process = launch(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def last_words(self) -> str:
        """The last line of its log that is not a stack's: usually why it died."""
        if not self.log.is_file():  # somebody has tidied up
            return ""
        with self.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 20_000))
            lines = [
                line for line in log.read().decode(errors="replace").splitlines() if line.strip() and not STACK.match(line)
            ]
        return lines[-1][:200] if lines else ""


class Supervisor:
    """Keeps children alive until it is told to stop."""

    def __init__(self, tell: Tell, changed: Callable[[], None]) -> None:
        self.children: list[Child] = []
        self._tell = tell
        self._changed = changed
        self.stopping = False

    def add(self, child: Child) -> Child:
        """Start a child and keep it."""
        child.start()
        self.children.append(child)
        self._changed()
        return child

    def wait_until(self, child: Child, ready: Callable[[], bool], limit_s: float) -> None:
        """Wait until `ready`, however long that takes, as long as the child works: it may have much to read, and a machine may
        have other things to do. Errors: RuntimeError when the child keeps dying, or has done nothing for `limit_s`."""
        deadline, worked = time.monotonic() + limit_s, 0.0
        while not ready():
            self.tend()
            if self.stopping:
                raise KeyboardInterrupt
            now_worked = child.worked_s()
            if abs(now_worked - worked) > WORKS_S:
                deadline, worked = time.monotonic() + limit_s, now_worked
            if child.deaths > len(BACKOFF_S) or time.monotonic() > deadline:
                raise RuntimeError(f"{child.role} does not come up: {child.last_words()} (see {child.log})")
            time.sleep(0.05)

    def tend(self) -> None:
        """Start again what has died; call it often."""
        moment = time.monotonic()
        for child in self.children:
            if child.process is None or child.process.poll() is None or self.stopping:
                continue
            if not child.start_at:
                self._died(child, moment)
            if moment >= child.start_at:
                child.start_at = 0.0
                child.start()
                self._tell(f"{child.role} is started again, pid {child.pid}")
                self._changed()

    def _died(self, child: Child, moment: float) -> None:
        assert child.process is not None
        child.died_at.append(moment)
        child.deaths = 1 if moment - child.started_at > HEALTHY_S else child.deaths + 1
        wait = BACKOFF_S[min(child.deaths, len(BACKOFF_S)) - 1]
        child.start_at = moment + wait
        code = child.process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}: {child.last_words()}"
        self._tell(f"{child.role} {how}; starting it again {f'in {wait} s' if wait else 'at once'}")
        self._changed()

    def stop(self) -> None:
        """End all children: the ones that need others first, the foundations last; kill what will not end."""
        self.stopping = True
        for foundation in (False, True):
            group = [child for child in self.children if child.foundation is foundation and child.pid]
            for child in group:
                assert child.process is not None
                child.process.terminate()
            deadline = time.monotonic() + STOP_S
            for child in group:
                assert child.process is not None
                try:
                    child.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self._tell(f"{child.role} does not end; killing it")
                    child.process.kill()
                    child.process.wait()
        self._changed()
