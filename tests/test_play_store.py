"""What Google Play sells: read as it is, each bad one a named error; notifications only hint; by HTTP: coins once, refunds."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra import vendors as outside
from infra.config import Config, load
from infra.vendors.answers import Attempt
from infra.vendors.app_store import ForgedError
from infra.vendors.play_store import AwayError, Hint, missing_settings, price_of, read_notice, read_purchase
from schemas.log.base import now
from schemas.outbox import PLAY, AttemptOutcome, EffectDue, EffectKind
from schemas.payment import StoreAct
from schemas.purchase import WHOLE, Store
from tests.conftest import Api, NewUser, Phones, eventually
from tests.lab.city.play_store import PlayStore

INTENT = str(uuid.uuid4())
CLIENT = httpx.Client(trust_env=False)


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayStore]:
    store = PlayStore(tmp_path_factory.mktemp("play"))
    yield store
    store.close()


def config_of(store: PlayStore, **more: str) -> Config:
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in store.settings.items()} | more)


def read(store: PlayStore, token: str = "t", product: str = "coins100", **more: str) -> Any:
    return read_purchase(config_of(store, **more), CLIENT, Hint("phone", token, product), "bob", "m")


def test_a_purchase_is_read_as_it_is(play: PlayStore) -> None:
    play.sell("t/1?", "coins100", INTENT.upper(), "GPA.1-2", quantity=3)
    claim = read(play, "t/1?")
    assert (claim.purchase, claim.store, claim.intent, claim.store_product) == (
        "google:GPA.1-2",
        Store.GOOGLE,
        INTENT,
        "coins100",
    )
    assert (claim.quantity, claim.revoked_parts, claim.user, claim.token) == (3, 0, "bob", "t/1?")
    assert (claim.country, claim.currency, claim.price_milliunits) == ("DE", "EUR", 4_990)
    broken: tuple[Any, ...] = (None, {"units": "4"}, {"currencyCode": "EUR", "units": "x"}, [])
    for price in broken:
        play.sell("t", "coins100", INTENT, "GPA.1", price=price, regionCode=None)
        assert (read(play).country, read(play).currency, read(play).price_milliunits) == ("", "", 0)


@pytest.mark.parametrize(
    ("changes", "revoked"),
    [
        ({"purchaseState": 1}, (WHOLE, WHOLE)), ({"quantity": 4, "refundableQuantity": 3}, (1, 4)),
        ({"quantity": 2, "refundableQuantity": 0}, (2, 2)), ({"refundableQuantity": 1}, (0, 1)), ({"purchaseType": 1}, (0, 1)),
    ],
)  # fmt: skip
def test_what_google_has_taken_back(play: PlayStore, changes: dict[str, Any], revoked: tuple[int, int]) -> None:
    play.sell("t", "coins100", INTENT, "GPA.1", **changes)
    claim = read(play)
    assert (claim.revoked_parts, claim.parts) == revoked


def test_a_purchase_by_a_code_is_known_by_its_token(play: PlayStore) -> None:
    play.sell("t", "coins100", INTENT, "", orderId=None, purchaseType=1)
    assert read(play).purchase == read(play).purchase
    assert read(play).purchase.startswith("google:token-")


@pytest.mark.parametrize("units", [float("inf"), float("-inf"), float("nan"), "many", None, [1]], ids=str)
def test_a_price_that_is_no_number_is_not_known(units: object) -> None:
    """Google's JSON may say Infinity, as ours would read it."""
    for name in ("units", "nanos"):
        assert price_of({"total": {"currencyCode": "EUR", name: units}}) == {}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"purchaseState": 2}, "purchase_pending"),
        ({"purchaseType": 0}, "transaction_of_another_environment"),
        ({"purchaseTimeMillis": None}, "transaction_time_impossible"),
        ({"purchaseTimeMillis": "99999999999999"}, "transaction_time_impossible"),
        ({"purchaseTimeMillis": "soon"}, "transaction_unreadable"),
        ({"orderId": "a b"}, "transaction_unreadable"),
        ({"quantity": -1}, "transaction_unreadable"),
        ({"quantity": [1]}, "transaction_unreadable"),
        ({"quantity": float("inf")}, "transaction_unreadable"),
        ({"purchaseTimeMillis": float("inf")}, "transaction_unreadable"),
    ],
    ids=str,
)
def test_each_bad_field_by_name(play: PlayStore, changes: dict[str, Any], code: str) -> None:
    play.sell("t", "coins100", INTENT, "GPA.1", **changes)
    with pytest.raises(ForgedError) as caught:
        read(play)
    assert caught.value.code == code


def test_a_testers_purchase_counts_where_it_is_said_and_comes_from_another_party(play: PlayStore) -> None:
    play.sell("t", "coins100", INTENT, "GPA.1", purchaseType=0)
    assert read(play, play_test_purchases="true").store is Store.GOOGLE_SANDBOX


def test_what_google_does_not_know_and_what_it_does_not_say(play: PlayStore, tmp_path: Path) -> None:
    play.sell("t", "coins100", INTENT, "GPA.1")
    for token, product in (("other", "coins100"), ("t", "coins900")):
        with pytest.raises(ForgedError) as caught:
            read(play, token, product)
        assert caught.value.code == "transaction_unknown"
    with pytest.raises(ForgedError):
        read(play, "t", "../x")
    for status in (500, 429, 403):
        play.trouble = [status]
        with pytest.raises(AwayError):
            read(play)
    with pytest.raises(AwayError):
        read(play, play_url="http://127.0.0.1:9")
    with pytest.raises(AwayError):
        read(play, play_key_file=str(tmp_path / "none"))
    assert missing_settings(load(home=str(tmp_path))) == ["OLO_PLAY_KEY_FILE", "OLO_APP_ID_ANDROID"]
    assert missing_settings(config_of(play), notices=True) == []


def test_a_purchase_is_consumed_once_whatever_google_answers(play: PlayStore, tmp_path: Path) -> None:
    due = EffectDue(
        id="d", at=now(), cause="c", effect="consume/google:GPA.7", kind=EffectKind.CONSUME, provider=PLAY, attempt=1,
        subject="google:GPA.7", expires_at=now() + timedelta(days=1), store_act=StoreAct("coins100", "t/7?"),
    )  # fmt: skip

    def attempt(**more: str) -> Attempt:
        return outside.attempt(due, config_of(play, **more), CLIENT)

    play.sell("t/7?", "coins100", INTENT, "GPA.7")
    for trouble in (503, 429, 401, 403, 409):
        play.consume_trouble = [trouble] * 2
        assert (trouble, attempt().outcome) == (trouble, AttemptOutcome.FAILED)
    assert attempt(play_url="http://127.0.0.1:9").outcome is AttemptOutcome.FAILED
    assert attempt(play_key_file=str(tmp_path / "none")).outcome is AttemptOutcome.REFUSED
    assert attempt(play_key_file="").outcome is AttemptOutcome.REFUSED
    assert play.consumed == []
    play.consume_trouble = [0]
    assert [attempt().outcome for _ in range(2)] == [AttemptOutcome.ACCEPTED] * 2
    assert play.consumed == ["GPA.7"]
    play.sell("t/7?", "coins100", INTENT, "GPA.7", purchaseState=1)
    assert attempt().outcome is AttemptOutcome.ACCEPTED
    play.orders.clear()
    assert attempt().outcome is AttemptOutcome.REFUSED


def test_a_notification_only_hints(play: PlayStore) -> None:
    def hint(kind: str, told: dict[str, Any], **changes: Any) -> Hint:
        headers, body = play.notify(kind, told, **changes)
        return read_notice(config_of(play), headers["Authorization"], body)

    bought = {"version": "1.0", "notificationType": 1, "purchaseToken": "t", "sku": "coins100"}
    assert hint("oneTimeProductNotification", bought) == Hint("oneTimeProductNotification", "t", "coins100", "")
    voided = {"purchaseToken": "t", "orderId": "GPA.1", "productType": 2, "refundType": 1}
    assert hint("voidedPurchaseNotification", voided) == Hint("voidedPurchaseNotification", "t", "", "GPA.1")
    assert hint("voidedPurchaseNotification", voided | {"productType": 1}) == Hint("subscriptionNotification", "t")
    asked = {"version": "1.0", "pendingRefundToken": "r", "orderId": "GPA.1", "refundReason": 7}
    assert hint("pendingRefundReviewNotification", asked) == Hint("pendingRefundReviewNotification", "r", "", "GPA.1")
    assert hint("testNotification", {"version": "1.0"}) == Hint("testNotification")
    assert play.certificates_asked == 1  # whoever sends whatever
    wrong = ({"email": "eve@x"}, {"aud": "other"}, {"iss": "https://eve"}, {"email_verified": False}, {"exp": 1})
    for changes in wrong:
        with pytest.raises(ForgedError) as caught:
            hint("testNotification", {"version": "1.0"}, **changes)
        assert caught.value.code == "signature_invalid"
    with pytest.raises(ForgedError) as caught:
        hint("testNotification", {}, package="app.other")
    assert caught.value.code == "transaction_of_another_app"
    headers, body = play.notify("oneTimeProductNotification", {"sku": "x"})
    forms: tuple[Any, ...] = (body, {}, [], {"message": {"data": "e30="}}, {"message": {"data": "?"}})
    for broken in forms:
        with pytest.raises(ForgedError) as caught:
            read_notice(config_of(play), headers["Authorization"], broken)
        assert caught.value.code == "transaction_unreadable"


def test_bought_by_phone_told_by_google_and_taken_back(
    admin: Api, phones: Phones, new_user: NewUser, play_store: PlayStore
) -> None:
    bob, _ = phones(coins=0)
    product, token, order = f"coins{uuid.uuid4().hex[:8]}", uuid.uuid4().hex, f"GPA.{uuid.uuid4().hex[:12]}"
    admin.put(f"/v1/admin/products/{product}", json={"coins": 100, "google_id": product})
    intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()["intent"]
    body = {"product": product, "purchase_token": token}
    unknown = bob.api.post("/v1/payments/google", json=body)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "transaction_unknown")
    play_store.sell(token, product, intent, order, purchaseState=2)
    pending = bob.api.post("/v1/payments/google", json=body)
    assert (pending.status_code, pending.json()["code"]) == (409, "purchase_pending")
    play_store.consume_trouble = [503, 0]
    play_store.sell(token, product, intent, order, quantity=2)
    for _ in range(2):
        first = bob.api.post("/v1/payments/google", json=body)
        assert (first.status_code, first.json()["coins"]) == (200, 200), first.text
    eventually(lambda: play_store.consumed.count(order))
    stolen = new_user().post("/v1/payments/google", json=body)
    assert (stolen.status_code, stolen.json()["code"]) == (409, "purchase_of_another")

    def told(kind: str, what: dict[str, Any], **changes: Any) -> httpx.Response:
        headers, push = play_store.notify(kind, what, **changes)
        return bob.api.post("/v1/webhooks/google", json=push, headers=headers)

    assert told("oneTimeProductNotification", {"purchaseToken": token, "sku": product}).json() == {"status": "noted"}
    assert told("testNotification", {"version": "1.0"}).json() == {"status": "noted"}
    assert told("testNotification", {"version": "1.0"}, email="eve@x").status_code == 401
    assert told("subscriptionNotification", {"version": "1.0"}).json() == {"status": "kept"}
    play_store.sell(token, product, intent, order, quantity=2, refundableQuantity=1)
    voided = {"purchaseToken": token, "orderId": order, "productType": 2, "refundType": 2}
    assert told("voidedPurchaseNotification", voided).json() == {"status": "noted"}
    assert bob.wait_for("PurchaseRefunded")["net_coins"] == 100
    assert bob.api.get("/v1/balance").json()["balance_coins"] == 100
    assert told("voidedPurchaseNotification", voided | {"orderId": "GPA.none"}).json() == {"status": "noted"}
    assert play_store.consumed.count(order) == 1
    for _ in range(2):
        asked = {"pendingRefundToken": f"review-{order}", "orderId": order, "refundReason": 7}
        assert told("pendingRefundReviewNotification", asked).json() == {"status": "noted"}
    answer = eventually(lambda: play_store.reviews.get(f"review-{order}"))
    assert answer == {
        "sampleContentProvided": False, "refundPreference": "NEUTRAL", "consumptionPercentageMilliunits": 0
    }  # fmt: skip
    play_store.trouble = [500]
    away = bob.api.send(bob.api.build_request("POST", "/v1/payments/google", json=body))
    assert away.status_code in (200, 503)
