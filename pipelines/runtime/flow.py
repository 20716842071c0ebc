"""The Bytewax flow around a worker: `input -> decide -> commit`, one dataflow worker a process.

Bytewax drives the three steps; source, step and sink share the worker, so that a batch is read, decided and committed before
the next one is read. SIGTERM and SIGINT end it after the batch in hand. Anything that fails ends the process with status 1.
"""

import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main

from infra.cycles import Cycles

T = TypeVar("T")


class Steps(Protocol):
    """What a flow is made of: read, work on what was read, commit it."""

    def poll(self) -> Any | None:
        """What to work on next, or None."""

    def decide(self, taken: Any) -> Any:
        """Work on it, without effects."""

    def commit(self, decided: Any) -> None:
        """Make it last."""

    def close(self) -> None:
        """Leave."""


class _Input(StatelessSourcePartition[Any]):
    def __init__(self, steps: Steps, stopped: Callable[[], bool], cycles: Cycles) -> None:
        self._steps = steps
        self._stopped = stopped
        self._cycles = cycles

    def next_batch(self) -> list[Any]:
        if self._stopped():
            raise StopIteration
        self._cycles.turn()
        taken = self._steps.poll()
        return [] if taken is None else [taken]

    def next_awake(self) -> datetime | None:
        return None

    def close(self) -> None:
        self._steps.close()


class _Source(DynamicSource[Any]):
    def __init__(self, steps: Steps, stopped: Callable[[], bool]) -> None:
        self._partition = _Input(steps, stopped, Cycles())

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Input:
        return self._partition


class _Output(StatelessSinkPartition[Any]):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def write_batch(self, items: list[Any]) -> None:
        for decided in items:
            self._steps.commit(decided)


class _Sink(DynamicSink[Any]):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Output:
        return _Output(self._steps)


def dataflow(name: str, steps: Steps, stopped: Callable[[], bool]) -> Dataflow:
    """The flow as Bytewax sees it. The step ids stay: they are the flow's identity."""
    flow = Dataflow(name)
    taken = op.input("input", flow, _Source(steps, stopped))
    decided = op.map("decide", taken, steps.decide)
    op.output("commit", decided, _Sink(steps))
    return flow


def run(name: str, steps: Steps) -> None:
    """Run until SIGTERM or SIGINT; exits the process: 0 when asked to stop, 1 when a step failed (the cause on stderr)."""
    cli_main(dataflow(name, steps, stopping()))
    sys.exit(0)


def stopping() -> Callable[[], bool]:
    """Whether SIGTERM or SIGINT has come; from now on none ends the process by itself."""
    caught: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signal_, _frame: caught.append(signal_))
    return lambda: bool(caught)
