"""A stand-in for a provider of payouts (`infra/vendors/payouts.py` has the contract), as good as real ones on bad days: it does
not answer, takes a payment and lets the answer be lost, takes it late, and does not know yet. It pays once under an id,
whatever it answers.

`Provider.handle` is the provider itself, as a function of method, id and body; `ProviderServer` has it on the loopback, where a
request that is not answered is cut off.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from tests.lab.city.json_server import Answer, JsonServer


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
    """`trouble`: how often a request goes wrong, `most` times an id; `fails`: how often a payment does; `slow`: how often it is
    asked until it knows. `changed`: ids that came with another body; `returned`: what came back, as it says when it is
    asked."""

    KEY: Final = "provider-key"

    def __init__(
        self, seed: int, trouble: float = 0.4, fails: float = 0.3, *, most: int = 1_000, slow: tuple[int, ...] = (0, 0, 1, 3)
    ) -> None:
        self._chance = random.Random(seed)
        self._trouble, self._fails, self._most, self._slow = trouble, fails, most, slow
        self._troubled: Counter[str] = Counter()
        self.taken: dict[str, Taken] = {}
        self.changed: list[str] = []
        self.returned: set[str] = set()
        self._on_its_way: list[tuple[str, dict[str, Any]]] = []

    @property
    def paid(self) -> dict[str, int]:
        """Cents by id."""
        return {id_: one.body["amount_cents"] for id_, one in self.taken.items() if one.pays}

    def handle(self, method: str, id_: str, body: dict[str, Any] | None = None) -> Said:
        """Answer a request, or do not."""
        self._arrive()
        troubled = self._chance.random() < self._trouble and self._troubled[id_] < self._most
        self._troubled[id_] += troubled
        kind = self._chance.choice(("away", "lost", "late")) if troubled else ""
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
            known = self.taken[id_] = Taken(body, self._chance.choice(self._slow), pays=self._chance.random() >= self._fails)
        if body is not None and known.body != body:
            self.changed.append(id_)
        if known.slow:
            known.slow -= 1
            return Said(202, {"status": "pending"})
        return Said(200, {"status": "returned" if id_ in self.returned else "paid" if known.pays else "failed"})


def answer_of(provider: Provider, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """What a request to a provider is answered."""
    if headers["authorization"] != f"Bearer {Provider.KEY}":
        return 401, {}, {}
    said = provider.handle(method, unquote(path.partition("/payments/")[2]), json.loads(body) if body else None)
    return said.status, {}, said.body


class ProviderServer:
    """A provider on the loopback; `settings` lead a platform to it."""

    def __init__(self, seed: int) -> None:
        # An effect's pauses are doubled: so many troubles take some seconds.
        self.provider = Provider(seed, most=2, slow=(0, 1))
        self._lock = threading.Lock()
        self._server = JsonServer(self._answers)
        self.settings = {"OLO_PAYOUT_URL": self._server.url, "OLO_PAYOUT_KEY": Provider.KEY}

    def _answers(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._lock:
            return answer_of(self.provider, method, path, headers, body)

    def close(self) -> None:
        """End it."""
        self._server.close()
