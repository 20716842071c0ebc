"""Billing's messages and states: `tariffs` (the book of prices) and `bill` (one call's money).

The book is one entity: which tariff applies is decided in one place, at one time, and a tie can be seen. A call asks once and
keeps that version. The payer pays to, and the earner is paid by, the outside party `@calls`: the difference is the margin.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from schemas.balance import AccountRefused, EntryRecorded, Reason, Refusal
from schemas.balance_cap import CapRoom
from schemas.balance_heard import paid_for
from schemas.billing_rating import MAX_CALL_S, MAX_STEPS, Checkpoint, Side
from schemas.billing_rules import CallKind, Rule, Traits
from schemas.log.base import (
    MAX_COINS,
    MAX_MESSAGE_ID_LENGTH,
    AccountId,
    BookName,
    By,
    Fact,
    Fields,
    Id,
    Message,
    MessageName,
    Refused,
    State,
    Time,
    Wake,
    later,
)
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.user import Code, Role, User_

CallId = Annotated[str, Meta(min_length=1, max_length=128), PLAIN]
# What a receipt repeats in each of its steps; paths have such ids, and so do matches.
PlainCall = Annotated[str, Meta(max_length=65, pattern=r"^[A-Za-z0-9_.:-]{1,64}$"), PLAIN]
EntryId = Annotated[str, Meta(max_length=MAX_MESSAGE_ID_LENGTH, extra={"max_bytes": 100}), PLAIN]
RefusalWord = Annotated[str, Meta(max_length=32, extra={"max_bytes": 34}), PLAIN]  # a member of Refusal, or empty

CALLS: Final = AccountId("@calls")
BOOK: Final = "calls"
MAX_VERSIONS: Final = 16  # of each tariff: the one in force, what is scheduled, and one that is published at once
MAX_TARIFFS: Final = 500
MAX_FREE: Final = 8
MAX_BOOK_BYTES: Final = 192 * 1024  # as JSON: hundreds of tariffs of a dozen checkpoints
MAX_DETAIL: Final = 2_000
MAX_RECEIPT: Final = 2 * MAX_STEPS + 8  # each side's steps, and what came back


class CallName(Fields):
    """Which call."""

    call: CallId


class FreeTime(State):
    """A payer with this tag, of a cohort, a subscription or staff's, pays nothing that is due before `free_s`."""

    tag: Code
    free_s: Annotated[int, Meta(ge=1, le=MAX_CALL_S)]


FreeTimes = Annotated[tuple[FreeTime, ...], Meta(max_length=MAX_FREE)]


class Tariff(State):
    """One version of a tariff: for which calls, and what each side pays or earns. `subsidy`: it may pay more than it takes.
    `free`: for whom the first seconds are free; of several the longest counts."""

    tariff: Id
    version: int
    rule: Rule
    payer: Side
    earner: Side
    effective_from: Time
    name: Code = ""
    subsidy: bool = False
    free: FreeTimes = ()

    def pinned(self, call: Traits) -> "Tariff":
        """The tariff as a call keeps it: with the payer's free seconds, and without what other calls would need."""
        free_s = max((one.free_s for one in self.free if one.tag in call.tags), default=0)
        payer = replace(self.payer, free_s=free_s) if free_s else self.payer
        return replace(self, rule=replace(self.rule, hours=None), payer=payer, free=())


class TariffRefusal(StrEnum):
    """Why a tariff was not published, in order of precedence."""

    INVALID_TARIFF = "invalid_tariff"
    PAYS_MORE_THAN_IT_TAKES = "pays_more_than_it_takes"
    EFFECTIVE_IN_PAST = "effective_in_past"
    TOO_MANY_TARIFFS = "too_many_tariffs"
    OVERLAPPING_RULES = "overlapping_rules"


# --- tariffs ----------------------------------------------------------------------------------------------------------------


class PublishTariff(Message, BookName):
    """A new version of a tariff, in force from `effective_from` (None: at once). `subsidy`: it may pay more than it takes."""

    tariff: Id
    rule: Rule
    payer: Side
    earner: Side
    effective_from: Time | None = None
    name: Code = ""
    by: By = ""
    subsidy: bool = False
    free: FreeTimes = ()


class SelectTariff(Message, BookName):
    """A call asks which tariff it runs under, as of `at`."""

    call: CallId
    traits: Traits


class TariffPublished(Fact, BookName):
    """The version is in the book."""

    tariff: Tariff
    by: By = ""


class TariffRefused(Refused, BookName):
    """The version is not in the book; `detail` says why in words."""

    refusal: TariffRefusal
    detail: Annotated[str, Meta(max_length=MAX_DETAIL), PLAIN]


class TariffSelected(Fact, BookName):
    """The tariff of a call; None: none is for such calls."""

    call: CallId
    tariff: Tariff | None = None


class TariffBook(State):
    """The versions in force or scheduled, by tariff, oldest first."""

    versions: Annotated[
        dict[Id, Annotated[tuple[Tariff, ...], Meta(max_length=MAX_VERSIONS)]],
        Meta(max_length=MAX_TARIFFS, extra={"max_bytes": MAX_BOOK_BYTES}),
    ]


TariffsInbox = PublishTariff | SelectTariff | Wake

_SHIPPED_FROM: Final = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
_PAYER: Final = Side((Checkpoint(0, 9), Checkpoint(20, 60), Checkpoint(60, 60)), 60, 60)
_EARNER: Final = Side((Checkpoint(20, 30), Checkpoint(60, 30)), 60, 30)
# What Olo ships with: every call has a tariff, and roulette between a user and a streamer its own.
SHIPPED: Final = (
    Tariff("standard", 1, Rule(), Side((Checkpoint(0, 60),), 60, 60), Side((Checkpoint(0, 30),), 60, 30), _SHIPPED_FROM),
    Tariff("roulette", 1, Rule(CallKind.ROULETTE, Role.USER, Role.STREAMER), _PAYER, _EARNER, _SHIPPED_FROM),
    Tariff("clip", 1, Rule(CallKind.CLIP), Side((Checkpoint(0, 10),), 30, 10), Side((Checkpoint(0, 4),), 30, 4), _SHIPPED_FROM),
)


# --- bill -------------------------------------------------------------------------------------------------------------------


class OpenBill(Message, CallName):
    """A call is about to ring: hold the payer's first checkpoint."""

    call: PlainCall
    traits: Traits
    payer: User_
    earner: User_
    tariff: Tariff


class StartBill(Message, CallName):
    """The call connected at `at`: the clock runs."""


class EndBill(Message, CallName):
    """The call ended at `at`, connected or not. `void`: nothing is due."""

    void: bool = False


class _ToBothSides(Fact, CallName):
    payer: User_
    earner: User_


class BillOpened(_ToBothSides):
    """The first checkpoint is held: the call may ring."""


class BillRefused(Fact, CallName):
    """The first checkpoint could not be held."""

    payer: User_
    refusal: Code
    shortfall_coins: int = 0
    cap_room: CapRoom | None = None


class BillStepped(_ToBothSides):
    """The payer has paid a checkpoint. `seconds_left`: how long the payer's coins last from `at`; None: to the end."""

    number: int
    after_s: int
    coins: int
    paid_coins: int
    seconds_left: int | None = None


class CreditLow(_ToBothSides):
    """The next checkpoint cannot be held: the call is cut at `cut_at`, unless coins come before. `cap_room`: what the payer's
    daily cap leaves, where it is not coins that are missing."""

    cut_at: Time
    seconds_left: float
    shortfall_coins: int = 0
    cap_room: CapRoom | None = None


class StepKind(StrEnum):
    """A line of the receipt."""

    PAID = "paid"
    EARNED = "earned"
    REFUNDED = "refunded"
    RECLAIMED = "reclaimed"


class ReceiptStep(State):
    """One movement of coins: which checkpoint, and the ledger's entry; no entry: the account refused (`refusal`)."""

    kind: StepKind
    number: int
    after_s: int
    coins: int
    entry: EntryId = ""
    refusal: RefusalWord = ""


# The word in the id of what the ledger is asked, by the line of the receipt that its answer becomes.
ASKED: Final = {
    StepKind.PAID: "post",
    StepKind.EARNED: "earn",
    StepKind.REFUNDED: "refund",
    StepKind.RECLAIMED: "reclaim",
}


class BilledStep(State):
    """A step as the bill keeps it; the checkpoint and the ledger's entry follow from its number (`receipt`)."""

    kind: StepKind
    number: Annotated[int, Meta(ge=0, le=MAX_STEPS)]
    coins: Annotated[int, Meta(ge=0, le=MAX_COINS)]
    refusal: Refusal | None = None


class BillClosed(Fact, CallName):
    """The receipt. Coins are net of what came back; `duration_s` is the time that was billed."""

    traits: Traits
    payer: User_
    earner: User_
    tariff: Id
    version: int
    duration_s: float
    paid_coins: int
    earned_coins: int
    steps: Annotated[tuple[ReceiptStep, ...], Meta(max_length=MAX_RECEIPT)] = ()
    connected_at: Time | None = None


BillInbox = OpenBill | StartBill | EndBill | EntryRecorded | AccountRefused | Wake


class HoldStatus(StrEnum):
    """Where the payer's next checkpoint stands."""

    NONE = "none"
    ASKED = "asked"
    STANDING = "standing"
    REFUSED = "refused"


class Bill(State):
    """A call's bill. `paid` and `earned` count checkpoints that were asked for; `hold` is about checkpoint number `paid`.

    `capped`: it was refused for the payer's daily cap. `open_answers`: how many answers of the ledger are awaited. Closed bills
    are forgotten at `forget_at`."""

    traits: Traits
    payer: User_
    earner: User_
    tariff: Tariff
    opened_by: MessageName
    hold: HoldStatus = HoldStatus.NONE
    tries: int = 0
    retry_at: Time | None = None
    connected_at: Time | None = None
    ended_at: Time | None = None
    void: bool = False
    paid: int = 0
    earned: int = 0
    cut: bool = False
    open_answers: int = 0
    steps: Annotated[tuple[BilledStep, ...], Meta(max_length=MAX_RECEIPT)] = ()
    closed: bool = False
    capped: bool = False
    forget_at: Time | None = None

    def due_at(self, side: Side, number: int) -> datetime | None:
        """When a checkpoint is reached; None: never, or not yet connected."""
        checkpoint = side.at(number) if number < MAX_STEPS else None
        if checkpoint is None or self.connected_at is None:
            return None
        return later(self.connected_at, timedelta(seconds=checkpoint.after_s))

    @property
    def wake_at(self) -> datetime | None:
        """The next checkpoint of either side, or the next try to hold; nothing while an answer decides what comes next."""
        if self.closed:
            return self.forget_at
        if self.connected_at is None or self.ended_at is not None:
            return None
        pays, earns = self.due_at(self.tariff.payer, self.paid), self.due_at(self.tariff.earner, self.earned)
        if self.cut:
            return None
        times = [pays, earns, self.retry_at]
        if self.hold not in (HoldStatus.STANDING, HoldStatus.REFUSED):
            # The answer brings the payer's next wake. An earlier wake for the same time would be spent by then.
            times = [earns] if pays is None or (earns is not None and earns < pays) else []
        return min((at for at in times if at is not None), default=None)


def side_of(tariff: Tariff, kind: StepKind) -> Side:
    """The side whose step it is."""
    return tariff.payer if kind in (StepKind.PAID, StepKind.REFUNDED) else tariff.earner


def receipt(call: str, bill: Bill) -> tuple[ReceiptStep, ...]:
    """The steps so far, with their checkpoints and the ledger's entries, whose ids follow from what the bill asked for."""
    return tuple(_receipt_step(call, bill.tariff, step) for step in bill.steps)


def _receipt_step(call: str, tariff: Tariff, step: BilledStep) -> ReceiptStep:
    checkpoint = side_of(tariff, step.kind).at(step.number)
    after_s = checkpoint.after_s if checkpoint else 0
    entry = "" if step.refusal else f"{call}/{ASKED[step.kind]}/{step.number}/0"
    return ReceiptStep(step.kind, step.number, after_s, step.coins, entry, step.refusal or "")


TARIFFS: Final = Entity(
    "tariffs",
    key="book",
    flow=Flow.LIVE,
    state=TariffBook,
    commands=(PublishTariff, SelectTariff),
    facts=(TariffPublished, TariffRefused, TariffSelected),
)
BILL: Final = Entity(
    "bill", key="call", flow=Flow.LIVE, state=Bill,
    commands=(OpenBill, StartBill, EndBill),
    facts=(BillOpened, BillRefused, BillStepped, CreditLow, BillClosed),
    hears=(
        Hears(EntryRecorded, paid_for(Reason.CALL), "a bill follows its coins"),
        Hears(AccountRefused, paid_for(Reason.CALL), "a bill hears that coins ran out"),
    ),
    shown=(
        Shown(BillStepped, ("payer",), "the payer's phone shows the bill, and how long the coins last"),
        Shown(BillStepped, ("earner",), "the earner's phone shows the bill, not what the payer has", ("seconds_left",)),
        Shown(CreditLow, ("payer",), "coins run out"), Shown(BillClosed, ("payer", "earner"), "both phones show the receipt"),
    ),
)  # fmt: skip
