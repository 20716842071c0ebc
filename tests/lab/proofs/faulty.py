"""Flows with faults built in: the platform that `olo prove poison` starts, and mends.

`python -m tests.lab.proofs.faulty up` is `olo up` with other hosts, `python -m tests.lab.proofs.faulty FLOW --slot N` is such a
host. While the file FAULTY is in OLO_HOME at its start, its deciders fail for each message whose id names a fault
("poison-raises-..."); without the file it is the flow as it is.
"""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from infra.config import Config, load
from infra.machine import allow_open_files
from infra.platform import Platform
from infra.supervisor import Child
from pipelines.flows import host
from pipelines.flows.process import arguments, start
from pipelines.runtime.core import Decider
from pipelines.runtime.worker import Worker
from schemas.log.base import Message, State
from schemas.log.entity import Flow
from tests.lab.stage import Stage

FAULTY: Final = "faulty"
MODULE: Final = "tests.lab.proofs.faulty"
PREFIX: Final = "poison-"
LARGE: Final = 1_000_000


class Fault(StrEnum):
    """What happens when a message is decided: the decider raises, the state's wake does, the state is no JSON, or too large."""

    RAISES = "raises"
    WAKES = "wakes"
    UNENCODABLE = "unencodable"
    TOO_LARGE = "large"


class Spoilt(State):
    """A state that cannot be written."""

    fault: Fault = Fault.RAISES
    text: str = ""
    odd: object = None

    @property
    def wake_at(self) -> datetime | None:
        """No time that there is."""
        if self.fault is Fault.WAKES:
            raise OverflowError("the state's wake lies beyond all times")
        return None


class Odd:
    """What JSON has nothing for."""


STATES: Final = {
    Fault.WAKES: Spoilt(Fault.WAKES),
    Fault.UNENCODABLE: Spoilt(Fault.UNENCODABLE, odd=Odd()),
    Fault.TOO_LARGE: Spoilt(Fault.TOO_LARGE, text="x" * LARGE),
}


def fault_of(id_: str) -> Fault | None:
    """The fault that a message's id names."""
    name = id_.removeprefix(PREFIX).partition("-")[0]
    return Fault(name) if id_.startswith(PREFIX) and name in tuple(Fault) else None


def spoilt(decider: Decider) -> Decider:
    """The decider with the faults."""
    well: Callable[..., tuple[State | None, Sequence[Message]]] = decider.decide

    def decide(state: Any, message: Any, *common: Any) -> tuple[State | None, Sequence[Message]]:
        fault = fault_of(message.id)
        if fault is Fault.RAISES:
            raise ZeroDivisionError("a fault that was built in")
        after, told = well(state, message, *common)
        return (STATES[fault] if fault else after), told

    return Decider(decider.entity, decide)


def build(flow: Flow, slot: int, config: Config) -> Worker:
    """A worker of this flow, with faults while FAULTY is there."""
    worker = host.build(flow, slot, config)
    if (config.home / FAULTY).exists():
        worker.core.deciders = {inbox: spoilt(decider) for inbox, decider in worker.core.deciders.items()}
    return worker


class FaultyPlatform(Platform):
    """The platform, with these hosts."""

    def child(self, role: str, command: list[str], url: str = "", *, foundation: bool = False) -> Child:
        """As any platform's."""
        command = [MODULE if part == host.__spec__.name else part for part in command]
        return super().child(role, command, url, foundation=foundation)


class FaultyStage(Stage):
    """A running platform with faults, until `mend`."""

    module = MODULE

    def __init__(self, home: Path, **environment: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / FAULTY).touch()
        super().__init__(home, **environment)

    def mend(self) -> None:
        """From its next start on a flow has no faults."""
        (self.home / FAULTY).unlink()


def _up() -> int:
    allow_open_files()
    return FaultyPlatform(load(), Console(highlight=False)).up()


if __name__ == "__main__":
    if sys.argv[1:] == ["up"]:
        raise SystemExit(_up())
    given = arguments(*Flow)
    hosted = Flow(given.flow)
    start(hosted.value, lambda slot, config: build(hosted, slot, config), given)
