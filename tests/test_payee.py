"""Payees: what may be drawn, each refusal by name, and over random histories: each entry in at most one payout, and no more
than was earned and is old enough."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.payee import decide_payee
from schemas.balance import EntryKind, EntryRecorded, Reason
from schemas.log.base import MAX_COINS, AccountId, UserId, Wake
from schemas.log.codec import encode, state_decoder
from schemas.payee import (
    MAX_DAYS,
    DestinationPut,
    DestinationRefused,
    OpenRound,
    Payee,
    PutAutomatic,
    PutDestination,
    day_of,
    of_earnings,
)
from schemas.payout import DrawEarnings, EarningsDrawn, EndDraw, RequestPayout
from schemas.payout_fields import PayoutRefusal
from schemas.user import UserErased
from tests.decisions import decisions_of, last_decision
from tests.long_lists import long_lists

decide = decisions_of(decide_payee)
decode = state_decoder(Payee)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)
SUE = UserId("sue")
PUT = PutDestination(id="d", at=T, user=SUE, holder="Sue Strom", iban="DE89370400440532013000")
OTHER = PutDestination(id="d2", at=T, user=SUE, holder="Sue Strom", iban="NL91ABNA0417164300")


def entry(seq: int, coins: int, day: int = 0, reason: Reason = Reason.CALL) -> EntryRecorded:
    kind = EntryKind.CREDIT if coins > 0 else EntryKind.DEBIT
    return EntryRecorded(
        id=f"e{seq}", at=T + timedelta(days=day), cause="c", account=AccountId("sue/earnings"), seq=seq, kind=kind,
        balance_coins=0, held_coins=0, coins=coins, reason=reason,
    )  # fmt: skip


def draw(name: str = "p", day: int = 0, reserve: int = 2, least: int = 1) -> DrawEarnings:
    return DrawEarnings(
        id=f"w{name}", at=T + timedelta(days=day), user=SUE, payout=name, reserve_days=reserve, minimum_coins=least
    )


def end(name: str = "p", **more: Any) -> EndDraw:
    return EndDraw(id=f"x{name}", at=T, user=SUE, payout=name, **more)


def after(*messages: Any) -> Any:
    return last_decision(decide, *messages)


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        ((entry(1, 10), draw(day=9)), PayoutRefusal.DESTINATION_UNKNOWN),
        ((PUT, entry(1, 10), draw(day=9), entry(2, 10), draw("q", day=9)), PayoutRefusal.PAYOUT_OPEN),
        ((PUT, draw()), PayoutRefusal.BELOW_MINIMUM),
        ((PUT, entry(1, 10), draw(day=1)), PayoutRefusal.BELOW_MINIMUM),
        ((PUT, entry(1, 10), draw(day=9, least=11)), PayoutRefusal.BELOW_MINIMUM),
        ((PUT, entry(1, 10), entry(2, -10, 8), draw(day=9)), PayoutRefusal.BELOW_MINIMUM),
        ((PUT, entry(1, 10), UserErased(id="u", at=T, cause="x", user=SUE), draw(day=9)), PayoutRefusal.DESTINATION_UNKNOWN),
    ],
)
def test_nothing_is_drawn(messages: tuple[Any, ...], refusal: PayoutRefusal) -> None:
    _, (told,) = after(*messages)
    assert (type(told), told.refusal, told.coins) == (EarningsDrawn, refusal, 0)


def test_what_is_old_enough_is_drawn_less_all_that_went_out() -> None:
    state, (told,) = after(PUT, entry(1, 10), entry(2, 20, 1), entry(3, -5, 3), entry(4, 40, 3), draw(day=3))
    assert (told.coins, told.from_seq, told.to_seq) == (5, 1, 1)
    assert (told.debits_coins, told.debits_from_seq, told.debits_to_seq) == (5, 1, 3)
    assert [(day.coins, day.last_seq) for day in state.days] == [(20, 2), (40, 4)]
    _, (told,) = after(PUT, entry(1, 10), draw(reserve=0))
    assert told.coins == 10


def test_a_payout_that_came_to_nothing_leaves_all_as_it_was_and_one_that_was_paid_is_done_with() -> None:
    before, _ = after(PUT, entry(1, 10), entry(2, -3, 1), entry(3, 20, 5))
    drawn, _ = decide(before, draw(day=3))
    failed, _ = decide(drawn, end())
    _, (again,) = decide(failed, draw("q", day=3))
    assert (again.coins, again.from_seq, again.to_seq, again.debits_to_seq) == (7, 1, 1, 2)
    paid, _ = decide(drawn, end(paid=True))
    assert (paid.open, sum(day.coins for day in paid.days), paid.debits_coins) == (None, 20, 0)
    assert decide(paid, end()) == (paid, ())
    returned, _ = decide(paid, end(returned_coins=7))
    _, (last,) = decide(returned, draw("r", day=3))
    assert (last.coins, last.again_coins, last.from_seq, last.to_seq) == (7, 7, 2, 1)


def test_a_draw_of_no_new_entry_that_came_to_nothing_leaves_all_as_it_was() -> None:
    """What came back is drawn alone, with and without what went out meanwhile: `from_seq` is above `to_seq` then."""
    paid, _ = after(PUT, entry(1, 10), draw(day=3), end(paid=True), end(returned_coins=10))
    for more in ((), (entry(2, -4, 1),), (entry(2, 30, 9),), (entry(2, -4, 1), entry(3, 30, 9))):
        before: Any = paid
        for one in more:
            before, _ = decide(before, one)
        drawn, (told,) = decide(before, draw("q", day=9))
        assert told.refusal is None
        assert told.from_seq > told.to_seq
        failed, _ = decide(drawn, end("q"))
        assert failed == before
        _, (again,) = decide(failed, draw("q", day=9))
        assert again == told


def test_a_destination_changes_only_between_payouts() -> None:
    state, (put,) = after(PUT)
    assert (type(put), put.destination) == (DestinationPut, state.destination)
    drawn, _ = after(PUT, entry(1, 10), draw(day=9))
    assert type(decide(drawn, PUT)[1][0]) is DestinationPut
    unchanged, (refused,) = decide(drawn, OTHER)
    assert (unchanged, type(refused), refused.refusal) == (drawn, DestinationRefused, PayoutRefusal.PAYOUT_OPEN)
    assert type(decide(decide(drawn, end())[0], OTHER)[1][0]) is DestinationPut


def test_payouts_and_coins_that_were_bought_are_no_earnings() -> None:
    assert of_earnings(entry(1, 5)) == "sue"
    assert of_earnings(entry(1, -5, reason=Reason.PAYOUT)) == ""
    bought = EntryRecorded(
        id="e", at=T, cause="c", account=AccountId("sue/coins"), seq=1, kind=EntryKind.CREDIT, balance_coins=5, held_coins=0,
        coins=5,
    )  # fmt: skip
    assert of_earnings(bought) == ""


def test_days_are_bounded_and_no_coin_is_lost() -> None:
    state, _ = after(*(entry(n + 1, 2, day=n) for n in range(MAX_DAYS + 30)))
    assert (len(state.days), sum(day.coins for day in state.days)) == (MAX_DAYS, 2 * (MAX_DAYS + 30))


def test_a_payout_that_came_to_nothing_adds_no_day_beyond_the_bound() -> None:
    """A state above its bound is one that no worker can read any more."""
    state, _ = after(PUT, entry(1, 5), draw(day=9), *(entry(n + 2, 2, day=n + 10) for n in range(MAX_DAYS)))
    assert len(state.days) == MAX_DAYS
    ended, _ = decide(state, end())
    assert (len(ended.days), sum(day.coins for day in ended.days)) == (MAX_DAYS, 5 + 2 * MAX_DAYS)
    assert decode(encode(ended)) == ended


def test_what_is_too_much_for_one_payout_waits_for_the_next_one() -> None:
    """The ledger moves MAX_COINS at once, and the bank's file has a largest sum, too."""
    rich = (PUT, entry(1, MAX_COINS), entry(2, MAX_COINS), entry(3, 7))
    state, (told,) = after(*rich, draw(day=9))
    assert (told.coins, told.again_coins, told.to_seq) == (MAX_COINS, -MAX_COINS - 7, 3)
    failed, _ = decide(state, end())
    assert decide(failed, draw(day=9))[1][0].coins == MAX_COINS
    paid, _ = decide(state, end(paid=True))
    paid, _ = decide(decide(paid, draw("q", day=9))[0], end("q", paid=True))
    _, (last,) = decide(paid, draw("r", day=9))
    assert (last.coins, last.again_coins) == (7, 7)
    _, (less,) = after(*rich, replace(draw(day=9), most_coins=100))
    assert less.coins == 100


def test_coins_of_before_1970_are_drawn_by_their_entries_all_the_same() -> None:
    """A clock that was wrong loses nothing, and draws nothing twice."""
    state, _ = after(PUT, entry(1, 10), draw(day=9), entry(2, 5, day=-30_000), end())
    drawn, (told,) = decide(state, draw("q", day=9))
    assert (told.coins, told.from_seq, told.to_seq, drawn.days) == (15, 1, 2, ())


def test_who_was_erased_takes_no_destination_and_is_forgotten_behind_the_mark() -> None:
    erased = UserErased(id="u", at=T, cause="x", user=SUE)
    for before in ((), (PUT, entry(1, 10)), (PUT, entry(1, 10), draw(day=9))):
        state, (refused,) = after(*before, erased, PUT)
        assert (type(refused), refused.refusal, state) == (DestinationRefused, PayoutRefusal.PAYEE_ERASED, Payee(erased_at=T))
        for late in (entry(2, 5), end(), end(returned_coins=10), Wake(id="w", at=T, key="sue")):
            assert decide(state, late) == (state, ())
        assert decide(state, Wake(id="w", at=T + timedelta(days=2), key="sue")) == (None, ())
    assert decide(None, end(returned_coins=10)) == (None, ())


STEPS = st.one_of(
    st.tuples(st.just("earn"), st.integers(1, 50)), st.tuples(st.just("lose"), st.integers(1, 20)),
    st.tuples(st.just("pass"), st.integers(1, 4)), st.tuples(st.just("draw"), st.integers(0, 4)),
    st.tuples(st.sampled_from(("paid", "failed", "returned")), st.just(0)),
)  # fmt: skip


@given(long_lists(STEPS, 60))
def test_each_entry_is_in_one_payout_and_no_more_is_paid_than_is_earned_and_old_enough(steps: list[tuple[str, int]]) -> None:
    state: Any = decide(None, PUT)[0]
    entries, day, seq = list[EntryRecorded](), 0, 0
    open_: EarningsDrawn | None = None
    paid, done, returned = list[EarningsDrawn](), list[EarningsDrawn](), 0
    matured = 0  # what was old enough once stays so
    for number, (step, value) in enumerate(steps):
        if step == "pass":
            day += value
        elif step in ("earn", "lose"):
            free = sum(e.coins for e in entries) + returned - sum(one.coins for one in (*paid, *([open_] if open_ else [])))
            coins = value if step == "earn" else -min(value, free)
            if not coins:
                continue  # nothing goes out of an account that is not there
            seq += 1
            state, _ = decide(state, entry(seq, coins, day))
            entries.append(entry(seq, coins, day))
        elif step == "draw":
            state, (told,) = decide(state, draw(f"p{number}", day, reserve=value))
            if told.refusal is None:
                assert open_ is None
                open_ = told
                youngest = day_of(T) + day - value if value else day_of(T) + day + 1
                drawn = [e for e in entries if e.coins > 0 and told.from_seq <= e.seq <= told.to_seq]
                old = [e for e in drawn if day_of(e.at) < youngest or e.seq <= matured]
                matured = max(matured, told.to_seq)
                lost = [e for e in entries if e.coins < 0 and told.debits_from_seq <= e.seq <= told.debits_to_seq]
                assert told.coins == sum(e.coins for e in (*old, *lost)) + told.again_coins
        elif step == "returned" and done:
            back = done.pop()
            returned += back.coins
            state, _ = decide(state, end(back.payout, returned_coins=back.coins))
        elif step in ("paid", "failed") and open_ is not None:
            state, _ = decide(state, end(open_.payout, paid=step == "paid"))
            paid += [open_] if step == "paid" else []
            done += [open_] if step == "paid" else []
            open_ = None
    covered = [seq for one in paid for seq in range(one.from_seq, one.to_seq + 1)]
    assert len(covered) == len(set(covered))
    assert sum(one.coins for one in paid) - returned <= max(0, sum(e.coins for e in entries))


def test_who_wants_it_is_asked_for_once_in_each_round_that_begins_from_then_on() -> None:
    def of_round(name: str) -> Payee:
        common, _ = decide(None, OpenRound(id="o", at=T, user=UserId("@0"), round=name))
        assert isinstance(common, Payee)
        return common

    wake, put = Wake(id="sue~1", at=T, key="sue"), PutAutomatic(id="a", at=T, user=SUE, automatic=True)
    first, second = of_round("r1"), of_round("r2")
    payee, _ = after(PUT, entry(1, 10))
    assert not payee.behind(first), "who has not asked for it is not asked for"
    assert decide(payee, wake, first) == (payee, ())
    payee, (fact,) = decide(payee, put, first)
    assert (fact.automatic, payee.behind(first), payee.behind(second)) == (True, False, True)
    payee, (asks,) = decide(payee, wake, second)
    assert (type(asks), asks.user, asks.by, len(asks.payout)) == (RequestPayout, SUE, SUE, 32)
    assert (payee.behind(second), decide(payee, wake, second)) == (False, (payee, ()))
    poor, _ = after(put)
    assert decide(poor, wake, second) == (replace(poor, round="r2"), ()), "there is nothing, and nowhere to pay it to"
    waits, _ = decide(payee, draw(day=9))
    assert decide(replace(waits, round=""), wake, second)[1] == (), "one payout at a time"
    gone, _ = after(UserErased(id="u", at=T, cause="x", user=SUE))
    assert decide(gone, put)[1][0].refusal is PayoutRefusal.PAYEE_ERASED
