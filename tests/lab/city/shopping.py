"""How people of a city buy coins at the stores of its market: an intent, the store's word, and coins on the feed.

Some purchases are told twice, some by the store only; some are claimed by somebody else, some are pending at first, or called
off; some are taken back, often when the coins are spent, and some of those are given back. A few people subscribe.
"""

import asyncio
import random
import time
from typing import Any, Final

import httpx

from tests.lab.city.phone import Phone, Sights

NAMES: Final = {"city.small": "Handful", "city.medium": "Purse", "city.large": "Chest"}
PACKS: Final = {"city.small": (400, 0), "city.medium": (800, 50), "city.large": (1_600, 200)}
CLUB, CLUB_COINS = "city.club", 300
WEIGHTS: Final = {"city.small": 60, "city.medium": 30, "city.large": 10}
# How a purchase is told; at the App Store nothing is pending, and is told by the phone instead.
WAYS: Final = {"phone": 40, "twice": 20, "notice": 15, "thief": 8, "pending": 12, "called_off": 5}
REFUNDED: Final = 0.25
RESTORED: Final = 0.3
# So many subscribe in any case, at both stores; of the others some do.
SUBSCRIBERS: Final = 2
SUBSCRIBES: Final = 0.12
REFUND_S: Final = 25.0
PERIOD_S: Final = 4.0
PERIODS: Final = 3
# So long somebody waits for coins before doing something else.
COINS_S: Final = 30.0
AGAIN_S: Final = 0.5


class Stores:
    """The market, as people deal with it; `url`: its server's. It tells Olo by `client` what stores tell, until Olo has taken
    it: what nobody takes in time is `untold`, and told again in the evening, as stores do."""

    def __init__(self, url: str, client: httpx.AsyncClient, sights: Sights) -> None:
        self.untold: list[dict[str, Any]] = []
        self._url, self._client, self._sights = url, client, sights

    async def act(self, name: str, **fields: Any) -> dict[str, Any]:
        """Something is done at the market. Errors: RuntimeError."""
        answer = await self._client.post(f"{self._url}/market/{name}", json=fields)
        if answer.status_code != 200:
            raise RuntimeError(f"the market: {answer.status_code} {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found

    async def begin(self, admin: Phone) -> None:
        """Everything is on sale, at both stores."""
        for product, (coins, bonus) in PACKS.items():
            body = {
                "coins": coins,
                "name": NAMES[product],
                "bonus_coins": bonus,
                "bonus_days": 30,
                "apple_id": product,
                "google_id": product,
            }
            await admin.ask("PUT", f"/v1/admin/products/{product}", body if bonus else body | {"bonus_days": 0})
        club = {"coins": CLUB_COINS, "apple_id": CLUB, "google_id": CLUB, "renewing": True, "tag": "club"}
        await admin.ask("PUT", f"/v1/admin/products/{CLUB}", club)

    async def tell(self, word: dict[str, Any], times: int = 1) -> None:
        """The store sends its notification, until it is taken."""
        for _ in range(times):
            if not await self._sent(word["notice"], max(self._sights.patience_s, COINS_S)):
                self.untold.append(word["notice"])
                return

    async def _sent(self, notice: dict[str, Any], patience_s: float) -> bool:
        deadline = asyncio.get_running_loop().time() + patience_s
        while asyncio.get_running_loop().time() < deadline:
            try:
                answer = await self._client.post(notice["path"], json=notice["body"], headers=notice["headers"])
            except httpx.HTTPError as error:
                self._sights.statuses[f"store {type(error).__name__}"] += 1
            else:
                self._sights.statuses[f"store {answer.status_code}"] += 1
                if answer.status_code == 200 and answer.json() == {"status": "noted"}:
                    return True
                if answer.status_code not in (429, 503):
                    self._sights.wrong(f"a store at {notice['path']}: {answer.status_code} {answer.text[:200]}")
                    return True
            await asyncio.sleep(AGAIN_S)
        return False

    async def evening(self) -> None:
        """Tell what nobody has taken yet, for the last time."""
        untold, self.untold = self.untold, []
        for notice in untold:
            if not await self._sent(notice, COINS_S):
                self._sights.wrong(f"a store's notification at {notice['path']} was never taken")


class Shopper:
    """One who buys, with a phone of one of the two makers. `others`: phones of people who try with what is not theirs;
    `stands`: what the feed said last of each subscription, status and whether it renews."""

    def __init__(self, phone: Phone, stores: Stores, seed: str, number: int) -> None:
        self.others: list[Phone] = []
        self.stands: dict[str, tuple[str, bool]] = {}
        self.phone, self.stores = phone, stores
        self.chance = random.Random(f"{seed}/shop")
        self.subscribes = number < SUBSCRIBERS or self.chance.random() < SUBSCRIBES
        self._store = ("apple_sandbox", "google")[number % 2]
        self._credited: dict[str, asyncio.Event] = {}
        self._count = 0

    def heard(self, type_: str, event: dict[str, Any]) -> None:
        """Coins have come, or a subscription stands elsewhere."""
        if type_ == "SubscriptionChanged":
            self.stands[event["name"]] = (event["status"], event.get("renews", True))
        if type_ == "EntryRecorded" and event.get("reason") == "purchase":
            self.phone.sights.saw("purchase", event["ref"])
            self._event(event["ref"]).set()

    def _event(self, sale: str) -> asyncio.Event:
        return self._credited.setdefault(sale, asyncio.Event())

    def _key(self) -> str:
        self._count += 1
        return f"{self.phone.user}-shop-{self._count}"

    async def _intent(self, product: str) -> str:
        """What the store is given, so that we know whose it is; nothing: not now."""
        opened = await self.phone.ask("POST", "/v1/payments/intents", {"product": product, "usage_consent": True}, self._key())
        return "" if opened is None else str(opened.json()["intent"])

    async def buy(self) -> str:
        """Buy a pack; its name, when its coins are on the feed, or nothing."""
        product = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        way = self.chance.choices(list(WAYS), list(WAYS.values()))[0]
        if self._store != "google" and way in ("pending", "called_off"):
            way = "phone"
        intent = await self._intent(product)
        if not intent:
            return ""
        about = {"store": self._store, "buyer": self.phone.user, "product": product, "intent": intent}
        quantity, waits = self.chance.choice((1, 1, 2)), way in ("pending", "called_off")
        word = await self.stores.act("sell", **about, quantity=quantity, pending=waits)
        self.phone.sights.expect("purchase", word["sale"])
        await self._told(word, way)
        return await self._arrived(word["sale"]) if way != "called_off" else ""

    async def _told(self, word: dict[str, Any], way: str) -> None:
        match way:
            case "phone":
                await self._bring(word)
            case "twice":
                await asyncio.gather(self._bring(word), self.stores.tell(word), self._bring(word))
            case "notice":
                await self.stores.tell(word, self.chance.choice((1, 2)))
            case "thief":
                await asyncio.gather(self._steal(word), self._bring(word))
            case "pending" | "called_off":
                await asyncio.gather(self._early(word), self.stores.tell(word))
                await asyncio.sleep(self.chance.random() * 2)
                act = "pay" if way == "pending" else "call_off"
                later = await self.stores.act(act, sale=word["sale"])
                await self.stores.tell(later, self.chance.choice((1, 2)))

    async def _bring(self, word: dict[str, Any], by: Phone | None = None) -> httpx.Response | None:
        bring = word["phone"]
        return await (by or self.phone).ask("POST", bring["path"], bring["body"], key=self._key())

    async def _steal(self, word: dict[str, Any]) -> None:
        """Somebody else brings it, before its buyer or behind, and is told that it is not theirs."""
        if self.others and await self._bring(word, self.chance.choice(self.others)) is not None:
            self.phone.sights.wrong(f"{word['sale']} of {self.phone.user} was another one's, too")

    async def _early(self, word: dict[str, Any]) -> None:
        if await self._bring(word) is not None:
            self.phone.sights.wrong(f"{word['sale']} was credited before it was paid")

    async def _arrived(self, sale: str) -> str:
        try:
            await asyncio.wait_for(self._event(sale).wait(), COINS_S)
        except TimeoutError:
            return ""
        return sale

    async def regret(self, sale: str) -> None:
        """The store takes it back, all of it or a part; now and then it thinks better of it."""
        word = await self.stores.act("refund", sale=sale, whole=self.chance.random() < 0.5)
        await self.stores.tell(word, self.chance.choice((1, 1, 2)))
        if self._store == "google" or self.chance.random() >= RESTORED:
            return
        await asyncio.sleep(self.chance.random() * 3)
        back = await self.stores.act("restore", sale=sale)
        await asyncio.gather(self.stores.tell(back), self._bring(back))

    async def subscribe(self, tired: asyncio.Event) -> None:
        """Subscribe for some periods, each of which is told before the next one begins; then stop, and lose it, or be given the
        money back."""
        intent = await self._intent(CLUB)
        if not intent:
            return
        about = {"store": self._store, "buyer": self.phone.user, "product": CLUB, "intent": intent, "period_s": PERIOD_S}
        word = await self.stores.act("subscribe", **about)
        name = word["subscription"]
        await self._told(word, self.chance.choice(("phone", "twice", "notice")))
        for _ in range(self.chance.randrange(PERIODS + 1)):
            if not await self._arrived(word["sale"]) or tired.is_set():
                break
            await self._pause(tired, PERIOD_S)
            word = await self.stores.act("renew", subscription=name, period_s=PERIOD_S)
            await self.stores.tell(word, self.chance.choice((1, 2)))
        if not await self._arrived(word["sale"]):
            return
        await self._pause(tired, PERIOD_S / 2)
        if self.chance.random() < 0.3:
            await self.stores.tell(await self.stores.act("refund", sale=word["sale"]), 2)
            return
        await self.stores.tell(await self.stores.act("stop", subscription=name))
        if self.chance.random() < 0.6:
            await asyncio.sleep(max(0.0, word["until_ms"] / 1_000 - time.time()) + 0.5)
            await self.stores.tell(await self.stores.act("expire", subscription=name), self.chance.choice((1, 2)))

    async def _pause(self, tired: asyncio.Event, seconds: float) -> None:
        try:
            await asyncio.wait_for(tired.wait(), seconds)
        except TimeoutError:
            return
