"""Apphud: what an event says, each once and in any order; what it says alone is told as a difference, and credits nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from infra.vendors.apphud import ApphudError, read_event
from pipelines.apphud import decide_apphud
from schemas.apphud import KEPT_FOR, Apphud, ApphudEventRecorded, ApphudEventRepeated, ApphudKind, RecordApphudEvent
from schemas.log.base import Wake
from schemas.purchase import WHOLE, Purchase, Store
from schemas.reconciliation import Cure, StoreDifference
from schemas.reconciliation_rules import UNKNOWN, Told, compare_apphud
from tests.apphud_events import event
from tests.decisions import last_decision
from tests.front import Front
from tests.test_reconciliation import NAME, ours, word

T: Final = datetime(2030, 1, 1, tzinfo=UTC)
D, C = StoreDifference, Cure


def read(body: Any) -> RecordApphudEvent:
    return read_event(body, "m", T)


def test_an_event_says_what_was_bought_or_taken_back_and_at_which_store() -> None:
    bought = read(event())
    assert (bought.purchase, bought.kind, bought.store, bought.user) == (NAME, ApphudKind.BOUGHT, Store.APPLE, "bob")
    assert (bought.price_milliunits, bought.currency, bought.store_product) == (4_990, "EUR", "coins.100")
    assert bought.happened_at == T - timedelta(hours=1)
    back = read(event(name="non_renewing_purchase_refunded", store="play_store", transaction="GPA.1-2"))
    assert (back.purchase, back.kind) == ("google:GPA.1-2", ApphudKind.REFUNDED)
    other = event(name="trial_started", receipt={"transaction_id": None})
    assert (read(other).kind, read(other).purchase) == (ApphudKind.OTHER, "apple:ev1")
    tested = event() | {"user": {"user_id": "bob@example.com", "subscriptions": [{"environment": "sandbox"}]}}
    assert (read(tested).store, read(tested).user) == (Store.APPLE_SANDBOX, "")
    for receipt in ({"price": "NaN"}, {"price": True}, {"currency": "euro"}, {"price": 1e30}, {"price": -1}):
        assert read(event(receipt=receipt)).currency == ""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "event_invalid"),
        ({"event": {"id": "x" * 65}}, "event_invalid"),
        (event(store="web"), "store_unknown"),
        (event(transaction="a b"), "event_invalid"),
        (event(receipt={"transaction_id": 7}), "event_invalid"),
    ],
)
def test_an_event_that_cannot_be_told_of_says_why(body: Any, code: str) -> None:
    with pytest.raises(ApphudError) as raised:
        read(body)
    assert raised.value.code == code


EVENTS: Final = [
    read(event("ev1")), read(event("ev2", "non_renewing_purchase_refunded", created_at="2029-12-31T23:30:00Z")),
    read(event("ev3", "subscription_renewed", receipt={"price": 5.99})), read(event("ev4", "trial_started")),
    read(event("ev5", receipt={"price": 6}, created_at="2029-12-31T22:00:00Z")),
]  # fmt: skip


@given(st.lists(st.sampled_from(EVENTS), max_size=8), st.randoms())
def test_each_event_counts_once_and_their_order_says_nothing(events: list[RecordApphudEvent], random: Any) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)

    def after(order: Sequence[RecordApphudEvent]) -> Any:
        state, _ = last_decision(decide_apphud, *order) if order else (None, [])
        return state and replace(state, seen=tuple(sorted(state.seen)))

    assert after(events) == after(shuffled)
    assert after(events) == after(list(dict.fromkeys(events)))


def test_a_repeat_is_told_and_what_is_old_is_forgotten() -> None:
    state, (told,) = last_decision(decide_apphud, EVENTS[0])
    assert type(told) is ApphudEventRecorded
    _, (told,) = last_decision(decide_apphud, EVENTS[0], state=state)
    assert type(told) is ApphudEventRepeated
    assert last_decision(decide_apphud, Wake(id="w", at=T, key=NAME), state=state) == (state, [])
    assert last_decision(decide_apphud, Wake(id="w", at=T + KEPT_FOR, key=NAME), state=state) == (None, [])


BOUGHT: Final = Apphud(
    Store.APPLE, T, bought_at=T, store_product="coins.100", user="bob", price_milliunits=4_990, currency="EUR"
)
BACK: Final = replace(BOUGHT, refunded_at=T)


@pytest.mark.parametrize(
    ("heard", "told", "known", "due"),
    [
        (BOUGHT, Told(NAME, word()), ours(), []),
        (BOUGHT, Told(NAME, word()), None, []),
        (BOUGHT, None, None, [(D.APPHUD_ALONE, C.ASK_BUYER)]),
        (BOUGHT, Told(NAME, code=UNKNOWN), None, [(D.APPHUD_ALONE, C.LOOK_AT_APPHUD)]),
        (replace(BOUGHT, bought_at=None), None, None, []),
        (BACK, None, ours(), [(D.APPHUD_REFUND_ALONE, C.ASK_STORE)]),
        (BACK, Told(NAME, word()), ours(), [(D.APPHUD_REFUND_ALONE, C.LOOK_AT_APPHUD)]),
        (BACK, Told(NAME, word(1, WHOLE)), ours(), []),
        (BACK, None, ours(1, WHOLE), []),
        (replace(BOUGHT, price_milliunits=5_990), None, ours(), [(D.APPHUD_PRICE_DIFFERS, C.LOOK_AT_APPHUD)]),
        (replace(BOUGHT, currency="USD"), None, ours(), [(D.APPHUD_PRICE_DIFFERS, C.LOOK_AT_APPHUD)]),
        (replace(BOUGHT, price_milliunits=9_980), None, ours(quantity=2), []),
        (replace(BOUGHT, user="eve"), None, ours(), [(D.APPHUD_USER_DIFFERS, C.LOOK_AT_APPHUD)]),
    ],
)
def test_what_apphud_says_alone_is_a_difference_with_its_cure(
    heard: Apphud, told: Told | None, known: Purchase | None, due: list[Any]
) -> None:
    found = list(compare_apphud({NAME: heard}, [told] if told else [], {NAME: known} if known else {}, T))
    assert [(one.difference, one.cure) for one in found] == due
    assert not [one for one in found if one.cure is Cure.SEND_WORD], "nothing is credited by Apphud's word"


def test_apphuds_silence_is_told_where_it_says_anything_at_all() -> None:
    known = {NAME: ours(), "apple:8": ours(), "apple:9": ours(credited=False)}
    found = list(compare_apphud({NAME: BOUGHT}, [], known, T))
    assert [(one.purchase, one.difference) for one in found] == [("apple:8", D.APPHUD_SILENT)]
    assert not list(compare_apphud({}, [], known, T))
    assert not list(compare_apphud({NAME: BOUGHT}, [], known, T + timedelta(days=1)))


def test_who_posts_is_known_by_the_token_and_what_cannot_be_read_is_kept() -> None:
    front, path, right = Front(apphud_token="apphud-token"), "/v1/webhooks/apphud", {"X-Apphud-Token": "apphud-token"}
    for given_token in ({}, {"X-Apphud-Token": "guess"}):
        assert front.ask("POST", path, json=event(), headers=given_token).json()["code"] == "token_invalid"
    assert Front().ask("POST", path, json=event(), headers=right).status_code == 401
    for content, status in ((b"{", 400), (b"[]", 422), (b"[" * 90, 400)):
        assert front.ask("POST", path, content=content, headers=right).status_code == status
    assert front.ask("POST", path, json=event(), headers=right).status_code == 503
    assert [type(one).__name__ for one in front.commands.asked] == [*["DeadLetter"] * 3, "RecordApphudEvent"]
