"""The city's stores and books of trade, without a platform: what stores sign is read as it is, and cooked books are told."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from infra.config import load
from infra.sepa import Payment, transfer_file
from infra.vendors.app_store import read_notification, read_transaction
from infra.vendors.play_store import Hint, read_notice, read_purchase
from infra.vendors.play_subscription import read_subscription
from schemas.log.base import now
from schemas.purchase import WHOLE, ClaimPurchase, purchase_name
from schemas.subscription import ClaimSubscription, SubscriptionStatus
from tests.lab.city.bank import Bank
from tests.lab.city.market import APPLE, GOOGLE
from tests.lab.city.phone import Entry, Phone, Sights
from tests.lab.city.shopping import Stores
from tests.lab.city.trade_books import TradeBooks, _split, due_coins
from tests.vendor_stub import AdStub

INTENT = "6f0c1d1e-0000-4000-8000-000000000001"
CLIENT = httpx.Client(trust_env=False)
IBAN = "DE89370400440532013000"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdStub]:
    stub = AdStub(tmp_path_factory.mktemp("keys"))
    yield stub
    stub.close()


def act(stub: AdStub, name: str, **fields: Any) -> Any:
    answer = httpx.post(f"{stub.url}/market/{name}", json=fields, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def settings(stub: AdStub) -> Any:
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in stub.environment.items()})


def test_what_the_app_store_of_a_city_says_is_read_as_it_is(stub: AdStub) -> None:
    config = settings(stub)
    word = act(stub, "sell", store=APPLE, buyer="bob", product="city.small", intent=INTENT, quantity=2)
    read = read_transaction(config, word["phone"]["body"]["signed_transaction"], "bob", "m")
    assert isinstance(read, ClaimPurchase)
    assert (read.purchase, read.quantity, read.price_milliunits) == (word["sale"], 2, 9_980)
    back = read_notification(config, act(stub, "refund", sale=word["sale"])["notice"]["body"]["signedPayload"], "m")
    assert isinstance(back, ClaimPurchase)
    assert back.revoked_parts == WHOLE
    again = act(stub, "restore", sale=word["sale"])
    restored = read_transaction(config, again["phone"]["body"]["signed_transaction"], "", "m")
    assert isinstance(restored, ClaimPurchase)
    assert (restored.revoked_parts, restored.signed_at >= back.signed_at) == (0, True)
    assert act(stub, "books")["sales"][word["sale"]]["revoked"] == 0


def test_what_google_of_a_city_says_is_read_as_it_is(stub: AdStub) -> None:
    config = settings(stub)
    about = {"store": GOOGLE, "buyer": "bob", "product": "city.medium", "intent": INTENT, "quantity": 2}
    word = act(stub, "sell", **about, pending=True)
    assert not act(stub, "books")["sales"][word["sale"]]["paid"]
    act(stub, "pay", sale=word["sale"])
    bring = word["phone"]["body"]
    notice = act(stub, "refund", sale=word["sale"], whole=False)["notice"]
    hint = read_notice(config, notice["headers"]["Authorization"], notice["body"])
    assert purchase_name(cast("Any", GOOGLE), hint.order) == word["sale"]
    read = read_purchase(config, CLIENT, Hint("phone", bring["purchase_token"], bring["product"]), "bob", "m")
    assert (read.purchase, read.price_milliunits, read.revoked_parts, read.parts) == (word["sale"], 19_980, 1, 2)


@pytest.mark.parametrize("store", [APPLE, GOOGLE])
def test_a_subscription_of_a_city_goes_its_way(stub: AdStub, store: str) -> None:
    config = settings(stub)

    def read(word: Any) -> ClaimSubscription:
        if store == GOOGLE:
            return read_subscription(config, CLIENT, word["phone"]["body"]["purchase_token"], "bob", "m")[-1]
        found = read_notification(config, word["notice"]["body"]["signedPayload"], "m")
        assert isinstance(found, ClaimSubscription)
        return found

    about = {"store": store, "buyer": "bob", "product": "city.club", "intent": INTENT}
    lasting = act(stub, "subscribe", **about, period_s=60)
    stopped = read(act(stub, "stop", subscription=lasting["subscription"]))
    assert (stopped.status, stopped.renews) == (SubscriptionStatus.ACTIVE, False)
    first = act(stub, "subscribe", **about, period_s=0.01)
    name = first["subscription"]
    assert (read(first).name, read(first).price_milliunits) == (name, 7_990)
    second = act(stub, "renew", subscription=name, period_s=0.01)
    assert second["sale"] == f"{store}:{read(second).transaction}" != first["sale"]
    assert not read(act(stub, "stop", subscription=name)).renews
    assert act(stub, "books")["standings"][name]["status"] == "expired"
    while (over := read(act(stub, "expire", subscription=name))).status is not SubscriptionStatus.EXPIRED:
        assert over.paid_until >= over.told_at
    assert act(stub, "books")["standings"][name] == {"buyer": "bob", "status": "expired", "renews": False}
    assert read(act(stub, "refund", sale=second["sale"])).revoked_parts == WHOLE


def test_a_bank_pays_a_file_once_and_tells_of_what_comes_again() -> None:
    file = transfer_file("b", now(), ("Olo", IBAN), [Payment("p1", "Sue", IBAN, 480, "x"), Payment("p2", "Bob", IBAN, 20, "x")])
    bank = Bank(1)
    said = bank.take(file)
    assert set(said) == {"p1", "p2"}
    assert not bank.take(file)
    assert {id_: (one.cents, one.holder, one.times) for id_, one in bank.payments.items()} == {
        "p1": (480, "Sue", 2), "p2": (20, "Bob", 2),
    }  # fmt: skip
    with pytest.raises(ValueError, match="the file says"):
        bank.take(file.replace(b"4.80", b"4.90", 1))


@pytest.mark.parametrize(
    ("sale", "due"),
    [
        ({}, 800), ({"paid": False}, 0), ({"revoked": 33_333}, 534), ({"revoked": WHOLE}, 0),
        ({"revoked": 1, "parts": 2}, 400), ({"product": "city.club", "quantity": 1}, 300),
    ],
)  # fmt: skip
def test_what_a_record_of_a_store_is_worth(sale: dict[str, Any], due: int) -> None:
    assert due_coins({"product": "city.small", "quantity": 2, "paid": True, "revoked": 0, "parts": WHOLE, **sale}) == due


def entry(coins: int, reason: str, ref: str = "", kind: str = "credit", counterparty: str = "") -> Entry:
    return Entry(1, coins, 0, reason, ref, kind, counterparty)


def test_a_share_that_is_not_what_was_accepted_is_told() -> None:
    joined, of = entry(0, "share", kind="share", counterparty="stars/earnings"), {"stars": 2_000}
    earned, shared = entry(9, "call"), entry(-1, "share", kind="debit", counterparty="stars/earnings")
    left = entry(0, "share", kind="share")
    assert not list(_split("sue", of, [entry(9, "call"), joined, earned, shared, left, earned]))
    assert list(_split("sue", of, [joined, earned])) == ["sue: stars has 0 coins of 9, where 1 are due"]
    assert len(list(_split("sue", of, [joined, earned, shared, shared, left]))) == 1


def test_coins_that_no_store_has_sold_are_told_and_coins_that_are_missing(stub: AdStub) -> None:
    finance, sights = SimpleNamespace(agencies=[]), Sights()
    phone = Phone("ann", "t", httpx.AsyncClient(), sights)
    phone.entries["ann/coins"] = [Entry(1, 0, 0, "start", ""), entry(400, "purchase", "apple_sandbox:1")]
    books = TradeBooks(Stores("", httpx.AsyncClient(), sights), cast("Any", finance), [], [], "")
    sale = {
        "buyer": "ann",
        "product": "city.small",
        "quantity": 1,
        "paid": True,
        "revoked": 0,
        "parts": WHOLE,
        "subscription": "",
    }
    assert not list(books._purchases({"apple_sandbox:1": sale}, {"ann": phone}))
    (foreign,) = books._purchases({}, {"ann": phone})
    assert "which no store has sold" in foreign
    (missing,) = books._purchases({"apple_sandbox:1": sale, "google:2": sale}, {"ann": phone})
    assert "google:2: 400 coins are ann's" in missing
