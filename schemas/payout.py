"""Payouts: what streamers earned, as money: `payout` (one request, from the draw to the bank's word), `payout_terms` (the rate,
fee and reserve, by version), `payout_batch` (what goes to the bank in one file). Who is paid, and of what, is `schemas.payee`.

A payout draws whole entries of an earnings account: those from one seq to another, so that each stands in at most one payout.
The drawn coins are held until the bank's word is known; what is not known stays locked, and is never sent under another id.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import AccountRefused, EntryRecorded, Reason
from schemas.log.base import (
    MAX_COINS,
    AccountId,
    By,
    Coins,
    Fact,
    Id,
    Message,
    MessageName,
    OptionalId,
    Ref,
    Refused,
    State,
    Time,
    Wake,
)
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.outbox import PaymentEnded
from schemas.payout_fields import (
    Cents,
    Currency,
    DrawFields,
    Mark,
    PayoutFields,
    PayoutRefusal,
    PayoutStatus,
    ReserveDays,
    TermFields,
)
from schemas.user import User_

PAYOUTS: Final = AccountId("@payouts")
# The one version book of terms.
TERMS: Final = "terms"
# A payout that nobody takes to the bank is let go.
HELD_FOR: Final = timedelta(days=400)
# What the bank's file can say of one payment: 999,999,999.99.
MAX_PAID_CENTS: Final = 99_999_999_999
MAX_BATCH: Final = 200

# --- terms ------------------------------------------------------------------------------------------------------------------


class PutTerms(Message, TermFields):
    """These terms are in force from now on; payouts that were requested before keep theirs."""

    terms: Id
    by: By = ""


class PinTerms(Message):
    """A payout asks which terms are in force."""

    terms: Id
    payout: Id


class BeginPayoutRound(Message):
    """Ask for payouts of all payees who want that by themselves, once a round; a job of the timetable sends it, or finance."""

    terms: Id
    round: Id
    by: By = ""


class PayoutRoundBegun(Fact):
    """Each payee who wants that is asked for what they have."""

    terms: Id
    round: Id
    by: By = ""
    changes_state: ClassVar[bool] = False


class TermsRefused(Refused):
    """Nobody has said what a coin is worth."""

    terms: Id
    refusal: PayoutRefusal


class TermsPut(Fact, TermFields):
    """The terms in force; `version` counts from 1."""

    terms: Id
    version: int
    by: By = ""


class TermsPinned(Fact, TermFields):
    """The terms in force; version 0: there are none."""

    terms: Id
    payout: Id
    version: int = 0
    changes_state: ClassVar[bool] = False


class Terms(State, TermFields):
    """The terms in force."""

    version: int = 0


# --- between a payout and its payee -----------------------------------------------------------------------------------------


class DrawEarnings(Message):
    """A payout asks for all that is old enough, up to `most_coins`."""

    user: User_
    payout: Id
    reserve_days: ReserveDays
    minimum_coins: int
    most_coins: Coins = MAX_COINS


class EarningsDrawn(Fact, DrawFields):
    """What the payout has, or why it has nothing."""

    user: User_
    payout: Id
    refusal: PayoutRefusal | None = None


class EndDraw(Message):
    """The payout has ended: it was paid, or came to nothing, and all that it drew can be drawn again; or the bank has sent back
    what it had paid (`returned_coins`)."""

    user: User_
    payout: Id
    paid: bool = False
    returned_coins: int = 0


class PayByProvider(Message):
    """A payout is approved, and a provider is to pay it, if the destination is still what was seen."""

    user: User_
    payout: Id
    amount_cents: Cents
    currency: Currency
    destination: Mark


class DestinationGone(Fact):
    """Where the payout was to be paid to is not known any more."""

    user: User_
    payout: Id


# --- payouts ----------------------------------------------------------------------------------------------------------------


class _OfPayout(Message):
    payout: Id
    by: By = ""


class RequestPayout(_OfPayout):
    """Pay the user what is old enough; `by`: who asks, the user or one of the staff."""

    user: User_


class ApprovePayout(_OfPayout):
    """A second person has seen it, and agrees to what has this hash."""

    seen: Mark


class RejectPayout(_OfPayout):
    """A second person does not agree."""

    ref: Ref = ""


class ExportPayout(_OfPayout):
    """A batch takes it to the bank."""

    batch: Id


class SendPayout(_OfPayout):
    """The provider is to pay it."""


class SettlePayout(_OfPayout):
    """The bank's word: paid, or failed (it never left), or returned (it came back)."""

    status: PayoutStatus
    ref: Ref = ""


class ReturnPayout(_OfPayout):
    """The provider tells by itself that what it has paid came back, perhaps before it was asked what became of it."""


class PayoutStepped(Fact, PayoutFields, DrawFields):
    """A payout went on to a status: by whom, and why."""

    payout: Id
    by: By = ""
    ref: Ref = ""


class PayoutRepeated(Fact, PayoutFields, DrawFields):
    """The answer to one more request for the same: how it stands."""

    payout: Id
    changes_state: ClassVar[bool] = False


class PayoutRefused(Refused):
    """A request was not taken."""

    payout: Id
    refusal: PayoutRefusal
    batch: OptionalId = ""
    changes_state: ClassVar[bool] = True


class Payout(State, PayoutFields, DrawFields):
    """A payout; it is kept for good. `maker`: who asked for it; `asked`: the message that waits for an answer; `settling`: what
    the ledger was asked to make true, by whom and why; `until`: when it is let go, unless the bank has it by then;
    `returning`: the provider has said that it came back, and not yet that it was paid; `ask_until`: so long the provider is
    asked whether it came back, `ask_days` (of the terms) behind its payment."""

    maker: By = ""
    asked: MessageName | None = None
    approver: By = ""
    settling: PayoutStatus | None = None
    ref: Ref = ""
    by: By = ""
    until: Time | None = None
    returning: bool = False
    ask_days: int = 0
    ask_until: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it is let go."""
        return self.until


def seen_of(payout: Payout) -> str:
    """The hash of all that an approval binds: whom, what, to where, on which terms."""
    parts = (
        payout.user, payout.coins, payout.from_seq, payout.to_seq, payout.debits_to_seq, payout.again_coins, payout.destination,
        payout.version, payout.amount_cents, payout.fee_cents, payout.currency,
    )  # fmt: skip
    return sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]


# --- batches ----------------------------------------------------------------------------------------------------------------

InBatch = Annotated[str, Meta(min_length=1, max_length=64), PLAIN]
BatchNames = Annotated[tuple[InBatch, ...], Meta(max_length=MAX_BATCH)]


class BeginBatch(Message):
    """Take these payouts to the bank in one file."""

    batch: Id
    payouts: BatchNames
    by: By = ""


class BatchClosed(Fact):
    """Each payout was taken or not (`left`): the file has these, and never others."""

    batch: Id
    payouts: BatchNames = ()
    left: BatchNames = ()
    by: By = ""


class BatchRepeated(Fact):
    """The same request again, or one that still waits for its payouts."""

    batch: Id
    changes_state: ClassVar[bool] = False


class BatchRefused(Refused):
    """The batch's id belongs to other payouts."""

    batch: Id
    refusal: PayoutRefusal


class Batch(State):
    """A batch; it is kept for good. `waiting`: payouts that have not answered."""

    at: Time
    asked: MessageName | None = None
    named: BatchNames = ()
    waiting: BatchNames = ()
    payouts: BatchNames = ()
    by: By = ""


# --- the entities -----------------------------------------------------------------------------------------------------------

TermsInbox = PutTerms | PinTerms | BeginPayoutRound | Wake
PayoutInbox = (
    RequestPayout | ApprovePayout | RejectPayout | ExportPayout | SettlePayout | TermsPinned | EarningsDrawn | EntryRecorded
    | AccountRefused | SendPayout | ReturnPayout | DestinationGone | PaymentEnded | Wake
)  # fmt: skip
BatchInbox = BeginBatch | PayoutStepped | PayoutRefused | Wake


def of_payout(fact: EntryRecorded | AccountRefused) -> str:
    """The key of a ledger's fact that belongs to a payout: its hold and its return carry the payout's id as `ref`."""
    return fact.ref if fact.reason == Reason.PAYOUT and fact.counterparty in (PAYOUTS, "") else ""


def of_batch(fact: PayoutStepped | PayoutRefused) -> str:
    """The batch that hears of its payouts."""
    exported = isinstance(fact, PayoutRefused) or fact.status is PayoutStatus.EXPORTED
    return fact.batch if exported else ""


SHOWN_TO: Final = Shown(PayoutStepped, ("user",), "the streamer sees where a payout stands", hides=("by", "ref", "seen"))

PAYOUT_TERMS: Final = Entity(
    "payout_terms",
    key="terms",
    flow=Flow.GROWTH,
    state=Terms,
    commands=(PutTerms, PinTerms, BeginPayoutRound),
    facts=(TermsPut, TermsPinned, PayoutRoundBegun, TermsRefused),
    raw="each payout carries the version of its terms",
)
PAYOUT: Final = Entity(
    "payout",
    key="payout",
    flow=Flow.GROWTH,
    state=Payout,
    commands=(RequestPayout, ApprovePayout, RejectPayout, ExportPayout, SendPayout, SettlePayout, ReturnPayout),
    facts=(PayoutStepped, PayoutRepeated, PayoutRefused),
    hears=(
        Hears(TermsPinned, "payout", "a payout knows its terms"),
        Hears(EarningsDrawn, "payout", "a payout knows what it has"),
        Hears(EntryRecorded, of_payout, "a payout follows its coins"),
        Hears(AccountRefused, of_payout, "a payout hears why not"),
        Hears(DestinationGone, "payout", "a payout hears that nobody can be paid"),
        Hears(PaymentEnded, "payout", "a payout hears what the provider says"),
    ),
    shown=(SHOWN_TO,),
)
PAYOUT_BATCH: Final = Entity(
    "payout_batch",
    key="batch",
    flow=Flow.GROWTH,
    state=Batch,
    commands=(BeginBatch,),
    facts=(BatchClosed, BatchRepeated, BatchRefused),
    hears=(
        Hears(PayoutStepped, of_batch, "a batch hears which payouts it took"),
        Hears(PayoutRefused, of_batch, "a batch hears which payouts it did not take"),
    ),
    raw="the payouts carry the batch's id",
)
