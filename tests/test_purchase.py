"""Purchases: each refusal by name; one credit a transaction, to its intent's user; and the store's words in any order, any
number of times, with refunds and reversals among them, lead to what the last one says."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines import balance, purchase
from schemas.balance import (
    Account,
    AccountRefused,
    Clawback,
    Credit,
    EntryKind,
    EntryRecorded,
    Reason,
    Refusal,
)
from schemas.log.base import AccountId, Message, Wake
from schemas.payment import MAX_ASKED, IntentRead, PaymentRefusal, ReadIntent, StorePrice
from schemas.purchase import (
    WHOLE,
    AskUsage,
    ClaimPurchase,
    PriceCheck,
    PurchaseCredited,
    PurchaseInbox,
    PurchaseRefunded,
    PurchaseRefused,
    PurchaseRepeated,
    PurchaseRestored,
    Store,
    UsageWithheld,
    of_purchase,
)
from tests.decisions import decisions_of, last_decision
from tests.people import BOB

decide_account = decisions_of(balance.decide_account)
decide_purchase = decisions_of(purchase.decide_purchase)
T = datetime(2030, 1, 1, tzinfo=UTC)
READ = IntentRead(
    id="r", at=T, cause="m/intent", intent="i", purchase="apple:7", user=BOB, product="c100", version=2, coins=100,
    bonus_coins=10, bonus_days=7, apple_id="coins.100",
)  # fmt: skip
NO_INTENT = IntentRead(id="r", at=T, cause="m/intent", intent="i", purchase="apple:7", refusal=PaymentRefusal.INTENT_UNKNOWN)
WAKE = Wake(id="w", at=T, key="apple:7")


def claim(
    user: str = "bob", id_: str = "m", quantity: int = 1, *, signed_s: int = 0, revoked: int = 0, **more: Any
) -> ClaimPurchase:
    fields = {"intent": "i", "store_product": "coins.100"} | more
    return ClaimPurchase(
        id=id_, at=T, purchase="apple:7", user=user, store=Store.APPLE, purchased_at=T, quantity=quantity,
        price_milliunits=4_990, currency="EUR", signed_at=T + timedelta(seconds=signed_s), revoked_parts=revoked, **fields,
    )  # fmt: skip


def entry(kind: EntryKind = EntryKind.CREDIT, coins: int = 110) -> EntryRecorded:
    return EntryRecorded(
        id="e", at=T, cause="r/credit", account=AccountId("bob/coins"), seq=9, kind=kind, balance_coins=110, held_coins=0,
        coins=coins, counterparty="@apple", reason="purchase", ref="apple:7",
    )  # fmt: skip


FULL = AccountRefused(
    id="e", at=T, cause="r/credit", account=AccountId("bob/coins"), command="Credit", refusal=Refusal.BALANCE_LIMIT,
    counterparty="@apple", reason="purchase", ref="apple:7",
)  # fmt: skip
after = partial(last_decision, decide_purchase)


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        ((claim(quantity=0),), PaymentRefusal.QUANTITY_IMPOSSIBLE),
        ((claim(quantity=11),), PaymentRefusal.QUANTITY_IMPOSSIBLE),
        ((claim(intent=""),), PaymentRefusal.INTENT_UNKNOWN),
        ((claim(), NO_INTENT), PaymentRefusal.INTENT_UNKNOWN),
        ((claim(), replace(NO_INTENT, refusal=PaymentRefusal.COUNTRY_NOT_SOLD)), PaymentRefusal.COUNTRY_NOT_SOLD),
        ((claim(), replace(READ, prices=(StorePrice("DE", "USD", 4_990),))), PaymentRefusal.CURRENCY_DIFFERS),
        ((claim(store_product="coins.900"), READ), PaymentRefusal.PRODUCT_DIFFERS),
        ((claim(), READ, entry(), claim("eve", "m2")), PaymentRefusal.PURCHASE_OF_ANOTHER),
        ((claim(), READ, FULL), PaymentRefusal.ACCOUNT_REFUSES),
        (
            (claim(), READ, entry(), claim("", "m2", signed_s=1, revoked=WHOLE), entry(EntryKind.CLAWBACK), claim(id_="m3")),
            PaymentRefusal.TRANSACTION_REVOKED,
        ),
        ((*(claim(id_=f"m{n}") for n in range(MAX_ASKED + 1)),), PaymentRefusal.PURCHASE_IN_PROGRESS),
    ],
)
def test_purchases_refused(messages: tuple[PurchaseInbox, ...], refusal: PaymentRefusal) -> None:
    state, told = after(*messages)
    assert [(type(fact), fact.refusal) for fact in told] == [(PurchaseRefused, refusal)]
    forgotten = ("QUANTITY_IMPOSSIBLE", "INTENT_UNKNOWN", "COUNTRY_NOT_SOLD", "PRODUCT_DIFFERS", "CURRENCY_DIFFERS")
    kept = refusal.name not in forgotten
    assert (state is not None) == kept


@pytest.mark.parametrize(
    ("prices", "claimed", "check"),
    [
        ((), claim(), PriceCheck.UNKNOWN),
        ((StorePrice("DE", "EUR", 4_990),), claim(), PriceCheck.AS_PINNED),
        ((StorePrice("DE", "EUR", 5_990), StorePrice("DE", "EUR", 4_990)), claim(), PriceCheck.AS_PINNED),
        ((StorePrice("DE", "EUR", 2_495),), claim(quantity=2), PriceCheck.AS_PINNED),
        ((StorePrice("DE", "EUR", 4_990),), claim(quantity=2), PriceCheck.AS_PINNED),
        ((StorePrice("DE", "EUR", 5_990),), claim(), PriceCheck.DIFFERS),
        ((StorePrice("DE", "USD", 5_990),), replace(claim(), currency="", price_milliunits=0), PriceCheck.UNKNOWN),
    ],
)
def test_a_price_that_differs_is_recorded_and_its_coins_are_credited(
    prices: tuple[StorePrice, ...], claimed: ClaimPurchase, check: PriceCheck
) -> None:
    state, (fact,) = after(claimed, replace(READ, prices=prices), entry(coins=110 * claimed.quantity))
    assert (type(fact), fact.price_check, fact.coins) == (PurchaseCredited, check, 110 * claimed.quantity)
    assert state.price_check is check


def test_another_users_claim_credits_whose_it_is_and_is_refused() -> None:
    state, told = after(claim("eve"), claim("bob", "m2"), claim("", "m3"), READ, entry())
    assert [(type(one), one.cause) for one in told] == [
        (PurchaseCredited, "m2"), (PurchaseRefused, "m"), (PurchaseRepeated, "m3"),
    ]  # fmt: skip
    assert (state.user, state.coins, told[0].user, told[0].coins, told[0].version) == ("bob", 110, "bob", 110, 2)


def test_what_no_one_waits_for_changes_nothing() -> None:
    state, _ = after(claim(), READ)
    assert decide_purchase(state, READ) == (state, ())
    assert decide_purchase(state, WAKE) == (state, ())
    assert decide_purchase(state, entry(EntryKind.RETURN)) == (state, ())
    assert decide_purchase(None, READ) == (None, ())


def test_coins_of_others_are_none_of_a_purchases() -> None:
    assert of_purchase()(entry()) == "apple:7"
    granted = EntryRecorded(
        id="e", at=T, cause="c", account=AccountId("bob/coins"), seq=9, kind=EntryKind.CREDIT, balance_coins=1, held_coins=0,
        counterparty="@store", reason="purchase", ref="apple:7",
    )  # fmt: skip
    assert of_purchase()(granted) == ""


def test_what_a_purchase_moves_is_told_with_what_is_owed() -> None:
    state, told = after(claim(), READ)
    assert [(type(one), one.coins, [(lot.lot, lot.coins) for lot in one.lots]) for one in told] == [
        (Credit, 110, [("apple:7", 100), ("apple:7/bonus", 10)])
    ]
    assert told[0].lots[1].expires_at == T + timedelta(days=7)
    state, _ = decide_purchase(state, entry())
    state, (back,) = decide_purchase(state, claim("", "n", signed_s=1, revoked=50_000))
    assert (type(back), back.coins, back.reason, back.lots) == (Clawback, 55, Reason.REFUND, ("apple:7", "apple:7/bonus"))
    assert decide_purchase(state, claim("", "n2", signed_s=1, revoked=50_000))[1] == ()
    state, facts = decide_purchase(state, entry(EntryKind.CLAWBACK, -20))
    assert [(type(one), one.coins) for one in facts] == [(PurchaseRefunded, 55), (PurchaseRepeated, 55)]
    state, (again,) = decide_purchase(state, claim("", "n3", signed_s=2))
    assert (type(again), again.coins, again.reason) == (Credit, 55, Reason.REFUND)
    state, facts = decide_purchase(state, entry())
    assert [(type(one), one.coins, one.net_coins) for one in facts[:1]] == [(PurchaseRestored, 55, 110)]


def test_an_account_that_refuses_is_asked_again_later() -> None:
    state, _ = after(claim(), READ, FULL)
    assert (state.wake_at, state.net_coins, state.asked) == (T + timedelta(hours=1), 0, ())
    assert decide_purchase(state, WAKE) == (state, ())
    state, (credit,) = decide_purchase(state, Wake(id="w", at=T + timedelta(hours=1), key="apple:7"))
    assert (type(credit), credit.coins, state.wake_at) == (Credit, 110, None)


def test_a_refund_that_is_heard_first_is_remembered() -> None:
    state, told = after(claim("", signed_s=5, revoked=WHOLE), READ)
    assert [type(one) for one in told] == [PurchaseRefused, PurchaseRefunded]
    state, (refused,) = decide_purchase(state, claim(id_="m2"))
    assert (refused.refusal, refused.cause) == (PaymentRefusal.TRANSACTION_REVOKED, "m2")
    _, (credit,) = decide_purchase(state, claim("", "m3", signed_s=6))
    assert (credit.coins, credit.reason) == (110, Reason.PURCHASE)


WORDS = st.tuples(st.integers(0, 5), st.sampled_from((0, 0, 1, 33_333, 50_000, WHOLE)), st.sampled_from(("bob", "eve", "")))


@given(st.lists(WORDS, min_size=1, max_size=12), st.lists(st.integers(0, 9), max_size=60), st.integers(1, 10), st.data())
def test_words_in_any_order_lead_to_what_the_last_one_says(
    words: list[tuple[int, int, str]], turns: list[int], quantity: int, data: st.DataObject
) -> None:
    """The purchase and its buyer's account, messages between them in order, words and spending at any time."""
    state: Any = None
    account, told = Account(1, T), list[Message]()
    claims = [claim(user, f"m{n}", quantity, signed_s=s, revoked=r) for n, (s, r, user) in enumerate(words)]
    waiting: list[PurchaseInbox] = []
    asked, spent = list(claims), 0
    while asked or waiting:
        if asked and (not waiting or (turns and turns.pop() % 2)):
            message: PurchaseInbox = asked.pop(0)
        else:
            message = waiting.pop(0)
        state, more = decide_purchase(state, message)
        told += more
        for one in more:
            if isinstance(one, ReadIntent):
                waiting.append(READ)
            elif isinstance(one, Credit | Clawback):
                account, facts = decide_account(account, one)
                waiting += [fact for fact in facts if of_purchase()(fact)]
        if account.balance_coins and data.draw(st.booleans()):
            account = account.__class__(account.seq, T, 0, debt_coins=account.debt_coins)
            spent += 1
    _, revoked = max((signed, revoked) for signed, revoked, _ in words)
    total = 110 * quantity
    net = total - total * revoked // WHOLE
    assert (state.net_coins, state.moving_coins, state.asked) == (net, 0, ())
    moved = [one.coins if isinstance(one, Credit) else -one.coins for one in told if isinstance(one, Credit | Clawback)]
    assert sum(moved) == net
    assert spent or account.balance_coins - account.debt_coins == net
    assert sum(isinstance(one, PurchaseCredited) for one in told) == bool([coins for coins in moved if coins > 0])
    ids = {one.id for one in claims}
    answers = [
        one.cause for one in told if isinstance(one, PurchaseCredited | PurchaseRepeated | PurchaseRefused)
    ]  # fmt: skip
    assert sorted(cause for cause in answers if cause in ids) == sorted(ids)


LAPSED = EntryRecorded(
    id="l", at=T, cause="w", account=AccountId("bob/coins"), seq=9, kind=EntryKind.LAPSE, balance_coins=100, held_coins=0,
    coins=-10, counterparty="@expired", reason="expiry", ref="apple:7/bonus",
)  # fmt: skip


def test_a_bonus_that_lapsed_is_not_asked_for() -> None:
    """Nobody had anything of it; asked for, it would be a debt."""
    assert of_purchase()(LAPSED) == "apple:7"
    assert of_purchase()(replace(LAPSED, ref="a-grant")) == ""
    refund = claim("", "m2", signed_s=1, revoked=WHOLE)
    state, told = after(claim(), READ, entry(), LAPSED)
    assert (told, state.lapsed_coins) == ([], 10)
    assert [one.coins for one in decide_purchase(state, refund)[1]] == [100]
    _, (half,) = decide_purchase(state, claim("", "m2", signed_s=1, revoked=33_333))
    assert half.coins == 33


def test_what_is_taken_back_behind_a_lapse_is_not_called_credited() -> None:
    """The lapsed bonus stays in the sum, and is nobody's: the phone hears that the store has taken all of it back."""
    refund = claim("", "m2", signed_s=1, revoked=WHOLE)
    state, told = after(claim(), READ, entry(), LAPSED, refund, entry(EntryKind.CLAWBACK, -100), claim(id_="m3"))
    assert [one.refusal for one in told] == [PaymentRefusal.TRANSACTION_REVOKED]
    asked = AskUsage(id="a", at=T, purchase="apple:7", ask="q", until=T)
    _, (said,) = decide_purchase(replace(state, usage_consent=True), asked)
    assert said.withheld is UsageWithheld.TAKEN_BACK


def test_a_lapse_that_is_heard_behind_the_refund_gives_back_what_was_too_much() -> None:
    refund = claim("", "m2", signed_s=1, revoked=WHOLE)
    for messages in ((refund, entry(EntryKind.CLAWBACK, -110), LAPSED), (refund, LAPSED, entry(EntryKind.CLAWBACK, -110))):
        state, told = after(claim(), READ, entry(), *messages)
        credit = told[-1]
        assert (type(credit), credit.coins, credit.reason, state.moving_coins) == (Credit, 10, Reason.REFUND, 10)


def test_facts_tell_what_was_taken_back_in_parts_of_all_of_it_whatever_the_store_counts_in() -> None:
    refund, back = claim("", "m2", quantity=4, signed_s=1, revoked=1, parts=4), entry(EntryKind.CLAWBACK, -110)
    _, (fact, _) = after(claim(quantity=4), READ, entry(coins=440), refund, back)
    assert (type(fact), fact.coins, fact.revoked_parts) == (PurchaseRefunded, 110, WHOLE // 4)


def test_a_part_that_is_taken_back_is_rounded_in_the_buyers_favour() -> None:
    state, _ = after(claim("", revoked=33_333), READ)
    assert state.due_coins == 110 - 36
