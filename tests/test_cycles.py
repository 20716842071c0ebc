"""Objects that only hold each other do not gather in a flow's process."""

import gc
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from infra.cycles import EVERY_S, Cycles
from pipelines.runtime.flow import _Input


class Request:
    """Holds itself, as an HTTP client's request and response do."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _limits_as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.parametrize("each", [300, 3_000])
def test_what_only_holds_itself_is_let_go_of_by_time(monkeypatch: pytest.MonkeyPatch, each: int) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    alive: weakref.WeakSet[Request] = weakref.WeakSet()

    class Steps:
        def poll(self) -> None:
            for _ in range(each):
                alive.add(Request())
            clock[0] += EVERY_S / 3

        def decide(self, taken: Any) -> Any: ...
        def commit(self, decided: Any) -> None: ...
        def close(self) -> None: ...

    source = _Input(Steps(), lambda: False, Cycles())
    for _ in range(8):
        source.next_batch()
    assert len(alive) <= 4 * each
    gc.collect()
    clock[0] += EVERY_S
    source.next_batch()
    assert len(alive) <= each
