"""An adjustment: what one of the staff does to an account, once: a freeze, its end, a debt that is forgiven, a daily cap,
which its owner sets as well. And a look at an
account's lots, which only its ledger has."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import AccountRefused, EntryRecorded, LotsRead, Refusal
from schemas.balance_cap import Cap, CapCoins
from schemas.balance_fields import Account_, TransferName
from schemas.balance_heard import of_adjustment
from schemas.balance_lots import Lots
from schemas.log.base import By, Fact, Fields, Message, MessageName, Ref, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears

# Repeats of a request that wait while the first is decided.
MAX_ASKED: Final = 16


class Act(StrEnum):
    """What is done to the account."""

    FREEZE = "freeze"
    UNFREEZE = "unfreeze"
    WRITE_OFF = "write_off"
    CAP = "cap"
    STAFF_CAP = "staff_cap"


class ActFields(Fields):
    """To which account, what, and why (`ref`). `coins`: of a debt that was `debt_coins` when somebody looked; `cap_coins`: the
    daily cap that its owner sets, or staff; None: there is to be none."""

    account: Account_
    act: Act
    ref: Ref = ""
    coins: int = 0
    debt_coins: int = 0
    cap_coins: CapCoins | None = None


class PlaceAdjustment(Message, ActFields):
    """Do it, once: a second request with the same `adjustment` gets the first one's outcome."""

    adjustment: TransferName
    by: By = ""


class AskLots(Message):
    """What is left of an account's lots? Answered by `LotsTold`; nothing is kept of it."""

    adjustment: TransferName
    account: Account_


class AccountAfter(State):
    """What an account was behind it."""

    balance_coins: int = 0
    held_coins: int = 0
    debt_coins: int = 0
    cap: Cap | None = None


class AdjustmentSettled(Fact, ActFields):
    """It was done, or refused; this is said once, and to each who asks again as `AdjustmentRepeated`."""

    adjustment: TransferName
    by: By = ""
    refusal: Refusal | None = None
    after: AccountAfter = AccountAfter()

    @property
    def refused(self) -> StrEnum | None:
        """Why the account refused it; None where it did not."""
        return self.refusal


class AdjustmentRepeated(AdjustmentSettled):
    """The answer to one more request: the outcome that there was already."""

    changes_state: ClassVar[bool] = False


class AdjustmentConflicted(Refused):
    """A request was not taken: its id belongs to an adjustment of other contents, or too many repeats are waiting."""

    adjustment: TransferName
    refusal: Refusal


class LotsTold(Fact):
    """An account's lots, in the order in which they are spent."""

    adjustment: TransferName
    account: Account_
    lots: Lots = ()
    changes_state: ClassVar[bool] = False


class Adjustment(State, ActFields):
    """An adjustment under way or done; forgotten at `forget_at`."""

    by: By = ""
    asked: Annotated[tuple[MessageName, ...], Meta(max_length=MAX_ASKED)] = ()
    refusal: Refusal | None = None
    after: AccountAfter | None = None
    forget_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it may be forgotten."""
        return self.forget_at


AdjustmentInbox = PlaceAdjustment | AskLots | EntryRecorded | AccountRefused | LotsRead | Wake

ADJUSTMENT: Final = Entity(
    "adjustment",
    key="adjustment",
    flow=Flow.MONEY,
    state=Adjustment,
    commands=(PlaceAdjustment, AskLots),
    facts=(AdjustmentSettled, AdjustmentRepeated, AdjustmentConflicted, LotsTold),
    hears=(
        Hears(EntryRecorded, of_adjustment, "an adjustment hears that it was done"),
        Hears(AccountRefused, of_adjustment, "an adjustment hears why not"),
        Hears(LotsRead, lambda told: "" if told.purchase else told.request, "who asked for an account's lots is told"),
    ),
    raw="the ledger's entries carry the adjustment's id",
)
