"""A transfer's messages and state: one request to move coins between two parties of the ledger, which is done once."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import AccountRefused, EntryRecorded, Reason, Refusal
from schemas.balance_fields import OptionalParty, Party, TransferName
from schemas.balance_heard import of_transfer
from schemas.log.base import By, Coins, Fact, Fields, Message, MessageName, Ref, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears

# Repeats of a transfer that wait while the first is decided (some 30 ms): more is a client gone wild.
MAX_ASKED: Final = 16


class TransferParties(Fields):
    """Which transfer, and between whom."""

    transfer: TransferName
    payer: Party
    payee: Party


class PlaceTransfer(Message, TransferParties):
    """Ask for a transfer, once: a second request with the same `transfer` gets the first one's outcome.
    `expires_at`: until when coins that come from outside can be spent; without it they never expire."""

    coins: Coins
    reason: Reason
    ref: Ref = ""
    by: By = ""
    expires_at: Time | None = None


TransferInbox = PlaceTransfer | EntryRecorded | AccountRefused | Wake


class TransferStatus(StrEnum):
    """How a transfer ended."""

    COMPLETED = "completed"
    REFUSED = "refused"


class TransferOutcome(State):
    """The one outcome of a transfer. When an account refused: which, why, and how many coins were short."""

    status: TransferStatus
    refusal: Refusal | None = None
    account: OptionalParty = ""
    shortfall_coins: int = 0


class _OfTransfer(Fact, TransferParties):
    coins: int
    outcome: TransferOutcome
    reason: Reason = Reason.TRANSFER
    ref: Ref = ""

    @property
    def refused(self) -> StrEnum | None:
        """Why an account refused the transfer; None where it did not."""
        return self.outcome.refusal

    @property
    def account(self) -> str:
        """The account that refused the transfer; empty where none did."""
        return self.outcome.account

    @property
    def shortfall_coins(self) -> int:
        """How many coins that account was short."""
        return self.outcome.shortfall_coins


class TransferSettled(_OfTransfer):
    """The transfer ended; this is said once."""


class TransferRepeated(_OfTransfer):
    """The answer to one more request for a transfer: the outcome that it already had."""

    changes_state: ClassVar[bool] = False


class TransferConflicted(Refused):
    """A request was not taken: its id belongs to a transfer of other contents, or too many repeats are waiting."""

    transfer: TransferName
    refusal: Refusal


class TransferState(State):
    """A transfer under way or done. `asked`: the requests that wait for the outcome. Forgotten at `forget_at`."""

    payer: Party
    payee: Party
    coins: int
    reason: Reason
    forget_at: Time
    ref: Ref = ""
    by: By = ""
    asked: Annotated[tuple[MessageName, ...], Meta(max_length=MAX_ASKED)] = ()
    expires_at: Time | None = None
    refused: TransferOutcome | None = None
    outcome: TransferOutcome | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it may be forgotten."""
        return self.forget_at


TRANSFER: Final = Entity(
    "transfer",
    key="transfer",
    flow=Flow.MONEY,
    state=TransferState,
    commands=(PlaceTransfer,),
    facts=(TransferSettled, TransferRepeated, TransferConflicted),
    hears=(
        Hears(EntryRecorded, of_transfer, "a transfer follows its legs"),
        Hears(AccountRefused, of_transfer, "a transfer hears why not"),
    ),
    raw="the ledger's entries carry the transfer's id",
)
