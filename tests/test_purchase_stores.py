"""What stores are told about purchases: Google that they were consumed, once and behind the credit, with an alarm where that
is not taken in time; and who thinks about a refund, to the coin, what of a purchase was used."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.runtime.alarms import alarms_in, prefixes_of
from schemas.balance import (
    Credit,
    EntryKind,
    LotsRead,
    OpenAccount,
    ReadLots,
    Reason,
    Transfer,
)
from schemas.balance_lots import UNNAMED, Lot
from schemas.log.base import AccountId, TransferId, Wake, same_fields
from schemas.log.codec import encode
from schemas.outbox import EffectKind, OweEffect, StoreActTaken
from schemas.payment import IntentRead, StoreAct
from schemas.purchase import (
    ALARM_AFTER,
    MAX_ASKS,
    PURCHASE,
    WHOLE,
    AskUsage,
    ClaimPurchase,
    Purchase,
    PurchaseConsumed,
    PurchaseCredited,
    PurchaseInbox,
    PurchaseUnconsumed,
    Store,
    UsageStated,
    UsageWithheld,
    used_coins,
)
from tests.decisions import all_decisions
from tests.long_lists import long_lists
from tests.test_purchase import LAPSED, READ, T, after, claim, decide_account, decide_purchase, entry


def play(**more: Any) -> ClaimPurchase:
    return replace(claim(**more), store=Store.GOOGLE, token="t", purchase="google:7")


def at_google(fact: Any) -> Any:
    changes = {"purchase": "google:7"} if isinstance(fact, IntentRead) else {"ref": "google:7", "counterparty": "@google"}
    return replace(fact, **changes, **({"google_id": "coins.100"} if isinstance(fact, IntentRead) else {}))


ACCEPTED = StoreActTaken(
    id="a", at=T + timedelta(hours=1), cause="r", effect="consume/google:7", kind=EffectKind.CONSUME, purchase="google:7"
)  # fmt: skip
ALARM = Wake(id="w", at=T + ALARM_AFTER, key="google:7")


def test_google_is_told_once_behind_the_first_credit_that_it_was_consumed() -> None:
    paid = at_google(entry())
    state, told = after(play(), at_google(READ), paid)
    assert [type(one) for one in told] == [PurchaseCredited, OweEffect]
    assert (told[1].effect, told[1].subject, told[1].store_act) == ("consume/google:7", "google:7", StoreAct("coins.100", "t"))
    refund, back = play(user="", id_="m2", signed_s=1, revoked=WHOLE), at_google(entry(EntryKind.CLAWBACK, -110))
    again = play(user="", id_="m3", signed_s=2)
    _, told = all_decisions(decide_purchase, play(), at_google(READ), paid, refund, back, again, paid)
    assert [type(one) for one in told].count(OweEffect) == 1
    _, (fact,) = decide_purchase(state, ACCEPTED)
    assert (type(fact), fact.purchase) == (PurchaseConsumed, "google:7")
    assert not after(play(), at_google(READ), paid, ACCEPTED, ACCEPTED)[1]
    assert not after(play(), at_google(READ), paid, ACCEPTED, ALARM)[1]
    assert not any(isinstance(one, OweEffect) for one in after(claim(), READ, entry())[1])
    keys = [heard.key for heard in PURCHASE.hears if heard.fact is StoreActTaken]
    assert [key(ACCEPTED) for key in keys if callable(key)] == ["google:7"]
    assert [key(replace(ACCEPTED, kind=EffectKind.PUSH)) for key in keys if callable(key)] == [""]


def test_what_is_not_consumed_in_time_raises_one_alarm() -> None:
    paid = at_google(entry())
    state, _ = after(play(), at_google(READ), paid)
    assert decide_purchase(state, replace(ALARM, at=T + timedelta(hours=47))) == (state, ())
    state, (fact,) = decide_purchase(state, ALARM)
    assert (type(fact), fact.alarm, fact.user) == (PurchaseUnconsumed, True, "bob")
    assert decide_purchase(state, ALARM) == (state, ())
    assert [type(one) for one in decide_purchase(state, ACCEPTED)[1]] == [PurchaseConsumed]
    assert list(alarms_in("live", [(PURCHASE.events, 0, b"k", encode(fact)), (PURCHASE.events, 0, b"k", None)])) == [
        "PurchaseUnconsumed"
    ]
    assert list(alarms_in("live", [("user.events", 0, b"k", encode(fact)), (PURCHASE.events, 0, b"k", encode(paid))])) == []
    assert prefixes_of("money") == {}
    refund, back = play(user="", id_="m2", signed_s=1, revoked=WHOLE), at_google(entry(EntryKind.CLAWBACK, -110))
    assert after(play(), at_google(READ), paid, refund, back, ALARM)[1] == []


def lots(*of: Lot, closed: bool = False) -> LotsRead:
    name = "apple:7"
    return LotsRead(
        id="l",
        at=T,
        cause="q/lots",
        account=AccountId("bob/coins"),
        request=TransferId(name),
        purchase=name,
        lots=of,
        closed=closed,
    )


ASK = AskUsage(id="q", at=T, purchase="apple:7", ask="a1", until=T + timedelta(hours=12))
AGREED = replace(READ, usage_consent=True)


@pytest.mark.parametrize(
    ("found", "used"),
    [
        ((Lot("apple:7/bonus", 10, T), Lot("apple:7", 100)), 0), ((Lot("apple:7", 70),), 40), ((Lot("apple:8", 70),), 110),
        ((), 110), ((Lot("apple:7/bonus", 10, T), Lot("apple:7", 1), Lot(UNNAMED, 5)), 99),
        ((Lot("apple:7", 100), Lot(UNNAMED, 5)), None), ((Lot(UNNAMED, 5),), None),
    ],
)  # fmt: skip
def test_a_store_is_told_to_the_coin_what_was_used_or_that_nobody_knows(found: tuple[Lot, ...], used: int | None) -> None:
    state, (read,) = after(claim(), AGREED, entry(), ASK)
    assert (type(read), read.account, read.purchase) == (ReadLots, "bob/coins", "apple:7")
    assert decide_purchase(state, ASK) == (state, ())
    state, (said, owed) = decide_purchase(state, lots(*found))
    assert (said.coins, said.used_coins, said.exact, said.withheld) == (110, used or 0, used is not None, None)
    assert (type(owed), owed.effect, owed.kind) == (OweEffect, "usage/apple:7/a1", EffectKind.TELL_USAGE)
    assert owed.store_act.used_parts == (None if used is None else used * WHOLE // 110)
    assert (owed.expires_at, state.asks) == (ASK.until, ())


def test_what_lapsed_or_was_taken_back_was_not_used() -> None:
    refund = claim("", "m2", signed_s=1, revoked=50_000)
    _, (said, _) = after(claim(), AGREED, entry(), LAPSED, ASK, lots(Lot("apple:7", 60)))
    assert said.used_coins == 40
    _, (said, owed) = after(claim(), AGREED, entry(), refund, entry(EntryKind.CLAWBACK, -55), ASK, lots(Lot("apple:7", 30)))
    assert (said.coins, said.used_coins, owed.store_act.used_parts) == (55, 25, 45_454)


def test_a_store_is_told_nothing_for_a_reason_that_is_recorded() -> None:
    many = (replace(ASK, ask=f"a{n}") for n in range(MAX_ASKS + 1))
    back = (claim("", "m2", signed_s=1, revoked=WHOLE), entry(EntryKind.CLAWBACK, -110))
    rows: list[tuple[tuple[PurchaseInbox, ...], UsageWithheld]] = [
        ((ASK,), UsageWithheld.PURCHASE_UNKNOWN), ((claim(), ASK), UsageWithheld.PURCHASE_UNKNOWN),
        ((claim(), READ, entry(), ASK), UsageWithheld.NO_CONSENT), ((claim(), AGREED, ASK), UsageWithheld.TAKEN_BACK),
        ((claim(), AGREED, entry(), *back, ASK), UsageWithheld.TAKEN_BACK),
        ((claim(), AGREED, entry(), ASK, *back, lots()), UsageWithheld.TAKEN_BACK),
        ((claim(), AGREED, entry(), ASK, lots(closed=True)), UsageWithheld.ERASED),
        ((claim(), AGREED, entry(), *many), UsageWithheld.TOO_MANY),
    ]  # fmt: skip
    for messages, why in rows:
        _, told = after(*messages)
        assert [(type(one), one.withheld) for one in told] == [(UsageStated, why)]
    assert {why for _, why in rows} == set(UsageWithheld)


@given(long_lists(st.tuples(st.sampled_from(["lot", "bonus", "spend", "loose"]), st.integers(1, 60)), 60))
def test_what_was_used_is_what_the_account_has_spent_of_it(steps: list[tuple[str, int]]) -> None:
    """A law: as long as no lot has lost its name, what is left of a purchase and what was used of it are all of it."""
    name, bob = "apple:7", AccountId("bob/coins")
    account, _ = decide_account(None, OpenAccount(id="o", at=T, account=bob))
    first = Credit(
        id="c", at=T, account=bob, counterparty=AccountId("@apple"), coins=110, reason=Reason.PURCHASE, lots=(Lot(name, 110),)
    )
    account, _ = decide_account(account, first)
    model: list[tuple[str, int]] = [(name, 110)]
    for number, (kind, coins) in enumerate(steps):
        if kind == "spend":
            spend = min(coins, account.available_coins)
            if spend:
                account, _ = decide_account(account, Transfer(
                    id=f"t{number}", at=T, account=bob, to=AccountId("@shop"), coins=spend, reason=Reason.TRANSFER
                ))  # fmt: skip
            while spend:
                owner, there = model[0]
                model = [(owner, there - spend), *model[1:]] if there > spend else model[1:]
                spend -= min(spend, there)
            continue
        until = T + timedelta(days=1) if kind == "bonus" else None
        more = () if kind == "loose" else (Lot(f"l{number}", coins, until),)
        account, _ = decide_account(account, replace(first, id=f"c{number}", coins=coins, lots=more))
        entry_ = (f"l{number}" if kind != "loose" else "", coins)
        behind = sum(1 for owner, _ in model if owner.startswith("b")) if kind == "bonus" else len(model)
        loose = [one for one in model if not one[0]]
        if kind == "bonus":
            model.insert(behind, ("b" + entry_[0], coins))
        elif kind == "loose":
            model.append(entry_)
        else:
            model.insert(len(model) - len(loose), entry_)
    purchase_ = Purchase(**same_fields(claim(), Purchase) | {"user": "bob", "coins": 110, "credited": True})
    used = used_coins(purchase_, name, account.lots)
    assert used == 110 - sum(coins for owner, coins in model if owner == name) or used is None
