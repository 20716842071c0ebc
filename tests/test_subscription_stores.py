"""Subscriptions that are changed to another product, as both stores tell it: read as it is, and by HTTP: asked for, waiting for
the renewal, changed at Apple; replaced at Google, by its owner alone."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from infra.vendors.app_store import ForgedError, read_notification
from infra.vendors.play_subscription import read_subscription
from schemas.purchase import Store
from schemas.subscription import ClaimSubscription, subscription_name
from tests.conftest import Api, Phones, eventually
from tests.lab.city.app_store import AppStore
from tests.lab.city.app_store_api import AppStoreApi
from tests.lab.city.play_store import PlayStore
from tests.test_app_store import config_of
from tests.test_play_store import CLIENT
from tests.test_play_store import config_of as play_config

OLD, NEW = (subscription_name(Store.GOOGLE, one) for one in ("GPA.1", "GPA.2"))


def test_apple_tells_what_it_will_be_changed_to(app_store: AppStore) -> None:
    config, signed = config_of(app_store), app_store.renew("vip.month", "I", "901", 1)
    for chosen, next_ in (("vip.year", "vip.year"), ("vip.month", ""), (None, "")):
        told = read_notification(
            config, app_store.notify("DID_CHANGE_RENEWAL_PREF", signed, autoRenewProductId=chosen)["signedPayload"], "m"
        )
        assert isinstance(told, ClaimSubscription)
        assert told.next_store_product == next_
    with pytest.raises(ForgedError):
        read_notification(config, app_store.notify("DID_RENEW", signed, autoRenewProductId="a b")["signedPayload"], "m")


def test_google_tells_of_what_was_replaced_and_of_what_waits(tmp_path: Path) -> None:
    store = PlayStore(tmp_path)
    config = play_config(store)

    def read(token: str) -> list[ClaimSubscription]:
        return read_subscription(config, CLIENT, token, "bob", "m")

    store.subscribe("t1", "vip.month", "i", "GPA.1..0", subscriptionState="SUBSCRIPTION_STATE_EXPIRED")
    store.subscribe("t2", "vip.year", "j", "GPA.2", linkedPurchaseToken="t1")
    old, new = read("t2")
    assert (old.name, old.replaced, old.renews, old.user, old.token) == (OLD, True, False, "", "t1")
    assert (new.name, new.replaced, new.user, new.intent, new.linked_intent) == (NEW, False, "bob", "j", "i")
    store.subscriptions["t2"]["externalAccountIdentifiers"] = None
    assert [one.intent for one in read("t2")] == ["i", "i"]
    store.subscribe("t2", "vip.year", "j", "GPA.2", linkedPurchaseToken="gone")
    assert [(one.name, one.linked_intent) for one in read("t2")] == [(NEW, "")]
    waits = {"deferredItemReplacement": {"productId": "vip.year"}}
    store.subscribe("t3", "vip.month", "j", "GPA.1..1", linkedPurchaseToken="t1", line=waits)
    store.subscriptions["t3"]["lineItems"].insert(0, {"productId": "vip.year", "expiryTime": "2031-01-01T00:00:00Z"})
    (waiting,) = read("t3")
    assert (waiting.name, waiting.store_product, waiting.next_store_product) == (OLD, "vip.month", "vip.year")
    store.subscribe("t4", "vip.year", "j", "GPA.3", linkedPurchaseToken="t5")
    store.subscribe("t5", "vip.month", "i", "GPA.1", line={"expiryTime": "soon"})
    assert [one.name for one in read("t4")] == [subscription_name(Store.GOOGLE, "GPA.3")]
    store.close()


def _sold(admin: Api, coins: int) -> str:
    product = f"s{uuid.uuid4().hex[:10]}"
    ids = {"apple_id": product, "google_id": product}
    assert admin.put(f"/v1/admin/products/{product}", json={"coins": coins, "renewing": True, "tag": product, **ids}).is_success
    return product


def test_a_subscription_is_changed_at_apple(admin: Api, phones: Phones, app_store_api: AppStoreApi) -> None:
    bob, _ = phones(coins=0)
    store, original = app_store_api.store, str(uuid.uuid4().int % 10**12)
    month, year = _sold(admin, 100), _sold(admin, 1_500)
    intent = bob.api.post("/v1/payments/intents", json={"product": month}, headers={"Idempotency-Key": "k"}).json()["intent"]
    first = store.renew(month, intent, original, 1)
    assert bob.api.post("/v1/payments/apple", json={"signed_transaction": first}).json()["coins"] == 100

    def told(kind: str, signed: str, **renewal: Any) -> None:
        notice = store.notify(kind, signed, **renewal)
        assert bob.api.post("/v1/webhooks/apple", json=notice).json() == {"status": "noted"}

    def stands() -> dict[str, Any]:
        (found,) = bob.api.get("/v1/subscriptions").json()["subscriptions"]
        return dict(found)

    told("DID_CHANGE_RENEWAL_PREF", first, autoRenewProductId=year, autoRenewStatus=1)
    eventually(lambda: stands()["next_product"] == year)
    assert (stands()["product"], stands()["coins"]) == (month, 100)
    staffs = admin.get(f"/v1/admin/accounts/{bob.user}/subscriptions").json()["subscriptions"]
    assert [one["next_product"] for one in staffs] == [year]
    told("DID_RENEW", store.renew(year, intent, original, 2), autoRenewProductId=year, autoRenewStatus=1)
    eventually(lambda: bob.api.get("/v1/balance").json()["balance_coins"] == 1_600)
    eventually(lambda: (stands()["product"], stands()["next_product"]) == (year, ""))
    eventually(lambda: admin.get(f"/v1/admin/tags/{bob.user}").json()["tags"] == [year])


def test_a_subscription_is_replaced_at_google(admin: Api, phones: Phones, play_store: PlayStore) -> None:
    bob, eve = phones(coins=0)
    month, year, run = _sold(admin, 100), _sold(admin, 1_500), uuid.uuid4().hex[:12]
    intents = [
        one.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()["intent"]
        for one, product in ((bob, month), (eve, year))
    ]
    body = {"product": month, "purchase_token": f"{run}1", "subscription": True}
    play_store.subscribe(f"{run}1", month, intents[0], f"GPA.{run}1")
    assert bob.api.post("/v1/payments/google", json=body).json()["coins"] == 100
    play_store.subscribe(f"{run}2", year, intents[1], f"GPA.{run}2", linkedPurchaseToken=f"{run}1")
    taken = eve.api.post("/v1/payments/google", json=body | {"product": year, "purchase_token": f"{run}2"})
    assert (taken.status_code, taken.json()["code"]) == (409, "purchase_of_another")
    play_store.subscribe(f"{run}2", year, intents[0], f"GPA.{run}2", linkedPurchaseToken=f"{run}1")
    answer = bob.api.post("/v1/payments/google", json=body | {"product": year, "purchase_token": f"{run}2"})
    assert (answer.status_code, answer.json()["coins"]) == (200, 1_500), answer.text
    eventually(lambda: bob.api.get("/v1/balance").json()["balance_coins"] == 1_600)
    eventually(lambda: admin.get(f"/v1/admin/tags/{bob.user}").json()["tags"] == [year])
    found = {one["product"]: one for one in bob.api.get("/v1/subscriptions").json()["subscriptions"]}
    assert {name: (one["status"], one["replaced"]) for name, one in found.items()} == {
        month: ("expired", True), year: ("active", False),
    }  # fmt: skip
