"""Reconciliations: each difference by name and with its cure; words that are sent mend what they are sent for, whatever was
lost; both stores asked for real; and on the platform each planted difference is found, mended where the store's word mends
it."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.config import Config, load
from infra.reconciling import patient
from infra.vendors import app_store_api, play_store
from infra.vendors.app_store import read_notification
from infra.vendors.play_store import AwayError, Voided
from pipelines import reconciliation
from pipelines.purchase import decide_purchase
from schemas.balance import Clawback, Credit, EntryKind, EntryRecorded
from schemas.log.base import Message, Wake, reply, same_fields
from schemas.payment import IntentRead, ReadIntent
from schemas.purchase import WHOLE, ClaimPurchase, PriceCheck, Purchase, Store
from schemas.reconciliation import (
    Cure,
    Difference,
    DifferenceFound,
    ReconciliationRecorded,
    RecordReconciliation,
    StoreDifference,
)
from schemas.reconciliation_rules import ANOTHER_APP, UNHEARD, UNKNOWN, Told, compare, cures, gathered
from tests.apphud_events import event
from tests.conftest import Api, Phones, Stack, eventually
from tests.decisions import decisions_of
from tests.lab.city.app_store import AppStore
from tests.lab.city.app_store_api import AppStoreApi
from tests.lab.city.play_store import PlayStore
from tests.people import BOB

decide = decisions_of(reconciliation.decide_reconciliation)
T = datetime(2030, 1, 1, tzinfo=UTC)
CLIENT = httpx.Client(trust_env=False)
NAME = "apple:7"
D, C = StoreDifference, Cure


def word(signed_s: int = 0, revoked: int = 0, **more: Any) -> ClaimPurchase:
    fields: dict[str, Any] = {
        "purchase": NAME,
        "store_product": "coins.100",
        "price_milliunits": 4_990,
        "currency": "EUR",
        "intent": "i",
    } | more
    return ClaimPurchase(
        id=f"m{signed_s}-{revoked}", at=T, store=Store.APPLE, purchased_at=T, quantity=1,
        signed_at=T + timedelta(seconds=signed_s), revoked_parts=revoked, **fields,
    )  # fmt: skip


def ours(signed_s: int = 0, revoked: int = 0, **more: Any) -> Purchase:
    fields = same_fields(word(signed_s, revoked), Purchase) | {"user": "bob", "coins": 100, "credited": True}
    return Purchase(**fields | {"returned_coins": 100 * revoked // WHOLE} | more)


def found(told: Told, known: Purchase | None, sold: str = "coins.100") -> list[tuple[StoreDifference, Cure, int, int]]:
    differences = compare([told], {} if known is None else {NAME: known}, {sold})
    return [(one.difference, one.cure, one.theirs, one.ours) for one in differences]


@pytest.mark.parametrize(
    ("told", "known", "expected"),
    [
        (Told(NAME, word()), ours(), []),
        (Told(NAME, word(1, 50_000)), ours(1, 50_000), []),
        (Told(NAME, word(1, 50_000)), ours(2, 0), []),
        (Told(NAME, word(), code=""), None, [(D.PURCHASE_MISSING, C.SEND_WORD, 0, 0)]),
        (Told(NAME, word(intent="")), None, [(D.PURCHASE_MISSING, C.ASK_BUYER, 0, 0)]),
        (Told(NAME, code=UNHEARD), None, [(D.PURCHASE_MISSING, C.ASK_BUYER, 0, 0)]),
        (Told(NAME, word(store_product="coins.7")), None, [(D.PRODUCT_FOREIGN, C.PUT_PRODUCT, 0, 0)]),
        (Told("", code=ANOTHER_APP), None, [(D.PRODUCT_FOREIGN, C.LOOK_AT_SETTINGS, 0, 0)]),
        (Told("", code="signature_invalid"), None, [(D.WORD_UNREADABLE, C.LOOK_AT_SETTINGS, 0, 0)]),
        (Told(NAME, word(1, WHOLE)), ours(), [(D.REFUND_MISSING, C.SEND_WORD, WHOLE, 0)]),
        (Told(NAME, word(2, 0)), ours(1, WHOLE), [(D.REVERSAL_MISSING, C.SEND_WORD, 0, WHOLE)]),
        (Told(NAME, word(1, WHOLE), doubled=True), ours(1, WHOLE), [(D.REFUND_DOUBLED, C.ASK_STORE, 0, 0)]),
        (Told(NAME, code=UNKNOWN), ours(), [(D.PURCHASE_UNKNOWN, C.ASK_STORE, 0, 100)]),
        (Told(NAME, code=UNKNOWN), ours(1, WHOLE), []),
        (Told(NAME, code=UNKNOWN), None, []),
        (Told(NAME, word(price_milliunits=5_990)), ours(), [(D.PRICE_CHANGED, C.PUT_PRICE, 5_990, 4_990)]),
        (Told(NAME, word(currency="USD")), ours(), [(D.PRICE_CHANGED, C.PUT_PRICE, 4_990, 4_990)]),
        (Told(NAME, word(currency="", price_milliunits=0)), ours(), []),
        (Told(NAME, word()), ours(price_check=PriceCheck.DIFFERS), [(D.PRICE_CHANGED, C.PUT_PRICE, 4_990, 4_990)]),
        (Told(NAME, word()), ours(credited=False, retry_at=T), [(D.COINS_WAIT, C.LOOK_AT_ACCOUNT, 100, 0)]),
    ],
)
def test_each_difference_by_name_and_with_its_cure(told: Told, known: Purchase | None, expected: list[Any]) -> None:
    assert found(told, known) == expected


def test_a_refund_that_is_told_twice_is_doubled_and_one_behind_a_reversal_is_not() -> None:
    refund, again = word(1, WHOLE), word(3, WHOLE)
    rows: list[tuple[list[ClaimPurchase], bool]] = [
        ([again, word(), refund], True), ([again, word(2), refund], False), ([refund, refund], False),
        ([word(1), word(2)], False), ([word(1, 30_000), word(2, 60_000)], False),
    ]  # fmt: skip
    for words, doubled in rows:
        told = gathered(words)[NAME]
        assert (told.doubled, told.claim) == (doubled, max(words, key=lambda one: one.signed_at))


def heard(state: Purchase | None, words: Sequence[ClaimPurchase]) -> Purchase | None:
    """The purchase behind words of the store, with an intent and an account that answer at once."""
    inbox: list[Any] = list(words)
    while inbox:
        message = inbox.pop(0)
        state, told = decide_purchase(state, message)
        inbox[:0] = [answer for one in told if (answer := answered(one)) is not None]
    return state


def answered(message: Message) -> Message | None:
    match message:
        case ReadIntent():
            return IntentRead(
                **reply(message), intent="i", purchase=NAME, user=BOB, product="c", version=1, coins=100, apple_id="coins.100"
            )  # fmt: skip
        case Credit() | Clawback():
            kind, sign = (EntryKind.CREDIT, 1) if isinstance(message, Credit) else (EntryKind.CLAWBACK, -1)
            return EntryRecorded(
                **reply(message), account=message.account, seq=1, kind=kind, balance_coins=1, held_coins=0,
                coins=sign * message.coins, reason=message.reason, ref=message.ref, counterparty=message.counterparty,
            )  # fmt: skip
    return None


WORDS = st.builds(word, st.integers(0, 5), st.sampled_from([0, 0, 25_000, WHOLE]))


@given(st.lists(WORDS, min_size=1, max_size=6), st.data())
def test_what_is_sent_mends_whatever_was_lost(words: list[ClaimPurchase], data: st.DataObject) -> None:
    """Laws: nothing differs where all was heard; behind the cures nothing differs that a word mends; cures repeat to
    nothing."""
    lost = data.draw(st.sets(st.sampled_from(range(len(words)))))
    told = gathered(words).values()
    whole = heard(None, words)
    assert whole is not None
    assert not list(cures(told, compare(told, {NAME: whole}, {"coins.100"})))
    known = heard(None, [one for number, one in enumerate(words) if number not in lost])
    for _ in range(2):
        differences = list(compare(told, {} if known is None else {NAME: known}, {"coins.100"}))
        known = heard(known, list(cures(told, differences)))
    assert known is not None
    assert (known.net_coins, known.revoked_parts) == (whole.net_coins, whole.revoked_parts)
    assert not [one for one in compare(told, {NAME: known}, {"coins.100"}) if one.cure is Cure.SEND_WORD]


RUN = RecordReconciliation(
    id="r", at=T, run="apple/1", store=Store.APPLE, since=T, until=T, told=2, known=1, left_off=3,
    differences=(
        Difference(difference=D.PURCHASE_MISSING, cure=C.SEND_WORD, purchase=NAME),
        Difference(difference=D.PRICE_CHANGED, cure=C.PUT_PRICE, purchase=NAME, theirs=1),
    ),
)  # fmt: skip


def test_a_run_is_told_once_with_each_of_its_differences_and_forgotten() -> None:
    state, (run, *each) = decide(None, RUN)
    assert (type(run), run.differences, run.cured, run.left_off) == (ReconciliationRecorded, 5, 1, 3)
    assert [(type(one), one.difference) for one in each] == [
        (DifferenceFound, D.PURCHASE_MISSING), (DifferenceFound, D.PRICE_CHANGED)
    ]  # fmt: skip
    assert decide(state, RUN) == (state, ())
    assert decide(state, Wake(id="w", at=T, key="apple/1")) == (state, ())
    assert decide(state, Wake(id="w", at=state.wake_at, key="apple/1")) == (None, ())
    assert decide(None, Wake(id="w", at=T, key="apple/1")) == (None, ())


# --- the stores -------------------------------------------------------------------------------------------------------------


def config_of(*settings: dict[str, str], **more: str) -> Config:
    told = {name.removeprefix("OLO_").lower(): value for one in settings for name, value in one.items()}
    return load(**told | more)


def test_apple_tells_its_history_page_by_page_and_each_transaction(
    app_store: AppStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = AppStoreApi(app_store, tmp_path)
    config = config_of(api.settings)
    for number in range(45):
        api.tell("ONE_TIME_CHARGE", app_store.sell("p", "i", transactionId=str(number)))
    until = datetime.now(UTC) + timedelta(seconds=1)
    told = list(app_store_api.history(config, CLIENT, until - timedelta(days=1), until))
    claims = [read_notification(config, signed, "m") for signed in told]
    assert [one.purchase for one in claims if isinstance(one, ClaimPurchase)] == [f"apple_sandbox:{n}" for n in range(45)]
    assert list(app_store_api.history(config, CLIENT, until, until)) == []
    assert app_store_api.transaction(config, CLIENT, "7") == api.transactions["7"]
    assert app_store_api.transaction(config, CLIENT, "none") is None
    pauses: list[float] = []
    monkeypatch.setattr("infra.reconciling.time.sleep", pauses.append)
    api.trouble = [429, 500]
    assert patient(lambda: app_store_api.transaction(config, CLIENT, "none")) is None
    assert pauses == [0.5, 1.0]
    for wrong in (
        {"apple_key_file": str(tmp_path / "none")},
        {"apple_issuer_id": "eve"},
        {"apple_api_url": "http://127.0.0.1:9"},
    ):
        with pytest.raises(AwayError):
            patient(lambda wrong=wrong: app_store_api.transaction(config_of(api.settings, **wrong), CLIENT, "7"))  # type: ignore[misc]
    assert app_store_api.missing_settings(config_of(app_store.settings)) == [
        "OLO_APPLE_KEY_FILE", "OLO_APPLE_KEY_ID", "OLO_APPLE_ISSUER_ID",
    ]  # fmt: skip
    api.close()


def test_google_tells_what_it_has_voided_page_by_page(tmp_path: Path) -> None:
    play = PlayStore(tmp_path)
    config = config_of(play.settings)
    for number in range(25):
        play.void(f"t{number}", f"GPA.{number}", number or None)
    play.voided.append({"orderId": "a b", "voidedTimeMillis": play.voided[0]["voidedTimeMillis"]})
    until = datetime.now(UTC) + timedelta(seconds=1)
    told = play_store.voided(config, CLIENT, until - timedelta(days=1), until)
    assert told == [Voided(f"GPA.{n}", f"t{n}", n) for n in range(25)]
    with pytest.raises(AwayError):
        play_store.voided(config_of(play.settings, app_id_android="app.other"), CLIENT, until, until)
    play.close()


# --- on the platform --------------------------------------------------------------------------------------------------------


def test_each_planted_difference_is_found_and_mended_where_a_word_mends_it(
    stack: Stack, admin: Api, phones: Phones, app_store_api: AppStoreApi, play_store: PlayStore
) -> None:
    bob, _ = phones(coins=0)
    product = f"coins{uuid.uuid4().hex[:8]}"
    prices = [{"currency": "EUR", "price_milliunits": 4_990}]
    body = {"coins": 100, "apple_id": product, "google_id": product, "prices": prices}
    admin.put(f"/v1/admin/products/{product}", json=body)
    intent = bob.api.post("/v1/payments/intents", json={"product": product}, headers={"Idempotency-Key": "k"}).json()["intent"]
    lost, doubled, foreign, dearer = (str(uuid.uuid4().int % 10**15) for _ in range(4))

    def apple(kind: str, name: str, heard: bool, sold_as: str = product, **changes: Any) -> None:
        notice = app_store_api.tell(kind, app_store_api.store.sell(sold_as, intent, transactionId=name, **changes))
        if heard:
            assert bob.api.post("/v1/webhooks/apple", json=notice).json() == {"status": "noted"}

    apple("ONE_TIME_CHARGE", lost, False)
    apple("ONE_TIME_CHARGE", doubled, True)
    bob.wait_for("PurchaseCredited")
    for heard in (True, False):
        at_ms = int(datetime.now(UTC).timestamp() * 1_000)
        apple("REFUND", doubled, heard, revocationDate=at_ms, signedDate=at_ms)
    apple("ONE_TIME_CHARGE", foreign, False, "app.of.another")
    apple("ONE_TIME_CHARGE", dearer, True, price=5_990)
    order, token = f"GPA.{uuid.uuid4().hex[:12]}", uuid.uuid4().hex
    play_store.sell(token, product, intent, order)
    assert bob.api.post("/v1/payments/google", json={"product": product, "purchase_token": token}).status_code == 200
    play_store.sell(token, product, intent, order, purchaseState=1)
    play_store.void(token, order)
    play_store.void("never-heard", f"GPA.{order}")
    bob.wait_for("PurchaseRefunded")
    assert bob.api.get("/v1/balance").json()["balance_coins"] == 200

    never = str(uuid.uuid4().int % 10**15)
    for name in (lost, never):
        body = event(uuid.uuid4().hex, transaction=name, created_at=datetime.now(UTC).isoformat(), environment="sandbox")
        given_token = {"X-Apphud-Token": "apphud-token"}
        assert bob.api.post("/v1/webhooks/apphud", json=body, headers=given_token).json() == {"status": "recorded"}

    googles = (order, f"GPA.{order}")

    def told() -> list[Any]:
        return list(admin.get("/v1/admin/reconciliations?limit=100").json())

    def run() -> set[tuple[str, str, str]]:
        before = {one["run"] for one in told()}
        assert stack.olo("payments", "reconcile", "--days", "1").returncode == 1
        runs = eventually(lambda: len(new := [one for one in told() if one["run"] not in before]) == 2 and new)
        names = {
            *(f"apple_sandbox:{one}" for one in (lost, doubled, foreign, dearer, never)),
            *(f"google:{one}" for one in googles),
        }
        return {
            (one["purchase"].partition(":")[2], one["difference"], one["cure"])
            for run in runs for one in run["differences"] if one["purchase"] in names
        }  # fmt: skip

    stays = {
        (doubled, "refund_doubled", "ask_store"), (foreign, "product_foreign", "put_product"),
        (dearer, "price_changed", "put_price"), (f"GPA.{order}", "purchase_missing", "ask_buyer"),
        (never, "apphud_alone", "look_at_apphud"), (doubled, "apphud_silent", "look_at_apphud"),
        (dearer, "apphud_silent", "look_at_apphud"),
    }  # fmt: skip
    found = run() - {(lost, "apphud_user_differs", "look_at_apphud")}
    assert found == stays | {(lost, "purchase_missing", "send_word"), (order, "refund_missing", "send_word")}
    bob.wait_for("PurchaseRefunded", 2)
    bob.wait_for("PurchaseCredited", 4)
    eventually(lambda: bob.api.get("/v1/balance").json()["balance_coins"] == 200)
    assert run() == stays | {(lost, "apphud_user_differs", "look_at_apphud")}, "Apphud names another buyer"
