"""Outcomes: who waits for which command. The answer is the fact whose cause the command is, once its state is in view, too.

A transaction's records come by several topics, and one may be milliseconds ahead of another: a client that is answered at once
could read the state from before its own command. In a transaction states are written behind the facts that led to them, so a
key's state that is as young as the fact, or younger, holds it. Whether a fact changes a state is declared on its type
(`changes_state`); where one that may has changed none, or the broker stamps records by itself, the answer comes after GRACE_S.
"""

import asyncio
from typing import Final, NamedTuple

from schemas.log.base import Fact

GRACE_S: Final = 0.05
# Keys whose last state's time is known; then all are forgotten, and at worst some answers come after GRACE_S.
MAX_STATES: Final = 10_000

Place = tuple[str, bytes]


class _Held(NamedTuple):
    at_ms: int
    outcome: asyncio.Future[Fact]
    fact: Fact


class Outcomes:
    """For the event loop only. `waiting`: a command's or a told message's id -> the future of its outcome.

    Places are (changelog, key); times are those of the records, in milliseconds."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[Fact]] = {}
        self._states: dict[Place, int] = {}
        self._held: dict[Place, list[_Held]] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self.waiting or self._held)

    def state(self, place: Place, at_ms: int) -> None:
        """A state is in view."""
        if len(self._states) >= MAX_STATES:
            self._states.clear()
        self._states[place] = at_ms
        for held in self._held.get(place, ()):
            if held.at_ms <= at_ms:
                _settle(held)

    def fact(self, place: Place, at_ms: int, fact: Fact) -> None:
        """A fact has come, of the entity with this place; the first one of a cause counts."""
        outcome = self.waiting.pop(fact.cause, None)
        if outcome is None:
            return
        held = _Held(at_ms, outcome, fact)
        if not fact.changes_state or self._states.get(place, -1) >= at_ms:
            _settle(held)
            return
        self._held.setdefault(place, []).append(held)
        asyncio.get_running_loop().call_later(GRACE_S, _settle, held)
        outcome.add_done_callback(lambda _: self._forget(place, held))

    def _forget(self, place: Place, held: _Held) -> None:
        left = self._held[place]
        left.remove(held)
        if not left:
            del self._held[place]


def _settle(held: _Held) -> None:
    if not held.outcome.done():
        held.outcome.set_result(held.fact)
