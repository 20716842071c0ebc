"""A bill, keyed by call id: what a call costs the payer and earns the other side, second by second.

State: the pinned tariff, which checkpoints of either side were asked for, the hold on the payer's next one, the receipt so far
(`schemas.billing.Bill`); forgotten a day after it was closed. The next checkpoint is held before it begins; when it begins the
hold is posted and the one after it is held. If a hold is refused the call is cut at that checkpoint, unless coins come before.
Laws: a closed bill's coins are those of `schemas.billing_rating` for the call's length, by event time, however late the wakes
were, and none of a void one; what was paid beyond the end comes back; every hold is posted or voided; every step of the receipt
is one ledger entry.
The ledger's answers are known by the ids that the bill gave: "<call>/hold/<number>/<try>", "<call>/post/<number>", ...
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, Hold, Post, Reason, Refusal, Transfer, Void
from schemas.balance import coins_account as coins
from schemas.balance import earnings_account as earnings
from schemas.billing import (
    ASKED,
    CALLS,
    Bill,
    BillClosed,
    BilledStep,
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
    receipt,
)
from schemas.billing_rating import MAX_STEPS, Checkpoint, Side
from schemas.log.base import REMEMBERED_FOR, Envelope, HoldId, Message, MessageId, Reply, Wake, later, reply
from schemas.video import EndCall, EndReason

# A hold outlives the longest outage after which a call is still billed; the bill itself frees it long before.
HOLD_LIVES: Final = timedelta(hours=12)
# When coins run low the hold is tried again so often, and a last time so long before the cut.
RETRY_EVERY: Final = timedelta(seconds=10)
LAST_TRY: Final = timedelta(seconds=2)
# The line of the receipt that an answer of the ledger becomes, by the word in the id of what was asked.
STEPS: Final = {word: kind for kind, word in ASKED.items()}

Decision = tuple[Bill | None, Sequence[Message]]


class LedgerOrder(Envelope):
    """What every command to the ledger has in common; the ledger's answer is recognised by the id."""

    reason: Reason
    ref: str


def decide_bill(bill: Bill | None, message: BillInbox) -> Decision:
    """Decide one message of a bill's inbox."""
    if bill is None:
        return _open(message) if isinstance(message, OpenBill) else (None, ())
    if isinstance(message, Wake) and bill.closed:
        return (None if bill.is_due(message.at) else bill), ()
    if bill.closed or isinstance(message, OpenBill):
        return bill, ()
    work = Work(bill, message)
    match message:
        case StartBill():
            work.bill = replace(bill, connected_at=message.at)
        case EndBill():
            work.bill = replace(bill, ended_at=message.at, void=message.void)
        case EntryRecorded():
            work.recorded(message)
        case AccountRefused():
            work.refused(message)
    work.go_on()
    return work.bill, work.messages


def _open(message: OpenBill) -> Decision:
    bill = Bill(message.traits, message.payer, message.earner, message.tariff, MessageId(message.id))
    work = Work(bill, message)
    work.hold()
    if work.bill.hold is not HoldStatus.ASKED:
        work.opened()
    return work.bill, work.messages


def _call_of(message: BillInbox) -> str:
    match message:
        case Wake():
            return message.key
        case EntryRecorded() | AccountRefused():
            return message.ref
    return message.call


class Work:
    """One decision on a bill: `bill` as it becomes, and the `messages` that tell others."""

    def __init__(self, bill: Bill, message: BillInbox) -> None:
        self.bill = bill
        self.message = message
        self.call = _call_of(message)
        self.messages: list[Message] = []

    # --- the payer's next checkpoint -------------------------------------------------------------------------------------

    @property
    def next(self) -> Checkpoint | None:
        """The payer's next checkpoint."""
        return self.bill.tariff.payer.at(self.bill.paid) if self.bill.paid < MAX_STEPS else None

    def hold(self) -> None:
        """Ask the ledger to hold the next checkpoint; a free one needs no coins."""
        checkpoint, bill = self.next, self.bill
        if checkpoint is None or not checkpoint.coins:
            self.bill = replace(bill, hold=HoldStatus.NONE if checkpoint is None else HoldStatus.STANDING, tries=0)
            return
        at = self.message.at
        self.ask(
            Hold(
                **self._order(f"hold/{bill.paid}/{bill.tries}", at),
                account=coins(bill.payer),
                hold=HoldId(f"{self.call}/{bill.paid}"),
                to=CALLS,
                coins=checkpoint.coins,
                expires_at=later(max(at, bill.due_at(bill.tariff.payer, bill.paid) or at), HOLD_LIVES),
            )
        )
        self.bill = replace(self.bill, hold=HoldStatus.ASKED, tries=bill.tries + 1, retry_at=None)

    def _order(self, name: str, at: datetime) -> LedgerOrder:
        return {"id": MessageId(f"{self.call}/{name}"), "at": at, "reason": Reason.CALL, "ref": self.call}

    def ask(self, command: Message) -> None:
        """Send the ledger a command that it will answer."""
        self.messages.append(command)
        self.bill = replace(self.bill, open_answers=self.bill.open_answers + 1)

    def post(self) -> None:
        """The next checkpoint begins: take what is held for it."""
        checkpoint, bill = self.next, self.bill
        assert checkpoint is not None
        if checkpoint.coins:
            self.ask(
                Post(
                    **self._order(f"post/{bill.paid}", self._begins_at(bill.tariff.payer, bill.paid)),
                    account=coins(bill.payer),
                    hold=HoldId(f"{self.call}/{bill.paid}"),
                    coins=checkpoint.coins,
                )
            )
        self.bill = replace(self.bill, paid=bill.paid + 1, hold=HoldStatus.NONE, tries=0, retry_at=None)

    def _begins_at(self, side: Side, number: int) -> datetime:
        """When a checkpoint begins that is known to come."""
        begin = self.bill.due_at(side, number)
        assert begin is not None
        return begin

    # --- the ledger's answers --------------------------------------------------------------------------------------------

    def recorded(self, entry: EntryRecorded) -> None:
        """The ledger did what it was asked."""
        if entry.kind is EntryKind.EXPIRE and self.bill.hold is HoldStatus.STANDING:
            self.bill = replace(self.bill, hold=HoldStatus.REFUSED)
            return
        what, number = self._asked(entry.cause)
        if what == "hold":
            self.bill = replace(self.bill, hold=HoldStatus.STANDING)
            if self.bill.connected_at is None and self.bill.ended_at is None:
                self.opened()
        elif what in STEPS:
            self._step(STEPS[what], number, abs(entry.coins))
            if what == "post":
                self._stepped(number, entry)

    def refused(self, refusal: AccountRefused) -> None:
        """The ledger refused what it was asked."""
        what, number = self._asked(refusal.cause)
        if what == "hold":
            self._hold_refused(refusal)
        elif what in STEPS:
            self._step(STEPS[what], number, 0, refusal.refusal)

    def _asked(self, cause: str) -> tuple[str, int]:
        """What an answer answers: "hold" and the checkpoint's number; nothing: it is not for this bill."""
        parts = cause.removeprefix(f"{self.call}/").split("/")
        if not cause.startswith(f"{self.call}/") or len(parts) < 2 or not self.bill.open_answers:
            return "", 0
        self.bill = replace(self.bill, open_answers=self.bill.open_answers - 1)
        return parts[0], int(parts[1])

    def _hold_refused(self, refusal: AccountRefused) -> None:
        bill = replace(self.bill, hold=HoldStatus.REFUSED, capped=refusal.refusal is Refusal.DAILY_CAP)
        self.bill = bill
        if bill.connected_at is None:
            if bill.ended_at is None:
                refused = BillRefused(
                    **self._reply(bill.opened_by), call=self.call, payer=bill.payer, refusal=refusal.refusal,
                    shortfall_coins=refusal.shortfall_coins, cap_room=refusal.cap_room,
                )  # fmt: skip
                self.messages.append(refused)
            self.bill = replace(bill, closed=True, forget_at=later(refusal.at, REMEMBERED_FOR))
            return
        if bill.ended_at is not None:
            return
        cut_at = self._begins_at(bill.tariff.payer, bill.paid)
        left = cut_at - refusal.at
        if left > LAST_TRY:
            self.bill = replace(bill, retry_at=min(later(refusal.at, RETRY_EVERY), later(cut_at, -LAST_TRY)))
        if bill.tries == 1:
            low = CreditLow(
                **self._reply(), call=self.call, payer=bill.payer, earner=bill.earner, cut_at=cut_at,
                seconds_left=left.total_seconds(), shortfall_coins=refusal.shortfall_coins,
                cap_room=refusal.cap_room,
            )  # fmt: skip
            self.messages.append(low)

    def _step(self, kind: StepKind, number: int, moved: int, refusal: Refusal | None = None) -> None:
        self.bill = replace(self.bill, steps=(*self.bill.steps, BilledStep(kind, number, moved, refusal)))

    def _stepped(self, number: int, entry: EntryRecorded) -> None:
        """Tell both how far they are and how long the coins last."""
        bill = self.bill
        assert bill.connected_at is not None
        paid = bill.tariff.payer.at(number)
        assert paid is not None
        after_s = paid.after_s
        available = entry.balance_coins - entry.held_coins
        if entry.cap is not None and (left := entry.cap.left_at(entry.at, entry.held_coins)) is not None:
            available = min(available, left)
        if bill.hold in (HoldStatus.ASKED, HoldStatus.STANDING) and self.next is not None and bill.paid > number + 1:
            available = 0  # a late answer: newer ones follow
        lasts_s = bill.tariff.payer.lasts_s(number + 1, available)
        stepped = BillStepped(
            **self._reply(), call=self.call, payer=bill.payer, earner=bill.earner, number=number, after_s=after_s,
            coins=bill.steps[-1].coins, paid_coins=sum(step.coins for step in bill.steps if step.kind is StepKind.PAID),
            seconds_left=None if lasts_s is None else max(0, lasts_s - after_s),
        )  # fmt: skip
        self.messages.append(stepped)

    def opened(self) -> None:
        """The call may ring."""
        bill = self.bill
        opened = BillOpened(**self._reply(bill.opened_by), call=self.call, payer=bill.payer, earner=bill.earner)
        self.messages.append(opened)

    def _reply(self, to: str = "") -> Reply:
        """The envelope of a fact; `to`: the message that it answers, where that is not the one being decided."""
        return reply(self.message, f"bill{len(self.messages)}", to=to)

    # --- time ------------------------------------------------------------------------------------------------------------

    def go_on(self) -> None:
        """Do what is due: while the call runs up to now, after its end up to its end."""
        bill = self.bill
        if bill.closed:
            return
        if bill.ended_at is not None:
            self._settle(bill.ended_at)
        elif bill.connected_at is not None:
            self._run(self.message.at)

    def _run(self, at: datetime) -> None:
        """Bill every checkpoint up to `at`, in the order of time, the payer first. Waits where an answer is missing."""
        while not self.bill.cut:
            bill = self.bill
            pays, earns = bill.due_at(bill.tariff.payer, bill.paid), bill.due_at(bill.tariff.earner, bill.earned)
            if bill.hold is HoldStatus.NONE and pays is not None:
                self.hold()
            elif pays is not None and pays <= at and (earns is None or pays <= earns):
                if bill.hold is HoldStatus.STANDING:
                    self.post()
                elif bill.hold is HoldStatus.REFUSED:
                    self._cut(pays)
                else:
                    return
            elif earns is not None and earns <= at:
                self._earn()
            else:
                break
        if self.bill.hold is HoldStatus.REFUSED and self.bill.retry_at is not None and self.bill.retry_at <= at:
            self.hold()

    def _cut(self, at: datetime) -> None:
        reason = EndReason.DAILY_CAP if self.bill.capped else EndReason.OUT_OF_COINS
        cut = EndCall(id=f"{self.call}/cut", at=at, call=self.call, reason=reason, by=self.bill.payer)
        self.messages.append(cut)
        self.bill = replace(self.bill, cut=True, retry_at=None)

    def _earn(self) -> None:
        bill = self.bill
        checkpoint = bill.tariff.earner.at(bill.earned)
        assert checkpoint is not None
        if checkpoint.coins:
            self.ask(
                Credit(
                    **self._order(f"earn/{bill.earned}", self._begins_at(bill.tariff.earner, bill.earned)),
                    account=earnings(bill.earner),
                    counterparty=CALLS,
                    coins=checkpoint.coins,
                )
            )
        self.bill = replace(self.bill, earned=bill.earned + 1)

    def _settle(self, ended_at: datetime) -> None:
        """The call is over: bring both sides to the checkpoints that its length has passed, then close."""
        began = None if self.bill.void else self.bill.connected_at
        length = ended_at - began if began else None
        payable = min(MAX_STEPS, self.bill.tariff.payer.count(length)) if length is not None else 0
        earnable = min(MAX_STEPS, self.bill.tariff.earner.count(length)) if length is not None else 0
        if self.bill.paid > payable and self.bill.hold is not HoldStatus.ASKED:
            self._give_back(payable, ended_at)
        if self.bill.earned > earnable:
            self._reclaim(earnable, ended_at)
        while self.bill.paid < payable and self.bill.hold in (HoldStatus.STANDING, HoldStatus.NONE):
            if self.bill.hold is HoldStatus.STANDING:
                self.post()
            else:
                self.hold()
        if self.bill.paid < payable:  # the earner's part waits for it
            if self.bill.hold is HoldStatus.REFUSED:
                # The coins ran out while nobody looked: by its own time the call was over at that checkpoint, for both sides.
                end = self._begins_at(self.bill.tariff.payer, self.bill.paid)
                self.bill = replace(self.bill, ended_at=end, hold=HoldStatus.NONE)
                self.go_on()
            return
        while self.bill.earned < earnable:
            self._earn()
        if self.bill.hold is HoldStatus.STANDING and self.bill.paid >= payable:
            self._void()
        if not self.bill.open_answers:
            self._close(length or timedelta())

    def _void(self) -> None:
        checkpoint, bill = self.next, self.bill
        if checkpoint is not None and checkpoint.coins:
            order, hold = self._order(f"void/{bill.paid}", self.message.at), HoldId(f"{self.call}/{bill.paid}")
            self.ask(Void(**order, account=coins(bill.payer), hold=hold))
        self.bill = replace(self.bill, hold=HoldStatus.NONE)

    def _give_back(self, payable: int, at: datetime) -> None:
        """The payer has paid more checkpoints than the call's length makes payable."""
        side, paid = self.bill.tariff.payer, self.bill.paid
        if self.bill.hold is HoldStatus.STANDING:
            self._void()
        back = side.coins(paid) - side.coins(payable)
        if back:
            order = self._order(f"refund/{payable}", at)
            self.ask(Credit(**order, account=coins(self.bill.payer), counterparty=CALLS, coins=back))
        self.bill = replace(self.bill, paid=payable)

    def _reclaim(self, earnable: int, at: datetime) -> None:
        """The earner was paid for more checkpoints than the call's length has passed."""
        side = self.bill.tariff.earner
        back = side.coins(self.bill.earned) - side.coins(earnable)
        if back:
            order = self._order(f"reclaim/{earnable}", at)
            self.ask(Transfer(**order, account=earnings(self.bill.earner), to=CALLS, coins=back))
        self.bill = replace(self.bill, earned=earnable)

    def _close(self, length: timedelta) -> None:
        bill = self.bill
        sums = {kind: sum(step.coins for step in bill.steps if step.kind is kind) for kind in StepKind}
        closed = BillClosed(
            **self._reply(),
            call=self.call,
            traits=bill.traits,
            payer=bill.payer,
            earner=bill.earner,
            tariff=bill.tariff.tariff,
            version=bill.tariff.version,
            duration_s=length.total_seconds(),
            paid_coins=sums[StepKind.PAID] - sums[StepKind.REFUNDED],
            earned_coins=sums[StepKind.EARNED] - sums[StepKind.RECLAIMED],
            steps=receipt(self.call, bill),
            connected_at=None if bill.void else bill.connected_at,
        )
        self.messages.append(closed)
        last = max(self.message.at, bill.ended_at or bill.connected_at or self.message.at)
        self.bill = replace(bill, closed=True, forget_at=later(last, REMEMBERED_FOR))
