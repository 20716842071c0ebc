"""What a city deals with outside of Olo, in one place: what both stores sell and take back, the provider of payouts, and a bank
that takes files of payments. Each keeps records of its own, which the city's books hold Olo against; none of what they know
comes from Olo, but what a store, the provider or the bank is told in the course of business.

`POST /market/<act>` with the act's fields as JSON. What a store says of a purchase is a *word*: what its phone is given
(`phone`) and the notification that the store sends to us (`notice`: path, headers, body), with the name of the `sale`, of its
`subscription` and until when a period lasts (`until_ms`).
"""

import json
import random
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.lab.city.app_store import AppStore
from tests.lab.city.bank import Bank
from tests.lab.city.json_server import Answer, JsonServer
from tests.lab.city.payout_provider import Provider, answer_of
from tests.lab.city.play_store import PlayStore

APPLE, GOOGLE = "apple_sandbox", "google"
# What one of a pack costs, in thousandths of a euro, at both stores.
PRICES: Final = {"city.small": 4_990, "city.medium": 9_990, "city.large": 19_990, "city.club": 7_990}
WHOLE: Final = 100_000
CONSUME_TROUBLE: Final = 0.2
# In the last moment of a period a word is signed behind its end.
LAST_MS: Final = 300
PATHS: Final = ("/market/", "/play/", "/payouts/")


@dataclass
class Sale:
    """A store's record of a transaction: of whose, of what, how many for how much altogether, and how much of it was taken back
    (`revoked` of `parts`). `subscription`: of which it is a period; `paid`: a pending one is not, yet."""

    store: str
    id: str
    buyer: str
    product: str
    intent: str
    quantity: int
    price_milliunits: int
    at_ms: int
    token: str = ""
    subscription: str = ""
    until_ms: int = 0
    revoked: int = 0
    parts: int = WHOLE
    paid: bool = True

    @property
    def name(self) -> str:
        """Under which we know it, too: store and transaction are public."""
        return f"{self.store}:{self.id}"


@dataclass
class Standing:
    """A subscription at its store: its latest period, whether it renews, and where it stands."""

    buyer: str
    period: Sale
    number: int = 1
    status: str = "active"
    renews: bool = True


class Market:
    """`sales`, `standings`: the stores' records by name; `provider`, `bank`: theirs."""

    def __init__(self, apple: AppStore, play: PlayStore, provider: Provider, seed: int = 1) -> None:
        self.apple, self.play, self.provider, self.bank = apple, play, provider, Bank(seed)
        self.sales: dict[str, Sale] = {}
        self.standings: dict[str, Standing] = {}
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._acts = {
            name: getattr(self, f"_{name}")
            for name in (
                "sell",
                "pay",
                "call_off",
                "refund",
                "restore",
                "subscribe",
                "renew",
                "stop",
                "expire",
                "take",
                "books",
            )
        }

    def knows(self, path: str) -> bool:
        """Whether a path is one of the market's."""
        return path.startswith(PATHS)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """A request: of the city, or of Olo to Google Play or the provider. Status 0: the line is cut."""
        place, _, rest = path.removeprefix("/").partition("/")
        if place == "play":
            return self.play.answers(method, f"/{rest}", headers, body)
        with self._lock:
            if place == "payouts":
                return answer_of(self.provider, method, f"/{rest}", headers, body)
            try:
                return 200, {}, self._acts[rest](**json.loads(body or b"{}"))
            except (LookupError, TypeError, ValueError) as error:
                return 500, {}, {"error": f"{rest}: {error!r}"}

    # --- packs, each bought once -------------------------------------------------------------------------------------------

    def _sell(
        self, store: str, buyer: str, product: str, intent: str, quantity: int = 1, *, pending: bool = False
    ) -> dict[str, Any]:
        """Somebody buys; at Google it may be pending until it is paid or called off."""
        price = PRICES[product] * quantity
        id_ = str(uuid.uuid4().int % 10**15) if store == APPLE else f"GPA.{uuid.uuid4().hex[:16]}"
        sale = Sale(store, id_, buyer, product, intent, quantity, price, _now_ms(), paid=not pending)
        if store == GOOGLE:
            sale.token, sale.parts = uuid.uuid4().hex, quantity
            self.play.sell(sale.token, product, intent, id_, quantity=quantity, purchaseState=2 * pending, price=_money(price))
            if self._chance.random() < CONSUME_TROUBLE:
                self.play.consume_trouble.append(self._chance.choice((500, 429, 0)))
        self.sales[sale.name] = sale
        return self._word(sale, "ONE_TIME_CHARGE")

    def _pay(self, sale: str) -> dict[str, Any]:
        """What was pending is paid."""
        found = self.sales[sale]
        found.paid = True
        self.play.orders[found.token]["purchaseState"] = 0
        return self._word(found, "")

    def _call_off(self, sale: str) -> dict[str, Any]:
        """What was pending will not be paid: nobody has bought anything."""
        found = self.sales[sale]
        self.play.orders[found.token]["purchaseState"] = 1
        return self._word(found, "")

    def _refund(self, sale: str, *, whole: bool = True) -> dict[str, Any]:
        """The store gives the money back, all of it or a part: at Google one of several. The latest period's subscription ends
        with it."""
        found = self.sales[sale]
        found.revoked = found.parts if whole else self._chance.choice((25_000, 50_000, 66_666)) if found.store == APPLE else 1
        if found.subscription:
            standing = self.standings[found.subscription]
            standing.status, standing.renews = "revoked", False
            if found.store == GOOGLE:
                self.play.refunded.add(found.id)
                self._state(standing, "EXPIRED")
        elif found.store == GOOGLE:
            left = found.quantity - found.revoked
            self.play.orders[found.token] |= {"refundableQuantity": left} if left else {"purchaseState": 1}
            self.play.void(found.token, found.id, None if whole else found.revoked)
        return self._word(found, "REFUND")

    def _restore(self, sale: str) -> dict[str, Any]:
        """The App Store takes its refund back."""
        found = self.sales[sale]
        found.revoked = 0
        return self._word(found, "REFUND_REVERSED")

    # --- subscriptions, whose periods last some seconds --------------------------------------------------------------------

    def _subscribe(self, store: str, buyer: str, product: str, intent: str, period_s: float) -> dict[str, Any]:
        first = str(uuid.uuid4().int % 10**12) if store == APPLE else f"GPA.{uuid.uuid4().hex[:16]}"
        name, at_ms = f"subscription:{store}:{first}", _now_ms()
        id_ = f"{first}1" if store == APPLE else first
        period = Sale(store, id_, buyer, product, intent, 1, PRICES[product], at_ms, uuid.uuid4().hex, name)
        period.until_ms = at_ms + round(period_s * 1_000)
        self.standings[name] = Standing(buyer, period)
        self.sales[period.name] = period
        if store == GOOGLE:
            self._state(self.standings[name], "ACTIVE")
        return self._word(period, "SUBSCRIBED")

    def _renew(self, subscription: str, period_s: float) -> dict[str, Any]:
        """The next period is paid for."""
        standing = self.standings[subscription]
        last, first = standing.period, subscription.rpartition(":")[2]
        standing.number += 1
        id_ = f"{first}{standing.number}" if last.store == APPLE else f"{first}..{standing.number - 2}"
        until_ms = max(last.until_ms, _now_ms()) + round(period_s * 1_000)
        fields = asdict(last) | {"id": id_, "at_ms": _now_ms(), "until_ms": until_ms}
        standing.period = Sale(**fields)
        self.sales[standing.period.name] = standing.period
        if last.store == GOOGLE:
            self._state(standing, "ACTIVE")
        return self._word(standing.period, "DID_RENEW")

    def _stop(self, subscription: str) -> dict[str, Any]:
        """It will not be renewed; it lasts on, unless what is paid for is over, or is about to be."""
        standing = self.standings[subscription]
        if (left_ms := standing.period.until_ms - _now_ms()) < LAST_MS:
            time.sleep(max(0, left_ms + 1) / 1_000)
            return self._expire(subscription)
        standing.renews = False
        if standing.period.store == GOOGLE:
            self._state(standing, "CANCELED")
        return self._word(standing.period, "DID_CHANGE_RENEWAL_STATUS")

    def _expire(self, subscription: str) -> dict[str, Any]:
        """What is paid for is over."""
        standing = self.standings[subscription]
        standing.status, standing.renews = "expired", False
        if standing.period.store == GOOGLE:
            self._state(standing, "EXPIRED")
        return self._word(standing.period, "EXPIRED")

    def _state(self, standing: Standing, state: str) -> None:
        """What Google says of a subscription from now on; its order costs what it costs."""
        period = standing.period
        until = datetime.fromtimestamp(period.until_ms / 1_000, UTC).isoformat().replace("+00:00", "Z")
        line = {"expiryTime": until, "autoRenewingPlan": {"autoRenewEnabled": standing.renews}}
        at = (period.token, period.product, period.intent, period.id)
        self.play.subscribe(*at, line=line, subscriptionState=f"SUBSCRIPTION_STATE_{state}")
        self.play.orders[period.id] = {"orderId": period.id, "sku": "", "price": _money(period.price_milliunits)}

    # --- what a store says -------------------------------------------------------------------------------------------------

    def _word(self, sale: Sale, kind: str) -> dict[str, Any]:
        about = {"sale": sale.name, "subscription": sale.subscription, "until_ms": sale.until_ms}
        return about | (self._of_apple(sale, kind) if sale.store == APPLE else self._of_google(sale, kind))

    def _of_apple(self, sale: Sale, kind: str) -> dict[str, Any]:
        changes: dict[str, Any] = {
            "transactionId": sale.id, "quantity": sale.quantity, "price": sale.price_milliunits, "purchaseDate": sale.at_ms,
        }  # fmt: skip
        if sale.revoked:
            changes |= {"revocationDate": _now_ms(), "revocationPercentage": sale.revoked}
        renewal: dict[str, Any] = {}
        if sale.subscription:
            changes |= {
                "type": "Auto-Renewable Subscription", "originalTransactionId": sale.subscription.rpartition(":")[2],
                "expiresDate": sale.until_ms,
            }  # fmt: skip
            renewal = {"autoRenewStatus": int(self.standings[sale.subscription].renews)}
        signed = self.apple.sell(sale.product, sale.intent, **changes)
        body = self.apple.notify(kind, signed, **renewal)
        return {
            "phone": {"path": "/v1/payments/apple", "body": {"signed_transaction": signed}},
            "notice": {"path": "/v1/webhooks/apple", "headers": {}, "body": body},
        }

    def _of_google(self, sale: Sale, kind: str) -> dict[str, Any]:
        bring: dict[str, Any] = {"product": sale.product, "purchase_token": sale.token}
        if sale.subscription:
            bring["subscription"] = True
        about: dict[str, Any] = {"purchaseToken": sale.token}
        if kind == "REFUND":
            about |= {"orderId": sale.id, "productType": 1 if sale.subscription else 2, "refundType": 1}
            headers, body = self.play.notify("voidedPurchaseNotification", about)
        elif sale.subscription:
            headers, body = self.play.notify("subscriptionNotification", about | {"version": "1.0", "notificationType": 2})
        else:
            headers, body = self.play.notify("oneTimeProductNotification", about | {"sku": sale.product, "notificationType": 1})
        return {
            "phone": {"path": "/v1/payments/google", "body": bring},
            "notice": {"path": "/v1/webhooks/google", "headers": headers, "body": body},
        }

    # --- the bank, and the records -----------------------------------------------------------------------------------------

    def _take(self, file: str) -> dict[str, Any]:
        """The bank takes a file of payments; what its statements will say of each."""
        return {"statements": self.bank.take(file.encode())}

    def _books(self) -> dict[str, Any]:
        taken = {
            id_: {"holder": one.body["holder"], "cents": one.body["amount_cents"], "paid": one.pays, "pending": bool(one.slow)}
            for id_, one in self.provider.taken.items()
        }
        return {
            "sales": {name: asdict(sale) for name, sale in self.sales.items()},
            "standings": {
                name: {"buyer": one.buyer, "status": one.status, "renews": one.renews} for name, one in self.standings.items()
            },
            "consumed": list(self.play.consumed), "provider": taken, "changed": list(self.provider.changed),
            "bank": {id_: asdict(one) for id_, one in self.bank.payments.items()},
        }  # fmt: skip


class MarketServer:
    """A market on the loopback by itself, with keys in a folder; `settings` lead a platform to it."""

    def __init__(self, folder: Path) -> None:
        self._server = JsonServer(self._answers)
        self.url = self._server.url
        self.market = market(folder, self.url)
        self.settings = settings(folder, self.url)

    def _answers(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return self.market.answer(method, path, headers, body)

    def close(self) -> None:
        """End it."""
        self._server.close()


def market(folder: Path, url: str) -> Market:
    """A market that is asked at `url`, with keys of its own in a folder."""
    provider = Provider(1, most=2, slow=(0, 1))
    return Market(AppStore(folder), PlayStore(folder, f"{url}/play"), provider)


def settings(folder: Path, url: str) -> dict[str, str]:
    """What leads a platform to the market at `url`."""
    return {
        **AppStore(folder).settings, **PlayStore.asked_at(folder, f"{url}/play"), "OLO_PAYOUT_URL": f"{url}/payouts",
        "OLO_PAYOUT_KEY": Provider.KEY, "OLO_PAYER_NAME": "Olo", "OLO_PAYER_IBAN": "DE89370400440532013000",
    }  # fmt: skip


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _money(milliunits: int) -> dict[str, Any]:
    return {"currencyCode": "EUR", "units": str(milliunits // 1_000), "nanos": milliunits % 1_000 * 1_000_000}
