"""A stand-in for a provider of payouts (`infra/vendors/payouts.py` has the contract), as good as real ones on bad days: it does
not answer, takes a payment and lets the answer be lost, takes it late, and does not know yet. It pays once under an id,
whatever it answers.

`Provider.handle` is the provider itself, as a function of method, id and body; `paid`: what it has paid, or will.
"""

import random
from typing import Any, Final, NamedTuple

# How often it is asked until it knows what became of a payment.
SLOW: Final = (0, 0, 1, 3)


class Said(NamedTuple):
    """An answer; status 0: none came, though the request may have `arrived`."""

    status: int
    body: dict[str, Any]
    arrived: bool = True


class Taken:
    """A payment that it has: what for, how often it will not know yet, and what becomes of it."""

    def __init__(self, body: dict[str, Any], slow: int, *, pays: bool) -> None:
        self.body, self.slow, self.pays = body, slow, pays


class Provider:
    """`trouble`: how often a request goes wrong; `fails`: how often a payment does. `changed`: ids that came with another
    body."""

    def __init__(self, seed: int, trouble: float = 0.4, fails: float = 0.3) -> None:
        self._chance = random.Random(seed)
        self._trouble, self._fails = trouble, fails
        self.taken: dict[str, Taken] = {}
        self.changed: list[str] = []
        self._on_its_way: list[tuple[str, dict[str, Any]]] = []

    @property
    def paid(self) -> dict[str, int]:
        """Cents by id."""
        return {id_: one.body["amount_cents"] for id_, one in self.taken.items() if one.pays}

    def handle(self, method: str, id_: str, body: dict[str, Any] | None = None) -> Said:
        """Answer a request, or do not."""
        self._arrive()
        kind = self._chance.choice(("away", "lost", "late")) if self._chance.random() < self._trouble else ""
        if kind == "away":
            return Said(self._chance.choice((0, 500, 503)), {}, arrived=False)
        if kind == "late" and method == "PUT" and body is not None:
            self._on_its_way.append((id_, body))
            return Said(0, {})
        said = self._answer(method, id_, body)
        return Said(0, {}) if kind == "lost" else said

    def _arrive(self) -> None:
        """What was on its way for long arrives now."""
        for id_, body in self._on_its_way:
            self._answer("PUT", id_, body)
        self._on_its_way.clear()

    def _answer(self, method: str, id_: str, body: dict[str, Any] | None) -> Said:
        known = self.taken.get(id_)
        if known is None:
            if method != "PUT" or body is None:
                return Said(404, {"error": "unknown"})
            known = self.taken[id_] = Taken(body, self._chance.choice(SLOW), pays=self._chance.random() >= self._fails)
        if body is not None and known.body != body:
            self.changed.append(id_)
        if known.slow:
            known.slow -= 1
            return Said(202, {"status": "pending"})
        return Said(200, {"status": "paid" if known.pays else "failed"})
