"""Buyers of the money proof: phones that open intents and buy at a stand-in of the App Store, which signs for real, tells the
platform of each purchase itself, takes some back, in part or in full, gives some back again, and tells everything in any order
and more than once. A phone and the store try again until they have a final answer.

`books`: what the store says of each transaction at the end; the proof holds the log against it."""

import asyncio
import random
import time
import uuid
from typing import Any, NamedTuple

import httpx

from schemas.purchase import WHOLE, Store, purchase_name
from tests.lab.city.app_store import AppStore
from tests.lab.proofs.asker import Asker
from tests.lab.proofs.auditor import Read

COINS, BONUS = 100, 10
PRODUCT = "proof-coins"
SHARES = (WHOLE, WHOLE, 50_000, 33_333)


class Sold(NamedTuple):
    """A transaction of the store's: to whom, how many, and the store's last word."""

    user: str
    quantity: int
    revoked: int


class Buyers:
    """`tokens`: who buys, with their tokens. `told`: answers, by status and code; `given_up`: what was never answered."""

    def __init__(self, url: str, store: AppStore, tokens: dict[str, str], admin: str, seed: int) -> None:
        self._url, self._store, self._tokens, self._admin = url, store, tokens, admin
        self._chance = random.Random(seed)
        self._finished = False
        self._asker = Asker()
        self.books: dict[str, Sold] = {}
        self.told, self.given_up = self._asker.told, self._asker.given_up

    def finish(self) -> None:
        """Buy no more; what is under way is brought to its end."""
        self._finished = True

    async def run(self) -> None:
        """Put the product on sale, and buy until `finish`."""
        async with httpx.AsyncClient(base_url=self._url, timeout=10, trust_env=False) as client:
            product = {"coins": COINS, "bonus_coins": BONUS, "bonus_days": 7, "apple_id": PRODUCT}
            await self._asker.final(client, "PUT", f"/v1/admin/products/{PRODUCT}", self._admin, product)
            await asyncio.gather(*(self._live(client, user) for user in self._tokens))

    async def _live(self, client: httpx.AsyncClient, user: str) -> None:
        number = 0
        while not self._finished:
            number += 1
            await self._buy(client, user, f"{user}-{number}")
            await asyncio.sleep(self._chance.random())

    async def _buy(self, client: httpx.AsyncClient, user: str, key: str) -> None:
        token = self._tokens[user]
        opened = await self._asker.final(client, "POST", "/v1/payments/intents", token, {"product": PRODUCT}, key)
        if opened is None or opened.status_code != 201:
            self.given_up.append(f"{key}: no intent, {opened.text if opened else 'no answer'}")
            return
        transaction = str(uuid.uuid4().int % 10**15)
        at_ms, quantity = int(time.time() * 1_000), self._chance.randrange(1, 4)
        words = [0, *self._chance.choices((*SHARES, 0), k=self._chance.choice((0, 0, 1, 2, 3)))]
        self.books[purchase_name(Store.APPLE_SANDBOX, transaction)] = Sold(user, quantity, words[-1])
        said: list[tuple[str, int, str]] = []
        for number, revoked in enumerate(words):
            changes: dict[str, Any] = {"transactionId": transaction, "quantity": quantity, "signedDate": at_ms + number}
            if revoked:
                changes |= {"revocationDate": at_ms + number, "revocationPercentage": revoked}
            kind = "REFUND" if revoked else "REFUND_REVERSED" if number else "ONE_TIME_CHARGE"
            said.append((kind, revoked, self._store.sell(PRODUCT, opened.json()["intent"], **changes)))
        told = [*said, *self._chance.sample(said, self._chance.randrange(len(said) + 1))]
        self._chance.shuffle(told)
        await asyncio.gather(*(self._tell(client, token, kind, signed) for kind, _, signed in told))

    async def _tell(self, client: httpx.AsyncClient, token: str, kind: str, signed: str) -> None:
        """A word, by the store; of a purchase or a reversal as well by the phone."""
        await asyncio.sleep(self._chance.random())
        if kind != "REFUND" and self._chance.random() < 0.5:
            await self._asker.final(client, "POST", "/v1/payments/apple", token, {"signed_transaction": signed})
        await self._asker.final(client, "POST", "/v1/webhooks/apple", "", self._store.notify(kind, signed))

    def broken(self, read: Read) -> list[str]:
        """Where the log does not say what the store's books say."""
        states = {row.key: row.value or {} for row in read("purchase.state")}
        found: list[str] = []
        for name, sold in self.books.items():
            state = states.get(name, {})
            coins = (COINS + BONUS) * sold.quantity
            due = (sold.user, coins, coins - coins * sold.revoked // WHOLE)
            net = state.get("coins", 0) - state.get("returned_coins", 0) if state.get("credited") else 0
            if (state.get("user"), state.get("coins"), net) != due:
                found.append(f"{name}: the store's books say {due}, the log {state}")
        return found[:10]
