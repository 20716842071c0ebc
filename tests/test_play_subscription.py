"""Google Play's subscriptions: read as they are, each bad one a named error, acknowledged once; and by HTTP: begun by phone,
renewed and taken back by Google's notifications."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from infra import vendors as outside
from infra.vendors.app_store import ForgedError
from infra.vendors.play_subscription import read_subscription
from schemas.log.base import now
from schemas.outbox import PLAY, AttemptOutcome, EffectDue, EffectKind
from schemas.payment import StoreAct
from schemas.purchase import WHOLE
from schemas.subscription import SubscriptionStatus
from tests.conftest import Api, Phones, eventually
from tests.lab.city.play_store import PlayStore
from tests.test_play_store import CLIENT, INTENT, config_of

STATE = "SUBSCRIPTION_STATE_"


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayStore]:
    store = PlayStore(tmp_path_factory.mktemp("play"))
    yield store
    store.close()


def read(play: PlayStore, token: str = "t") -> Any:
    return read_subscription(config_of(play), CLIENT, token, "bob", "m")[-1]


@pytest.mark.parametrize(
    ("state", "status", "renews"),
    [
        ("ACTIVE", SubscriptionStatus.ACTIVE, True), ("CANCELED", SubscriptionStatus.ACTIVE, False),
        ("IN_GRACE_PERIOD", SubscriptionStatus.GRACE, True), ("ON_HOLD", SubscriptionStatus.HOLD, True),
        ("PAUSED", SubscriptionStatus.PAUSED, True), ("EXPIRED", SubscriptionStatus.EXPIRED, False),
    ],
)  # fmt: skip
def test_a_subscription_is_read_as_it_is(play: PlayStore, state: str, status: SubscriptionStatus, renews: bool) -> None:
    plan = {"autoRenewingPlan": {"autoRenewEnabled": renews}}
    play.subscribe("t", "vip.month", INTENT.upper(), "GPA.1..2", subscriptionState=STATE + state, line=plan)
    word = read(play)
    assert (word.name, word.transaction, word.intent) == ("subscription:google:GPA.1", "GPA.1..2", INTENT)
    assert (word.status, word.renews, word.until, word.revoked_parts, word.country) == (
        status,
        renews,
        word.paid_until,
        0,
        "DE",
    )
    play.refunded.add("GPA.1..2")
    assert read(play).revoked_parts == WHOLE
    play.refunded.clear()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"subscriptionState": STATE + "PENDING"}, "purchase_pending"), ({"subscriptionState": "?"}, "transaction_unreadable"),
        ({"testPurchase": {}}, "transaction_of_another_environment"), ({"lineItems": []}, "transaction_unreadable"),
        ({"line": {"expiryTime": "soon"}}, "transaction_unreadable"),
        ({"line": {"productId": "A b"}}, "transaction_unreadable"),
        ({"line": {"latestSuccessfulOrderId": "a b"}}, "transaction_unreadable"),
    ],
    ids=str,
)  # fmt: skip
def test_each_bad_field_by_name(play: PlayStore, changes: dict[str, Any], code: str) -> None:
    play.subscribe("t", "vip.month", INTENT, "GPA.1", **changes)
    with pytest.raises(ForgedError) as caught:
        read(play)
    assert caught.value.code == code
    with pytest.raises(ForgedError) as caught:
        read(play, "none")
    assert caught.value.code == "transaction_unknown"


def test_a_subscription_is_acknowledged_once(play: PlayStore) -> None:
    name = "subscription:google:GPA.9"
    due = EffectDue(
        id="d", at=now(), cause="c", effect=f"acknowledge/{name}", kind=EffectKind.ACKNOWLEDGE, provider=PLAY, subject=name,
        attempt=1, expires_at=now() + timedelta(days=1), store_act=StoreAct("vip.month", "t9"),
    )  # fmt: skip
    assert outside.attempt(due, config_of(play), CLIENT).outcome is AttemptOutcome.REFUSED
    play.subscribe("t9", "vip.month", INTENT, "GPA.9")
    assert [outside.attempt(due, config_of(play), CLIENT).outcome for _ in range(2)] == [AttemptOutcome.ACCEPTED] * 2


def test_begun_by_phone_renewed_and_taken_back_by_google(admin: Api, phones: Phones, play_store: PlayStore) -> None:
    bob, _ = phones(coins=0)
    product, token, order = f"vip{uuid.uuid4().hex[:8]}", uuid.uuid4().hex, f"GPA.{uuid.uuid4().hex[:12]}"
    admin.put(f"/v1/admin/products/{product}", json={"coins": 100, "google_id": product, "renewing": True})
    intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()["intent"]
    play_store.subscribe(token, product, intent, order)
    body = {"product": product, "purchase_token": token, "subscription": True}
    answer = bob.api.post("/v1/payments/google", json=body)
    assert (answer.status_code, answer.json()["coins"]) == (200, 100), answer.text
    acknowledged = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
    eventually(lambda: play_store.subscriptions[token]["acknowledgementState"] == acknowledged)

    def told(kind: str, **more: Any) -> None:
        for _ in range(2):
            headers, push = play_store.notify(kind, {"purchaseToken": token, **more})
            assert bob.api.post("/v1/webhooks/google", json=push, headers=headers).json() == {"status": "noted"}

    later = (now() + timedelta(days=60)).isoformat()
    play_store.subscribe(token, product, intent, f"{order}..0", line={"expiryTime": later})
    told("subscriptionNotification", version="1.0", notificationType=2)
    eventually(lambda: bob.api.get("/v1/balance").json()["balance_coins"] == 200)
    play_store.refunded.add(f"{order}..0")
    told("voidedPurchaseNotification", orderId=f"{order}..0", productType=1, refundType=1)
    eventually(lambda: bob.of("SubscriptionChanged")[-1]["status"] == "revoked")
    eventually(lambda: bob.api.get("/v1/balance").json()["balance_coins"] == 100)
    assert len(bob.of("PurchaseCredited")) == 2
