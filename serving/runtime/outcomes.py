"""Outcomes: who waits for which command. The answer is the fact whose cause the command is, once its state is in view, too.

A transaction's records come by several topics, and one may be milliseconds ahead of another: a client that is answered at once
could read the state from before its own command. In a transaction states are written behind the facts that led to them, so a
key's state that is as young as the fact, or younger, holds it. Whether a fact changes a state is declared on its type
(`changes_state`); where one that may has changed none, or the broker stamps records by itself, the answer comes after GRACE_S.
A decision that comes when nobody waits for it any more is still measured: `admission` is told of each.
"""

import asyncio
import time
from typing import Final, NamedTuple

from schemas.log.base import Fact
from serving.runtime.admission import Admission

GRACE_S: Final = 0.05
# Keys whose last state's time is known; then all are forgotten, and at worst some answers come after GRACE_S.
MAX_STATES: Final = 10_000

# A changelog, and the key of one entity's state in it.
StateKey = tuple[str, bytes]


class _Held(NamedTuple):
    at_ms: int
    outcome: asyncio.Future[Fact]
    fact: Fact


class Outcomes:
    """For the event loop only. `waiting`: the id of a command, or of one that its decider sends on -> its outcome.

    Times are those of the records, in milliseconds."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[Fact]] = {}
        self.admission = Admission()
        self._states: dict[StateKey, int] = {}
        self._held: dict[StateKey, list[_Held]] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits, or a decision is still to come."""
        return bool(self.waiting or self._held or self.admission)

    def state(self, key: StateKey, at_ms: int) -> None:
        """A state is in view."""
        if len(self._states) >= MAX_STATES:
            self._states.clear()
        self._states[key] = at_ms
        for held in self._held.get(key, ()):
            if held.at_ms <= at_ms:
                _settle(held)

    def fact(self, key: StateKey, at_ms: int, fact: Fact) -> None:
        """A fact has come, of the entity with this state; the first one of a cause counts."""
        self.admission.decided(fact.cause, time.monotonic())
        outcome = self.waiting.pop(fact.cause, None)
        if outcome is None:
            return
        held = _Held(at_ms, outcome, fact)
        if not fact.changes_state or self._states.get(key, -1) >= at_ms:
            _settle(held)
            return
        self._held.setdefault(key, []).append(held)
        asyncio.get_running_loop().call_later(GRACE_S, _settle, held)
        outcome.add_done_callback(lambda _: self._forget(key, held))

    def _forget(self, key: StateKey, held: _Held) -> None:
        left = self._held[key]
        left.remove(held)
        if not left:
            del self._held[key]


def _settle(held: _Held) -> None:
    if not held.outcome.done():
        held.outcome.set_result(held.fact)
