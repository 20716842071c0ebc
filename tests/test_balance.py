"""The ledger: a row a refusal, and the laws over random histories, against the naive ledger."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.balance import decide_account
from schemas.balance import (
    Account,
    AccountInbox,
    AccountRefused,
    Clawback,
    CloseAccount,
    Credit,
    EntryKind,
    EntryRecorded,
    Freeze,
    Hold,
    LotsRead,
    OpenAccount,
    Post,
    ReadLots,
    Reason,
    Refusal,
    SetCap,
    SetShare,
    StandingHold,
    Transfer,
    Unfreeze,
    Void,
    WriteOff,
)
from schemas.balance_cap import Cap
from schemas.balance_fields import MAX_HOLDS
from schemas.balance_lots import MAX_LOTS, UNNAMED, Lot, with_lots
from schemas.log.base import MAX_BALANCE_COINS, MAX_COINS, AccountId, HoldId, Wake
from schemas.log.codec import encode, state_decoder
from tests.decisions import decisions_of
from tests.lab.proofs.ledger import NaiveLedger
from tests.long_lists import long_lists

decide = decisions_of(decide_account)
T = datetime(2030, 1, 1, tzinfo=UTC)
SOON = T + timedelta(minutes=1)
ANN, BOB, SHOP = AccountId("ann/coins"), AccountId("bob/coins"), AccountId("@shop")
H, NEW, NO = HoldId("h"), HoldId("new"), HoldId("no")
STANDING = StandingHold(H, BOB, 30, Reason.CALL, SOON)
RICH = Account(1, T, 100, 30, False, (STANDING,))
HOLDS = tuple(StandingHold(HoldId(f"h{n}"), AccountId("@x"), 1, Reason.CALL, SOON) for n in range(MAX_HOLDS))
FULL = Account(1, T, 1_000, 64, False, HOLDS)
FROZEN = Account(1, T, 100, frozen=True)


def credit(coins: int = 1, **more: Any) -> Credit:
    return Credit(id="m", at=T, account=ANN, counterparty=AccountId("@promotions"), coins=coins, reason=Reason.GRANT, **more)


def transfer(coins: int, to: AccountId = BOB) -> Transfer:
    return Transfer(id="m", at=T, account=ANN, to=to, coins=coins, reason=Reason.TRANSFER)


def hold(coins: int, name: HoldId = NEW, expires_at: datetime = SOON, to: AccountId = BOB) -> Hold:
    return Hold(id="m", at=T, account=ANN, hold=name, to=to, coins=coins, reason=Reason.CALL, expires_at=expires_at)


def clawback(coins: int, *lots: str, freeze_above_coins: int | None = None) -> Clawback:
    return Clawback(
        id="m", at=T, account=ANN, counterparty=AccountId("@apple"), coins=coins, reason=Reason.REFUND, lots=lots,
        freeze_above_coins=freeze_above_coins,
    )  # fmt: skip


REFUSALS = [
    (Refusal.ACCOUNT_UNKNOWN, None, credit(), 0),
    (Refusal.ACCOUNT_UNKNOWN, None, transfer(1), 0),
    (Refusal.ACCOUNT_FROZEN, FROZEN, transfer(1), 0),
    (Refusal.ACCOUNT_FROZEN, FROZEN, hold(1), 0),
    (Refusal.SAME_ACCOUNT, RICH, transfer(1, to=ANN), 0),
    (Refusal.SAME_ACCOUNT, RICH, hold(1, to=ANN), 0),
    (Refusal.OTHER_LEDGER, RICH, transfer(1, to=AccountId("bob/sandbox_coins")), 0),
    (Refusal.OTHER_LEDGER, RICH, hold(1, to=AccountId("@calls_sandbox")), 0),
    (Refusal.BALANCE_LIMIT, Account(1, T, MAX_BALANCE_COINS), credit(), 0),
    (Refusal.HOLD_UNKNOWN, RICH, Post(id="m", at=T, account=ANN, hold=NO, coins=1), 0),
    (Refusal.HOLD_UNKNOWN, RICH, Void(id="m", at=T, account=ANN, hold=NO), 0),
    (Refusal.HOLD_EXISTS, RICH, hold(1, name=H), 0),
    (Refusal.HOLD_EXPIRES_IN_PAST, RICH, hold(1, expires_at=T), 0),
    (Refusal.HOLD_EXCEEDED, RICH, Post(id="m", at=T, account=ANN, hold=H, coins=31), 0),
    (Refusal.TOO_MANY_HOLDS, FULL, hold(1), 0),
    (Refusal.INSUFFICIENT_COINS, RICH, transfer(71), 1),
    (Refusal.INSUFFICIENT_COINS, RICH, hold(100), 30),
    (Refusal.DAILY_CAP, Account(1, T, 100, cap=Cap(0)), hold(101), 0),
    (Refusal.ACCOUNT_UNKNOWN, None, clawback(1), 0),
    (Refusal.DEBT_CHANGED, Account(1, T, debt_coins=4), WriteOff(id="m", at=T, account=ANN, coins=3, debt_coins=5), 0),
]


@pytest.mark.parametrize(("refusal", "account", "message", "short"), REFUSALS)
def test_a_refusal_is_named_and_changes_nothing(
    refusal: Refusal, account: Account | None, message: AccountInbox, short: int
) -> None:
    after, told = decide(account, message)
    assert after is account
    assert [type(fact) for fact in told] == [AccountRefused]
    assert (told[0].refusal, told[0].shortfall_coins, told[0].cause) == (refusal, short, "m")


def test_every_refusal_of_the_ledger_has_a_row() -> None:
    of_transfers = {Refusal.IDEMPOTENCY_KEY_REUSED, Refusal.IN_PROGRESS}
    assert {row[0] for row in REFUSALS} == set(Refusal) - of_transfers


CHANGES = [
    (EntryKind.CREDIT, credit(7), 107, 30, 1),
    (EntryKind.RETURN, credit(7, returned=True), 107, 30, 1),
    (EntryKind.DEBIT, transfer(70), 30, 30, 2),
    (EntryKind.DEBIT, transfer(70, to=SHOP), 30, 30, 1),
    (EntryKind.HOLD, hold(70), 100, 100, 1),
    (EntryKind.POST, Post(id="m", at=T, account=ANN, hold=H, coins=10), 90, 0, 2),
    (EntryKind.VOID, Void(id="m", at=T, account=ANN, hold=H), 100, 0, 1),
    (EntryKind.EXPIRE, Wake(id="m", at=SOON, key=ANN), 100, 0, 1),
    (EntryKind.FREEZE, Freeze(id="m", at=T, account=ANN), 100, 30, 1),
    (EntryKind.UNFREEZE, Unfreeze(id="m", at=T, account=ANN), 100, 30, 1),
]


@pytest.mark.parametrize(("kind", "message", "balance", "held", "told"), CHANGES)
def test_a_change_is_one_entry(kind: EntryKind, message: AccountInbox, balance: int, held: int, told: int) -> None:
    after, facts = decide(RICH, message)
    entry = facts[0]
    assert (entry.kind, entry.seq, entry.balance_coins, entry.held_coins) == (kind, 2, balance, held)
    assert (after.seq, after.balance_coins, after.held_coins) == (2, balance, held)
    assert len(facts) == told


def test_opening_twice_opens_once() -> None:
    message = OpenAccount(id="m", at=T, account=ANN)
    account, facts = decide(None, message)
    assert [fact.kind for fact in facts] == [EntryKind.OPEN]
    assert decide(account, message) == (account, ())


def test_a_refused_credit_leg_goes_back_and_the_way_back_is_never_refused() -> None:
    leg = Credit(id="m", at=T, account=AccountId("nobody/coins"), counterparty=ANN, coins=5, reason=Reason.GIFT, transfer="t")
    _, (refused, back) = decide(None, leg)
    assert refused.refusal is Refusal.ACCOUNT_UNKNOWN
    assert (back.account, back.coins, back.returned, back.transfer) == (ANN, 5, True, "t")
    for account in (Account(1, T, MAX_BALANCE_COINS), FROZEN):
        after, (entry,) = decide(account, back)
        assert (entry.kind, after.balance_coins) == (EntryKind.RETURN, account.balance_coins + 5)


def test_a_stale_wake_is_ignored_and_a_late_one_expires_all_that_is_due() -> None:
    assert decide(RICH, Wake(id="w", at=T, key=ANN)) == (RICH, [])
    after, entries = decide(FULL, Wake(id="w", at=SOON + timedelta(days=1), key=ANN))
    assert len(entries) == len({entry.id for entry in entries}) == MAX_HOLDS
    assert (after.held_coins, after.holds, after.wake_at) == (0, (), None)


def test_what_was_spent_before_its_refund_is_owed_and_the_next_coins_pay_it_first() -> None:
    after, (entry,) = decide(RICH, clawback(100))
    assert (entry.kind, entry.coins, entry.debt_change_coins) == (EntryKind.CLAWBACK, -70, 30)
    assert (after.balance_coins, after.held_coins, after.debt_coins, after.available_coins) == (30, 30, 30, 0)
    paid, (came, repaid) = decide(after, credit(50))
    assert (came.kind, came.coins, repaid.kind, repaid.coins, repaid.debt_change_coins) == ("credit", 50, "repay", -30, -30)
    assert (paid.balance_coins, paid.debt_coins, paid.available_coins) == (50, 0, 20)
    freed, (void, part) = decide(after, Void(id="m", at=T, account=ANN, hold=H))
    assert (void.kind, part.coins, freed.balance_coins, freed.debt_coins) == (EntryKind.VOID, -30, 0, 0)


def test_a_debt_above_the_limit_freezes_and_what_is_forgiven_is_borne_by_us() -> None:
    after, entries = decide(Account(1, T), clawback(10, freeze_above_coins=9))
    assert ([entry.kind for entry in entries], after.frozen) == ([EntryKind.CLAWBACK, EntryKind.FREEZE], True)
    assert not decide(Account(1, T), clawback(10, freeze_above_coins=10))[0].frozen
    forgiven, (entry,) = decide(after, WriteOff(id="m", at=T, account=ANN, coins=10, debt_coins=10))
    assert (forgiven.debt_coins, entry.counterparty, entry.coins) == (0, "@written_off", 0)


def test_lots_are_spent_in_the_order_in_which_they_expire_and_a_refund_takes_its_own_first() -> None:
    lots = (Lot("p", 40), Lot("p/bonus", 10, SOON), Lot("q", 20))
    account = Account(1, T, 100, lots=with_lots((), lots))
    assert [lot.lot for lot in account.lots] == ["p/bonus", "p", "q"]
    assert account.wake_at == SOON
    spent, _ = decide(account, transfer(15))
    assert spent.lots == (Lot("p", 35), Lot("q", 20))
    refunded, (entry,) = decide(spent, clawback(30, "q", "q/bonus"))
    assert (entry.coins, refunded.lots) == (-30, (Lot("p", 25),))
    assert decide(refunded, transfer(55))[0].lots == ()


def test_coins_lapse_when_their_time_is_over_and_held_ones_when_they_are_freed() -> None:
    account = Account(1, T, 50, 45, False, (StandingHold(H, BOB, 45, Reason.CALL, SOON + timedelta(hours=1)),))
    account = replace(account, lots=(Lot("b", 20, SOON),))
    lapsed, (entry,) = decide(account, Wake(id="w", at=SOON, key=ANN))
    assert (entry.kind, entry.coins, entry.ref, lapsed.lots[0].coins) == (EntryKind.LAPSE, -5, "b", 15)
    assert lapsed.wake_at == SOON + timedelta(hours=1)
    freed, (void, lapse) = decide(lapsed, Void(id="m", at=SOON, account=ANN, hold=H))
    assert (void.kind, lapse.coins, freed.balance_coins, freed.lots, freed.wake_at) == (EntryKind.VOID, -15, 30, (), None)


def test_more_lots_than_are_kept_lose_a_name_and_no_coin() -> None:
    account = Account(1, T)
    for number in range(MAX_LOTS + 1):
        named_one = credit(1, lots=(Lot(f"p{number}", 1),))
        account, _ = decide(account, named_one)
    assert (account.balance_coins, len(account.lots)) == (MAX_LOTS + 1, MAX_LOTS)
    assert account.lots[-2:] == (Lot(f"p{MAX_LOTS - 2}", 1), Lot(UNNAMED, 2))


def test_coins_without_a_name_may_be_more_than_one_message_moves() -> None:
    account = Account(1, T)
    for number in range(MAX_LOTS + 2):
        account, _ = decide(account, credit(MAX_COINS, lots=(Lot(f"p{number}", MAX_COINS, SOON),)))
    assert account.lots[-1] == Lot(UNNAMED, 3 * MAX_COINS)
    assert state_decoder(Account)(encode(account)) == account


def test_a_debt_is_repaid_in_pieces_that_an_entry_can_say() -> None:
    holds = tuple(StandingHold(HoldId(f"h{n}"), BOB, MAX_COINS, Reason.CALL, SOON) for n in range(3))
    owing = Account(1, T, 3 * MAX_COINS, 3 * MAX_COINS, holds=holds, debt_coins=2 * MAX_COINS + 1)
    after, entries = decide(owing, Wake(id="w", at=SOON, key=ANN))
    paid = [entry for entry in entries if entry.kind is EntryKind.REPAY]
    assert [entry.coins for entry in paid] == [-MAX_COINS, -MAX_COINS, -1]
    assert (after.balance_coins, after.debt_coins, len({entry.id for entry in entries})) == (MAX_COINS - 1, 0, len(entries))


def test_time_never_goes_back() -> None:
    account = Account(1, SOON, 10)
    after, (entry,) = decide(account, credit())
    assert entry.at == after.at == SOON


coins = st.integers(1, 200)
holds = st.sampled_from(["h1", "h2", "h3"])
parties = st.sampled_from(["bob/coins", ANN, "@shop"])
# Seconds around the account's beginning; and, now and then, hours, which an account's daily cap counts.
times = st.one_of(st.integers(0, 300), st.integers(0, 99).map(lambda hour: hour * 1_800)).map(
    lambda s: T + timedelta(seconds=s)
)
common = {"id": st.uuids().map(str), "at": times}
own = {**common, "account": st.just(ANN)}
names = st.sampled_from(["p1", "p2", "p3"])


def named(at: datetime, coins: int, more: int, name: str, expires_at: datetime | None) -> Credit:
    """A purchase: a part of its coins is a lot of its own."""
    return Credit(
        id=str(uuid.uuid4()), at=at, account=ANN, counterparty=AccountId("@apple"), coins=coins + more, reason=Reason.PURCHASE,
        lots=(Lot(name, coins, expires_at),),
    )  # fmt: skip


reasons = st.sampled_from((Reason.GRANT, Reason.GIFT, Reason.CALL, Reason.SHARE))
messages = st.one_of(
    st.builds(OpenAccount, **own),
    st.builds(named, times, coins, coins, names, st.none() | times),
    st.builds(Credit, **own, counterparty=st.sampled_from(["@p", "eve/coins"]), coins=coins, reason=reasons),
    st.builds(
        SetShare, **own, agency=st.sampled_from(["", "agy"]), share_bps=st.integers(0, 10_000), version=st.integers(0, 9)
    ),
    st.builds(Transfer, **own, to=parties, coins=coins, reason=st.sampled_from((Reason.GIFT, Reason.TRANSFER))),
    st.builds(Hold, **own, hold=holds, to=parties, coins=coins, reason=st.just(Reason.CALL), expires_at=times),
    st.builds(Post, **own, hold=holds, coins=coins),
    st.builds(Void, **own, hold=holds),
    st.builds(Freeze, **own),
    st.builds(Unfreeze, **own),
    st.builds(CloseAccount, **own),
    st.builds(
        Clawback,
        **own,
        counterparty=st.just("@apple"),
        coins=coins,
        reason=st.just(Reason.REFUND),
        lots=st.lists(names, max_size=2).map(tuple),
        freeze_above_coins=st.sampled_from((None, 0, 50)),
    ),
    st.builds(WriteOff, **own, coins=coins, debt_coins=st.integers(0, 9)),
    st.builds(SetCap, **own, cap_coins=st.none() | st.integers(0, 300), staff=st.booleans()),
    st.builds(ReadLots, **own, request=st.just("r")),
    st.builds(Wake, **common, key=st.just(ANN)),
)


# Most are of an open account, many of a member of an agency: refusals of unknown accounts are soon told.
beginnings = st.sampled_from((
    (),
    (OpenAccount(id="o", at=T, account=ANN),),
    (OpenAccount(id="o", at=T, account=ANN), SetShare(id="s", at=T, account=ANN, agency="agy", share_bps=3_333, version=1)),
))  # fmt: skip
histories = st.tuples(beginnings, long_lists(messages, 60)).map(lambda parts: [*parts[0], *parts[1]])


@given(histories)
@settings(max_examples=4 * settings().max_examples)
def test_any_history_keeps_the_laws_and_equals_the_naive_ledger(history: list[AccountInbox]) -> None:
    account: Any = None
    naive, out, owed = NaiveLedger(), 0, 0
    for message in history:
        before = account
        account, told = decide(account, message)
        facts = [fact for fact in told if isinstance(fact, EntryRecorded | AccountRefused | LotsRead)]
        due = naive.apply(json.loads(encode(message)))
        assert len(facts) == len(due)
        for fact, expected in zip(facts, due, strict=True):
            said = json.loads(encode(fact))
            assert all(said.get(field, type(value)()) == value for field, value in expected.items())
        for fact in told:
            if isinstance(fact, EntryRecorded):
                out += fact.coins
                owed += fact.debt_change_coins
        if account is not None:
            assert 0 <= account.held_coins <= account.balance_coins == out
            assert account.held_coins == sum(hold.coins for hold in account.holds)
            assert account.debt_coins == owed >= 0
            assert not account.debt_coins or account.closed or not account.available_coins
            assert sum(lot.coins for lot in account.lots) <= account.balance_coins
            assert before is None or account.at >= before.at
        legs = sum(fact.coins for fact in told if isinstance(fact, Credit))
        entries = [fact for fact in facts if isinstance(fact, EntryRecorded)]
        debits = [f for f in entries if f.kind in (EntryKind.DEBIT, EntryKind.POST) and not f.counterparty.startswith("@")]
        refused = [f for f in told if isinstance(f, AccountRefused) and f.command == "Credit" and "@" not in f.counterparty]
        assert legs == -sum(f.coins for f in debits) + sum(
            f.coins for f in refused if not (isinstance(message, Credit) and message.returned)
        )
