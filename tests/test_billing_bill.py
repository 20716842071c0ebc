"""A bill in odd moments: a hold that expires, answers that come late or say no, coins that run out while nobody looks."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines import billing_bill as domain
from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, Hold, Post, Refusal, Transfer, Void
from schemas.balance_cap import Cap, SpentHour
from schemas.billing import (
    Bill,
    BillClosed,
    BillInbox,
    BillOpened,
    BillRefused,
    BillStepped,
    CreditLow,
    EndBill,
    HoldStatus,
    OpenBill,
    StartBill,
    StepKind,
    Tariff,
)
from schemas.billing_rating import MAX_CALL_S, MAX_STEPS, Checkpoint, Side
from schemas.billing_rules import CallKind, Rule, Traits
from schemas.log.base import AccountId, Message, UserId, Wake, unix_second
from schemas.log.codec import encode
from schemas.log.sizes import worst_size
from schemas.user import Role
from schemas.video import EndCall, EndReason
from tests.decisions import decisions_of

decide_bill = decisions_of(domain.decide_bill)
T = datetime(2030, 1, 1, tzinfo=UTC)
PAYER = Side((Checkpoint(0, 9), Checkpoint(20, 60)), 60, 60)
EARNER = Side((Checkpoint(20, 30),), 60, 30)
MOVES = {Post: (EntryKind.POST, -1), Credit: (EntryKind.CREDIT, 1), Transfer: (EntryKind.DEBIT, -1)}
Asked = Hold | Post | Void | Credit | Transfer


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


class Till:
    """A bill and what it has told; `asked` is what the ledger has not answered yet, and answers when the test says so."""

    def __init__(self, payer: Side = PAYER, earner: Side = EARNER) -> None:
        self.bill: Bill | None = None
        self.told: list[Message] = []
        self.asked: list[Asked] = []
        traits = Traits(CallKind.DIRECT, Role.USER, Role.STREAMER)
        tariff = Tariff("t", 1, Rule(), payer, earner, T)
        self.hear(OpenBill(id="o", at=T, call="c", traits=traits, payer=UserId("bob"), earner=UserId("sue"), tariff=tariff))

    def hear(self, message: BillInbox) -> None:
        self.bill, told = decide_bill(self.bill, message)
        self.told += [one for one in told if not isinstance(one, Asked)]
        self.asked += [one for one in told if isinstance(one, Asked)]

    def do(self, number: int = 0, seconds: float = 0) -> None:
        """The ledger does what it was asked: by default, the first thing."""
        asked = self.asked.pop(number)
        kind, sign = MOVES.get(type(asked), (EntryKind.HOLD if isinstance(asked, Hold) else EntryKind.VOID, 0))
        self.hear(
            EntryRecorded(
                id=f"e/{asked.id}", at=at(seconds), cause=asked.id, account=asked.account, seq=1, kind=kind, balance_coins=500,
                held_coins=0, coins=sign * getattr(asked, "coins", 0), ref="c",
            )
        )  # fmt: skip

    def refuse(self, seconds: float = 0, refusal: Refusal = Refusal.INSUFFICIENT_COINS) -> None:
        """It does not do the first thing."""
        asked = self.asked.pop(0)
        self.hear(
            AccountRefused(
                id=f"r/{asked.id}/{seconds}", at=at(seconds), cause=asked.id, account=asked.account, command="Hold",
                refusal=refusal, shortfall_coins=5, ref="c",
            )
        )  # fmt: skip

    def do_all(self, seconds: float = 0) -> None:
        while self.asked:
            self.do(seconds=seconds)

    def wake(self, seconds: float) -> None:
        self.hear(Wake(id=f"w{seconds}", at=at(seconds), key="c"))

    def start(self) -> None:
        self.hear(StartBill(id="s", at=T, call="c"))

    def end(self, seconds: float) -> None:
        self.hear(EndBill(id="x", at=at(seconds), call="c"))

    def of(self, type_: type[Message]) -> list[Message]:
        return [one for one in self.told if isinstance(one, type_)]

    @property
    def closed(self) -> BillClosed:
        (closed,) = self.of(BillClosed)
        assert isinstance(closed, BillClosed)
        return closed


def connected(payer: Side = PAYER, earner: Side = EARNER) -> Till:
    """A call that has just connected: what the ledger is asked next has no answer yet."""
    till = Till(payer, earner)
    till.do()
    till.start()
    return till


def talking() -> Till:
    """A call that has connected, whose first checkpoint is paid, and whose second one is held."""
    till = connected()
    till.do_all()
    assert till.bill is not None
    assert (till.bill.paid, till.bill.hold) == (1, HoldStatus.STANDING)
    return till


def test_a_call_rings_when_its_first_checkpoint_is_held_and_not_when_it_is_refused() -> None:
    till = Till()
    assert till.told == []
    till.do()
    assert len(till.of(BillOpened)) == 1
    poor = Till()
    poor.refuse()
    assert (len(poor.of(BillRefused)), poor.bill is not None and poor.bill.closed) == (1, True)


def test_a_caller_who_gives_up_before_the_hold_is_refused_is_told_nothing_of_it() -> None:
    till = Till()
    till.end(1)
    till.refuse(2)
    assert till.told == []
    assert till.bill is not None
    assert till.bill.closed


def test_a_hold_that_expires_cuts_the_call_where_it_would_have_paid() -> None:
    till = talking()
    till.hear(
        EntryRecorded(
            id="e", at=at(10), cause="wake", account=AccountId("bob/coins"), seq=9, kind=EntryKind.EXPIRE, balance_coins=500,
            held_coins=0, ref="c",
        )
    )  # fmt: skip
    till.wake(20)
    (cut,) = till.of(EndCall)
    assert isinstance(cut, EndCall)
    assert (cut.at, cut.reason) == (at(20), EndReason.OUT_OF_COINS)


def test_an_answer_to_somebody_else_changes_nothing() -> None:
    till = talking()
    before = till.bill
    for cause in ("d/hold/0/0", "c/odd"):
        till.hear(
            EntryRecorded(
                id="e", at=at(1), cause=cause, account=AccountId("bob/coins"), seq=9, kind=EntryKind.CREDIT, balance_coins=5,
                held_coins=0, coins=5, ref="c",
            )
        )  # fmt: skip
        till.hear(
            AccountRefused(
                id="r",
                at=at(1),
                cause=cause,
                account=AccountId("bob/coins"),
                command="Void",
                refusal=Refusal.HOLD_UNKNOWN,
                ref="c",
            )
        )
    assert till.bill == before


@pytest.mark.parametrize(
    ("seconds", "refused", "paid", "earned"),
    [
        (30, {StepKind.EARNED: 0}, 69, 0),
        (30, {}, 69, 30),
        (10, {}, 9, 0),
    ],
)
def test_a_step_that_the_ledger_refuses_stands_on_the_receipt_with_its_reason(
    seconds: float, refused: dict[StepKind, int], paid: int, earned: int
) -> None:
    till = talking()
    till.wake(20)
    while till.asked:
        if isinstance(till.asked[0], Credit) and StepKind.EARNED in refused:
            till.refuse(20, Refusal.ACCOUNT_FROZEN)
        else:
            till.do(seconds=20)
    till.end(seconds)
    till.do_all(seconds)
    assert (till.closed.paid_coins, till.closed.earned_coins) == (paid, earned)
    steps = {step.kind: step.refusal for step in till.closed.steps}
    assert steps[StepKind.EARNED] == (Refusal.ACCOUNT_FROZEN if refused else "")


def test_what_was_paid_and_earned_beyond_the_end_comes_back() -> None:
    till = talking()
    till.wake(20)
    till.do_all(20)
    till.end(15)
    assert {type(one) for one in till.asked} == {Void, Credit, Transfer}
    till.do_all(25)
    assert (till.closed.paid_coins, till.closed.earned_coins, till.closed.duration_s) == (9, 0, 15.0)
    assert {step.kind for step in till.closed.steps} == set(StepKind)


def test_free_checkpoints_move_no_coins_there_or_back() -> None:
    till = connected(Side((Checkpoint(0, 9), Checkpoint(20, 0))), Side((Checkpoint(10, 0),)))
    till.do_all()
    till.wake(10)
    till.wake(20)
    assert till.asked == []
    till.end(5)
    assert (till.closed.paid_coins, till.closed.earned_coins) == (9, 0)


def test_a_call_without_a_price_rings_runs_and_is_closed_without_the_ledger() -> None:
    till = Till(Side(), Side())
    till.start()
    till.end(100)
    assert till.asked == []
    assert (till.closed.paid_coins, till.closed.duration_s) == (0, 100.0)


def test_a_late_answer_does_not_say_that_the_coins_last() -> None:
    """Two checkpoints were posted meanwhile: the balance of the first answer is of the past."""
    till = connected()
    till.do(1)  # the hold of the second checkpoint; the post of the first is late
    till.wake(20)
    till.do()
    stepped = till.of(BillStepped)[-1]
    assert isinstance(stepped, BillStepped)
    assert (stepped.number, stepped.seconds_left) == (0, 20)


def test_low_credit_is_told_once_tried_again_and_forgotten_when_coins_come() -> None:
    till = connected()
    till.do()
    till.refuse(0)
    till.wake(10)
    assert [type(one) for one in till.asked] == [Hold]
    till.refuse(10)
    till.wake(18)
    till.do(seconds=18)
    till.wake(20)
    assert [type(one) for one in till.asked] == [Post, Hold, Credit]
    assert (len(till.of(CreditLow)), till.of(EndCall)) == (1, [])


def test_a_daily_cap_ends_a_call_where_it_would_have_paid_and_limits_how_long_the_coins_last() -> None:
    till = connected()
    till.do()
    till.refuse(0, Refusal.DAILY_CAP)
    till.wake(18)
    till.refuse(18, Refusal.DAILY_CAP)
    till.wake(20)
    (cut,) = till.of(EndCall)
    assert isinstance(cut, EndCall)
    assert (cut.reason, cut.by, cut.at) == (EndReason.DAILY_CAP, "bob", at(20))
    paid = connected()
    asked = paid.asked.pop(0)
    paid.hear(
        EntryRecorded(
            id="e", at=T, cause=asked.id, account=AccountId("bob/coins"), seq=9, kind=EntryKind.POST, balance_coins=500,
            held_coins=0, coins=-9, ref="c", cap=Cap(9, hours=(SpentHour(unix_second(T) // 3_600, 9),)),
        )
    )  # fmt: skip
    stepped = paid.of(BillStepped)[-1]
    assert isinstance(stepped, BillStepped)
    assert stepped.seconds_left == 20


def test_coins_that_ran_out_while_nobody_looked_end_the_call_there_for_both_sides() -> None:
    """The flow was away: the call ended long ago, and only now it turns out what could be paid."""
    till = connected()
    till.do()
    till.end(90)
    till.refuse(95)
    till.do_all(95)
    assert (till.closed.paid_coins, till.closed.earned_coins, till.closed.duration_s) == (9, 0, 20.0)


def test_after_an_outage_each_checkpoint_is_held_and_posted_in_order() -> None:
    till = talking()
    till.end(90)
    till.do_all(95)
    assert (till.closed.paid_coins, till.closed.earned_coins, till.closed.duration_s) == (129, 60, 90.0)
    till.wake(95 + 86_400)
    assert till.bill is None


def test_the_longest_receipt_fits_and_the_call_ends_where_it_is_full() -> None:
    side = Side((Checkpoint(0, 1_000_000),), 5, 1_000_000)
    assert side.longest_s == MAX_STEPS * 5
    till = Till(side, side)
    till.do()
    till.start()
    till.end(side.longest_s + 900)  # a length that no call reaches: what is billed has an end all the same
    till.do_all()
    bill, closed = till.bill, till.closed
    assert bill is not None
    assert len(closed.steps) == 2 * MAX_STEPS
    assert closed.paid_coins == side.total(timedelta(seconds=side.longest_s)) == MAX_STEPS * 1_000_000
    assert len({step.entry for step in closed.steps}) == 2 * MAX_STEPS
    assert len(encode(bill)) <= worst_size(Bill).bytes
    assert len(encode(closed)) < 1_000_000
    for usual in (Side((), 60, 60), Side((), 22, 1), Side(), Side((Checkpoint(0, 9),))):
        assert usual.longest_s == MAX_CALL_S


def test_an_answer_that_nothing_asked_for_is_no_step() -> None:
    till = talking()
    assert till.bill is not None
    steps = till.bill.steps
    till.do_all()
    entry = EntryRecorded(
        id="c/post/0/0", at=T, cause="c/post/0", account=AccountId("bob/coins"), seq=1, kind=EntryKind.POST, balance_coins=0,
        held_coins=0, coins=-9, ref="c",
    )  # fmt: skip
    till.hear(entry)
    till.hear(entry)
    assert till.bill.steps == steps
