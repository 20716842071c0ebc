"""What systems do differently: no child outlives a parent that was killed, with the kernel's help or without; open files."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra import broker, machine
from tests.conftest import eventually

CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"asked to end\\n"), sys.exit()))
os.write(1, b"%d\\n" % os.getpid())  # a signal may come in the middle of it, in which no print can be printed
time.sleep(60)
"""
# Has two children, each with a log: the first one is asked to end when the parent is gone, the second one is killed.
PARENT = f"""
import signal, sys, time
from infra.machine import launch
sys.platform = sys.argv[1]
for log, by in zip(sys.argv[2:], (signal.SIGTERM, signal.SIGKILL)):
    launch([sys.executable, "-c", {CHILD!r}], by=by, stdout=open(log, "wb"))
time.sleep(60)
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("system", sorted({sys.platform, "darwin"}))
def test_children_end_when_their_parent_was_killed(tmp_path: Path, system: str) -> None:
    asked, killed = logs = [tmp_path / "asked", tmp_path / "killed"]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, system, *map(str, logs)])
    try:
        eventually(lambda: all(log.exists() and log.read_text() for log in logs))
    finally:
        parent.kill()
        parent.wait()
    eventually(lambda: "asked to end" in asked.read_text())
    eventually(lambda: gone(int(killed.read_text())))


def test_the_guard_leaves_alone_who_is_no_longer_the_process_that_it_was_told_of() -> None:
    children = [subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE) for _ in range(2)]
    early, late = children

    def told() -> Iterator[str]:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
            yield f"{child.pid} {signal.SIGTERM.value}\n"
        early.kill()
        early.wait()  # from now on its pid may be another's
        yield f"{early.pid} {signal.SIGTERM.value}\n"

    machine.guard(told())
    assert late.stdout is not None
    assert (late.wait(30), late.stdout.read()) == (0, b"asked to end\n")
    for child in children:
        child.communicate()


NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("now", "most", "then"),
    [(256, NONE, 10_240), (1_024, 524_288, 10_240), (256, 4_096, 4_096), (20_000, 20_000, None), (NONE, NONE, None)],
)
def test_files_that_may_be_open_are_raised_as_far_as_the_machine_allows_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, now: int, most: int, then: int | None
) -> None:
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (now, most))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    machine.allow_open_files()
    assert given == ([] if then is None else [(then, most)])


def test_a_broker_is_patient_with_itself_unless_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who starts well may miss heartbeats for a minute; who was killed is let in again after two seconds."""

    def node(folder: Path, properties: str, memory: object, tell: object) -> list[str]:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data" / "meta.properties").touch()
        (folder / "server.properties").write_text(properties)
        return []

    def prepared() -> str:
        broker.prepare(tmp_path, 1, 2, print)
        return (tmp_path / "server.properties").read_text()

    monkeypatch.setattr(broker, "prepare_node", node)
    assert "broker.session.timeout.ms=60000\n" in prepared()
    broker.hasten(tmp_path)
    assert "broker.session.timeout.ms=2000\n" in (tmp_path / "server.properties").read_text()
    assert "broker.session.timeout.ms=2000\n" in prepared(), "it did not end by itself"
    (tmp_path / "data" / ".kafka_cleanshutdown").touch()
    assert "broker.session.timeout.ms=60000\n" in prepared()
