"""Subscriptions: each refusal by name; words in any order and number lead to one standing, one tag and one purchase a period;
read as Apple signs them; and by HTTP: begun, renewed, in grace, cancelled, taken back."""

import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from infra.vendors.app_store import read_notification, read_transaction
from pipelines import panel, payment, subscription
from schemas.balance_ledger import Ledger
from schemas.log.base import EPOCH, Message, Wake
from schemas.panel import Member, PutTag, RemoveTag
from schemas.payment import INTENT_KEPT_FOR, MAX_ASKED, Intent, IntentRead, KeepIntent, PaymentRefusal, ReadIntent
from schemas.purchase import WHOLE, ClaimPurchase, Store
from schemas.subscription import (
    GIVING,
    SLACK,
    SUBSCRIPTION,
    ClaimSubscription,
    Subscription,
    SubscriptionChanged,
    SubscriptionInbox,
    SubscriptionRefused,
    SubscriptionRepeated,
    SubscriptionStatus,
    subscription_name,
)
from tests.conftest import Api, Phones, eventually
from tests.decisions import decisions_of, last_decision
from tests.lab.city.app_store import AppStore
from tests.lab.city.app_store_api import AppStoreApi
from tests.people import BOB
from tests.test_app_store import config_of

decide = decisions_of(subscription.decide_subscription)
decide_intent = decisions_of(payment.decide_intent)
decide_member = decisions_of(panel.decide_member)
after = partial(last_decision, decide)
T = datetime(2030, 1, 1, tzinfo=UTC)
NAME = subscription_name(Store.APPLE, "7")
MONTH = timedelta(days=30)
S = SubscriptionStatus
READ = IntentRead(
    id="r", at=T, cause="m/intent", intent="i", purchase=NAME, user=BOB, product="vip", version=2, coins=100,
    apple_id="vip.month", renewing=True, tag="vip",
)  # fmt: skip


def word(period: int = 1, signed_s: int = 0, id_: str = "m", **more: Any) -> ClaimSubscription:
    """The store's word of a period; with a status it tells of the renewal, too, by the time at which it was signed."""
    paid_until = T + MONTH * period
    fields: dict[str, Any] = {"user": "bob", "store_product": "vip.month", "intent": "i"} | more
    if "status" in fields:
        fields = {"told_at": T + timedelta(seconds=signed_s), "until": paid_until} | fields
    return ClaimSubscription(
        id=id_, at=T, name=NAME, store=Store.APPLE, purchased_at=T, quantity=1, transaction=f"7{period}", paid_until=paid_until,
        signed_at=T + timedelta(seconds=signed_s), **fields,
    )  # fmt: skip


def kinds(told: Any) -> list[type[Message]]:
    return [type(one) for one in told]


def test_it_begins_with_a_tag_and_a_purchase_and_keeps_its_intent() -> None:
    _, (read, claim) = decide(None, word())
    assert (type(read), read.purchase, type(claim), claim.purchase, claim.user) == (
        ReadIntent,
        NAME,
        ClaimPurchase,
        "apple:71",
        "",
    )
    assert claim.subscription == NAME
    state, told = after(word(), READ)
    assert kinds(told) == [SubscriptionChanged, PutTag, KeepIntent]
    assert (told[0].cause, told[0].status, told[0].until, told[0].coins) == ("m", S.ACTIVE, T + MONTH, 100)
    assert (told[1].user, told[1].tag) == ("bob", "vip")
    assert kinds(decide(state, word(id_="m2"))[1]) == [ClaimPurchase, SubscriptionRepeated]
    assert decide(state, READ) == (state, ())
    assert decide(None, READ) == (None, ())


def test_a_testers_one_gives_coins_of_the_sandbox_and_no_tag() -> None:
    """A tag would make real calls cheaper."""
    _, (_, claim) = decide(None, word(ledger=Ledger.SANDBOX))
    assert (type(claim), claim.ledger) == (ClaimPurchase, Ledger.SANDBOX)
    state, told = after(word(ledger=Ledger.SANDBOX), READ)
    assert (kinds(told), state.tagged) == ([SubscriptionChanged, KeepIntent], False)
    assert kinds(decide(state, word(1, 1, "m2", status=S.EXPIRED, ledger=Ledger.SANDBOX))[1]) == [
        ClaimPurchase, SubscriptionChanged,
    ]  # fmt: skip
    _, (later, *_) = decide(state, word(2, 1, "m2", ledger=Ledger.SANDBOX))
    assert (type(later), later.ledger) == (ClaimPurchase, Ledger.SANDBOX)


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        ((word(2, 1, "m2"),), S.ACTIVE, [SubscriptionChanged, KeepIntent]),
        ((word(1, 1, "m2", status=S.ACTIVE, renews=False),), S.ACTIVE, [SubscriptionChanged]),
        ((word(1, 1, "m2", status=S.GRACE, until=T + 2 * MONTH),), S.GRACE, [SubscriptionChanged]),
        ((word(1, 1, "m2", status=S.HOLD),), S.HOLD, [SubscriptionChanged, RemoveTag]),
        ((word(1, 1, "m2", status=S.PAUSED),), S.PAUSED, [SubscriptionChanged, RemoveTag]),
        ((word(1, 1, "m2", status=S.EXPIRED),), S.EXPIRED, [SubscriptionChanged, RemoveTag]),
        ((word(1, 1, "m2", revoked_parts=WHOLE),), S.REVOKED, [SubscriptionChanged, RemoveTag]),
        ((word(1, 1, "m2", status=S.HOLD), word(2, 2, "m3")), S.ACTIVE, [SubscriptionChanged, PutTag, KeepIntent]),
        ((word(1, 1, "m2", revoked_parts=WHOLE), word(1, 2, "m3")), S.ACTIVE, [SubscriptionChanged, PutTag]),
        ((word(2, 1, "m2"), word(1, 2, "m3", revoked_parts=WHOLE)), S.ACTIVE, [SubscriptionRepeated]),
        ((word(1, 2, "m2", status=S.GRACE), word(1, 1, "m3", status=S.HOLD)), S.GRACE, [SubscriptionRepeated]),
    ],
)
def test_where_it_stands(more: tuple[ClaimSubscription, ...], status: SubscriptionStatus, told: list[type[Message]]) -> None:
    state, found = after(word(), READ, *more)
    assert kinds(found) == [ClaimPurchase, *told]
    assert (state.seen, state.tagged) == (status, status in GIVING)


def test_without_a_word_of_the_next_period_it_is_over() -> None:
    state, _ = after(word(), READ)
    early = Wake(id="w", at=T + MONTH, key=NAME)
    assert decide(state, early) == (state, ())
    over, told = decide(state, replace(early, at=T + MONTH + SLACK))
    assert (kinds(told), told[0].status, over.wake_at) == ([SubscriptionChanged, RemoveTag], S.EXPIRED, None)
    assert decide(over, replace(early, at=T + MONTH + SLACK)) == (over, ())
    assert kinds(decide(over, word(2, 9, "m2"))[1]) == [ClaimPurchase, SubscriptionChanged, PutTag, KeepIntent]


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        ((word(intent=""),), PaymentRefusal.INTENT_UNKNOWN),
        ((word(), replace(READ, refusal=PaymentRefusal.INTENT_UNKNOWN)), PaymentRefusal.INTENT_UNKNOWN),
        ((word(), replace(READ, refusal=PaymentRefusal.COUNTRY_NOT_SOLD)), PaymentRefusal.COUNTRY_NOT_SOLD),
        ((word(), replace(READ, renewing=False)), PaymentRefusal.PRODUCT_DIFFERS),
        ((word(), replace(READ, apple_id="other")), PaymentRefusal.PRODUCT_DIFFERS),
        (
            (word(), READ, word(2, store_product="other", id_="m2"), replace(READ, store_product="other")),
            PaymentRefusal.PRODUCT_DIFFERS,
        ),
        ((word(), READ, word(user="eve", id_="m2")), PaymentRefusal.PURCHASE_OF_ANOTHER),
        ((*(word(id_=f"m{n}") for n in range(MAX_ASKED + 1)),), PaymentRefusal.PURCHASE_IN_PROGRESS),
    ],
)
def test_subscriptions_refused(messages: tuple[SubscriptionInbox, ...], refusal: PaymentRefusal) -> None:
    _, told = after(*messages)
    assert [one.refusal for one in told if isinstance(one, SubscriptionRefused)] == [refusal]


def test_an_intent_is_kept_for_the_periods_that_name_it() -> None:
    intent = Intent(user=BOB, product="vip", version=1, forget_at=T)
    keep = KeepIntent(id="k", at=T, intent="i", until=T + INTENT_KEPT_FOR)
    kept, told = decide_intent(intent, keep)
    assert (kept.forget_at, told) == (keep.until, ())
    assert decide_intent(kept, replace(keep, until=T)) == (kept, ())
    assert decide_intent(None, keep) == (None, ())
    assert [heard.key(READ) for heard in SUBSCRIPTION.hears if callable(heard.key)] == [NAME]
    assert [heard.key(replace(READ, purchase="apple:7")) for heard in SUBSCRIPTION.hears if callable(heard.key)] == [""]


A, B, STAFF = "subscription:apple:7", "subscription:google:GPA.1", "root"


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (f"+{A}", True),
        (f"+{A} -{A}", False),
        (f"+{A} +{B} -{A}", True),
        (f"+{A} +{B} -{B}", True),
        (f"+{A} +{B} -{A} -{B}", False),
        (f"+{A} +{B} -{A} -{A}", True),
        (f"+{A} +{A} -{A}", False),
        (f"+{STAFF} +{A} -{A}", True),
        (f"+{A} +{STAFF} -{A}", True),
        (f"+{A} +{STAFF} -{STAFF}", False),
        (f"+{STAFF} +{A} +{B} -{STAFF} +{B} -{B}", False),
        (f"+{STAFF} -{A}", False),
    ],
)
def test_a_tag_that_several_give_stays_until_the_last_of_them_ends(words: str, there: bool) -> None:
    """A subscription at one store ends, that at another goes on; a person takes it away from all."""
    state: Member | None = None
    for number, word in enumerate(words.split()):
        kind = PutTag if word[0] == "+" else RemoveTag
        state, _ = decide_member(state, kind(id=f"t{number}", at=T, user=BOB, tag="vip", by=word[1:]), None)
    assert state is not None
    assert (state.tags, len(state.givers) <= 3) == (("vip",) if there else (), True)
    assert there or not state.givers


WORDS = st.builds(
    lambda period, signed, status, revoked: word(
        period, signed, f"m{period}-{signed}-{status}-{revoked}", user="", revoked_parts=revoked,
        **({} if status is None else {"status": status}),
    ),
    st.integers(1, 3), st.integers(0, 6), st.sampled_from([None, *S]), st.sampled_from([0, 0, 0, WHOLE]),
)  # fmt: skip


@given(st.lists(WORDS, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_words_in_any_order_lead_to_one_standing(words: list[ClaimSubscription], chance: Any) -> None:
    """Laws: the standing is that of the latest words; the tag follows it; each word's period is told to its purchase."""

    def played(of: list[ClaimSubscription]) -> tuple[Subscription, list[Any]]:
        state, told = decide(None, of[0])
        everything = [*told]
        rest: list[SubscriptionInbox] = [READ, *of[1:]]
        for message in rest:
            state, told = decide(state, message)
            everything += told
        return state, everything

    state, told = played(words)
    mixed: list[ClaimSubscription] = [*words, chance.choice(words)]
    chance.shuffle(mixed)
    again, _ = played(mixed)
    assert (again.transaction, again.seen, again.tagged, again.until) == (
        state.transaction,
        state.seen,
        state.tagged,
        state.until,
    )
    tags = [isinstance(one, PutTag) for one in told if isinstance(one, PutTag | RemoveTag)]
    assert tags == [number % 2 == 0 for number in range(len(tags))]
    assert state.tagged == (bool(tags) and tags[-1]) == (state.seen in GIVING)
    claims = {one.id for one in told if isinstance(one, ClaimPurchase)}
    assert claims == {f"{one.id}/period" for one in words}


def test_apple_signs_periods_and_what_becomes_of_them(app_store: AppStore) -> None:
    config = config_of(app_store)
    first = app_store.renew("vip.month", "I", "900", 1)
    read = read_transaction(config, first, "bob", "m")
    assert isinstance(read, ClaimSubscription)
    assert (read.name, read.transaction, read.told_at) == ("subscription:apple_sandbox:900", "9001", EPOCH)
    at_ms = int(datetime.now(UTC).timestamp() * 1_000)
    over = app_store.renew("vip.month", "I", "900", 1, expiresDate=at_ms - 1_000)
    rows: list[tuple[str, dict[str, Any], SubscriptionStatus, bool]] = [
        (first, {"autoRenewStatus": 1}, S.ACTIVE, True), (first, {"autoRenewStatus": 0}, S.ACTIVE, False),
        (over, {"gracePeriodExpiresDate": at_ms + 86_400_000, "isInBillingRetryPeriod": True}, S.GRACE, True),
        (over, {"isInBillingRetryPeriod": True}, S.HOLD, True), (over, {"autoRenewStatus": 0}, S.EXPIRED, False),
    ]  # fmt: skip
    for signed, renewal, status, renews in rows:
        told = read_notification(config, app_store.notify("DID_RENEW", signed, **renewal)["signedPayload"], "m")
        assert isinstance(told, ClaimSubscription)
        assert (told.status, told.renews, told.told_at > EPOCH) == (status, renews, True)
        assert told.until > told.told_at or status not in GIVING


def test_a_subscription_by_phone_and_by_apple(admin: Api, phones: Phones, app_store_api: AppStoreApi) -> None:
    bob, _ = phones(coins=0)
    store, original = app_store_api.store, str(uuid.uuid4().int % 10**12)
    product = f"vip-{original}"
    sold = {"coins": 100, "apple_id": product, "renewing": True, "tag": f"vip{original[:6]}"}
    assert admin.put(f"/v1/admin/products/{product}", json=sold).status_code == 200
    intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()["intent"]
    first = store.renew(product, intent, original, 1)
    answer = bob.api.post("/v1/payments/apple", json={"signed_transaction": first})
    assert (answer.status_code, answer.json()["coins"]) == (200, 100), answer.text

    def balance() -> int:
        return int(bob.api.get("/v1/balance").json()["balance_coins"])

    def told(kind: str, signed: str, **renewal: Any) -> None:
        for _ in range(2):
            notice = store.notify(kind, signed, **renewal)
            assert bob.api.post("/v1/webhooks/apple", json=notice).json() == {"status": "noted"}

    tags = f"/v1/admin/tags/{bob.user}"
    eventually(lambda: sold["tag"] in admin.get(tags).json()["tags"])
    told("SUBSCRIBED", first, autoRenewStatus=1)
    eventually(lambda: balance() == 100)
    second = store.renew(product, intent, original, 2)
    told("DID_RENEW", second, autoRenewStatus=1)
    eventually(lambda: balance() == 200)
    told("DID_CHANGE_RENEWAL_STATUS", second, autoRenewStatus=0)
    eventually(lambda: [one["renews"] for one in bob.of("SubscriptionChanged") if "renews" in one][-1:] == [False])
    at_ms = int(datetime.now(UTC).timestamp() * 1_000)
    told("REFUND", store.renew(product, intent, original, 2, revocationDate=at_ms), autoRenewStatus=0)
    eventually(lambda: bob.of("SubscriptionChanged")[-1]["status"] == "revoked")
    eventually(lambda: balance() == 100)
    assert len(bob.of("PurchaseCredited")) == 2
    eventually(lambda: sold["tag"] not in admin.get(tags).json()["tags"])
