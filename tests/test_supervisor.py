"""The supervisor: a child that dies is started again, whatever has become of its log."""

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from infra.supervisor import Child, Supervisor
from tests.conftest import eventually

SLEEPER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("awake", flush=True)
time.sleep(60)
"""


def test_a_child_whose_log_is_gone_is_started_again(tmp_path: Path) -> None:
    told: list[str] = []
    supervisor = Supervisor(told.append, lambda: None)
    sleeper = [sys.executable, "-c", SLEEPER]
    child = supervisor.add(Child("sleeper", sleeper, tmp_path / "logs" / "sleeper.log"))

    def started_again(before: int) -> bool:
        supervisor.tend()
        return child.pid not in {None, before}

    try:
        for number, how in ((signal.SIGKILL, "was ended by SIGKILL"), (signal.SIGTERM, "ended with status 3")):
            eventually(lambda: "awake" in child.log.read_text())
            shutil.rmtree(child.log.parent)
            assert child.pid is not None
            os.kill(child.pid, number)
            eventually(partial(started_again, child.pid))
            assert how in told[-2]
            assert "started again" in told[-1]
    finally:
        supervisor.stop()
    assert child.pid is None


HANGS = """
import faulthandler, time
faulthandler.dump_traceback_later(0.1, exit=True)
time.sleep(60)
"""


def test_what_a_child_said_last_is_not_a_line_of_its_stack(tmp_path: Path) -> None:
    told: list[str] = []
    supervisor = Supervisor(told.append, lambda: None)
    child = supervisor.add(Child("hangs", [sys.executable, "-c", HANGS], tmp_path / "hangs.log"))

    def heard() -> list[str]:
        supervisor.tend()
        return told

    try:
        eventually(heard)
        assert told[0] == "hangs ended with status 1: Timeout (0:00:00.100000)!; starting it again at once"
    finally:
        supervisor.stop()
    assert child.pid is None


WORKS = """
import time
while time.process_time() < 2: pass
print("ready", flush=True)
time.sleep(60)
"""


def test_a_child_that_works_is_waited_for_and_one_that_does_nothing_is_not(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda _: None, lambda: None)
    try:
        works = supervisor.add(Child("works", [sys.executable, "-c", WORKS], tmp_path / "works.log"))
        supervisor.wait_until(works, lambda: "ready" in works.log.read_text(), 20.0)
        with pytest.raises(RuntimeError, match="works does not come up"):
            supervisor.wait_until(works, lambda: False, 1.0)
    finally:
        supervisor.stop()
