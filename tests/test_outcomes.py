"""Who waits for an outcome gets it when the state that it led to is in view."""

import asyncio
import time
from typing import Any

import pytest

from schemas.favorites import FavoriteAdded, FavoriteRefusal, FavoriteRefused
from schemas.log.base import now
from serving.runtime.outcomes import GRACE_S, MAX_STATES, Outcomes
from tests.people import ANN, BOB

PLACE = ("favorites.state", b"ann")
ADDED = FavoriteAdded(id="f", at=now(), cause="c", user=ANN, peer=BOB)
REFUSED = FavoriteRefused(id="f", at=now(), cause="c", user=ANN, peer=BOB, refusal=FavoriteRefusal.SAME_USER)


def asked() -> tuple[Outcomes, asyncio.Future[Any]]:
    """Somebody waits for the outcome of "c"."""
    outcomes = Outcomes()
    return outcomes, outcomes.waiting.setdefault("c", asyncio.get_running_loop().create_future())


@pytest.mark.parametrize(
    ("records", "answered"),
    [
        ([("fact", PLACE, 7)], False),
        ([("fact", PLACE, 7), ("state", PLACE, 7)], True),
        ([("fact", PLACE, 7), ("state", PLACE, 8)], True),
        ([("state", PLACE, 7), ("fact", PLACE, 7)], True),
        ([("state", PLACE, 8), ("fact", PLACE, 7)], True),
        ([("state", PLACE, 6), ("fact", PLACE, 7)], False),
        ([("fact", PLACE, 7), ("state", PLACE, 6)], False),
        ([("fact", PLACE, 7), ("state", (PLACE[0], b"bob"), 8)], False),
        ([("fact", PLACE, 7), ("state", ("blocks.state", PLACE[1]), 8)], False),
        ([("refusal", PLACE, 7)], True),
    ],
)
def test_an_answer_waits_for_the_state_behind_it(records: list[tuple[str, tuple[str, bytes], int]], answered: bool) -> None:
    async def run() -> None:
        outcomes, outcome = asked()
        began = time.monotonic()
        for kind, place, at_ms in records:
            if kind == "state":
                outcomes.state(place, at_ms)
            else:
                outcomes.fact(place, at_ms, ADDED if kind == "fact" else REFUSED)
        assert outcome.done() is answered
        assert await outcome is (REFUSED if records[-1][0] == "refusal" else ADDED)
        assert answered or time.monotonic() - began >= GRACE_S * 0.9
        await asyncio.sleep(0)
        assert not outcomes._held

    asyncio.run(run())


def test_who_has_gone_is_forgotten_and_what_nobody_waits_for_is_nobodys() -> None:
    async def run() -> None:
        outcomes, outcome = asked()
        outcomes.fact(PLACE, 7, ADDED)
        outcomes.fact(PLACE, 7, FavoriteAdded(id="g", at=now(), cause="another", user=ANN, peer=BOB))
        outcome.cancel()
        await asyncio.sleep(0)
        assert not outcomes._held
        outcomes.state(PLACE, 7)
        await asyncio.sleep(GRACE_S * 2)  # the timer finds nobody

    asyncio.run(run())


def test_the_first_of_two_facts_is_the_answer() -> None:
    async def run() -> None:
        outcomes, outcome = asked()
        outcomes.fact(PLACE, 7, ADDED)
        outcomes.fact(PLACE, 7, REFUSED)
        assert not outcome.done()
        assert outcomes
        outcomes.state(PLACE, 7)
        assert await outcome is ADDED
        await asyncio.sleep(0)
        assert not outcomes
        assert not outcomes._held

    asyncio.run(run())


def test_it_does_not_remember_the_states_of_all() -> None:
    outcomes = Outcomes()
    for number in range(MAX_STATES + 5):
        outcomes.state((PLACE[0], str(number).encode()), 1)
    assert len(outcomes._states) == 5
