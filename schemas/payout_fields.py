"""What terms, payees, payouts and batches have in common: a payout's statuses, its refusals, its money and its draw."""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.log.base import Fields, OptionalId
from schemas.log.personal import CONTACT, PLAIN
from schemas.user import User_

MAX_RESERVE_DAYS: Final = 90
# A payment may come back months later, where it was made without its payer's will; most do within some working days.
MAX_ASK_DAYS: Final = 400
MAX_CENTS: Final = 1_000_000_000_000

# Who pays without a file of ours: one provider, over the outbox.
PAYOUT_PROVIDER: Final = "payout_provider"

Holder = Annotated[str, Meta(max_length=70), CONTACT]
Iban = Annotated[str, Meta(max_length=34), CONTACT]
Cents = Annotated[int, Meta(ge=0, le=MAX_CENTS)]
ReserveDays = Annotated[int, Meta(ge=0, le=MAX_RESERVE_DAYS)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$", max_length=3), PLAIN]
Mark = Annotated[str, Meta(max_length=64, description="a hash, by which what was seen is known again"), PLAIN]


class PayoutStatus(StrEnum):
    """Where a payout stands: `requested` (being drawn), `held` (a second person decides), `approved`, `exported` (the bank has
    it, its outcome is unknown), then `paid`, and perhaps `returned`; or `rejected` or `failed`: the coins are free again."""

    REQUESTED = "requested"
    HELD = "held"
    APPROVED = "approved"
    EXPORTED = "exported"
    PAID = "paid"
    RETURNED = "returned"
    REJECTED = "rejected"
    FAILED = "failed"


class PayoutRefusal(StrEnum):
    """Why not, in order of precedence."""

    TERMS_UNKNOWN = "terms_unknown"
    DESTINATION_UNKNOWN = "destination_unknown"
    PAYOUT_OPEN = "payout_open"
    BELOW_MINIMUM = "below_minimum"
    PAYEE_ERASED = "payee_erased"
    ACCOUNT_REFUSES = "account_refuses"
    PAYOUT_UNKNOWN = "payout_unknown"
    PAYOUT_DIFFERS = "payout_differs"
    PAYOUT_IN_PROGRESS = "payout_in_progress"
    PAYOUT_ELSEWHERE = "payout_elsewhere"
    OWN_PAYOUT = "own_payout"
    PROVIDER_DECIDES = "provider_decides"
    SAME_PERSON = "same_person"
    SEEN_DIFFERS = "seen_differs"
    BATCH_DIFFERS = "batch_differs"


class TermFields(Fields):
    """What a coin is worth and what a payout costs: `cents_per_100_coins` of the currency; a fee a payout; earnings younger
    than `reserve_days` are not paid yet; and for `ask_days` behind a payment the provider is asked whether it came back."""

    currency: Currency = "EUR"
    cents_per_100_coins: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    fee_cents: Cents = 0
    minimum_coins: Annotated[int, Meta(ge=1)] = 1
    reserve_days: ReserveDays = 14
    ask_days: Annotated[int, Meta(ge=0, le=MAX_ASK_DAYS)] = 30


class DrawFields(Fields):
    """What was drawn, to which destination (its mark). `coins` are the credits of the account's entries from `from_seq` to
    `to_seq`, less `debits_coins`, the debits from `debits_from_seq` to `debits_to_seq`, and `again_coins` of payouts that came
    back; below zero: what was too much for one payout, and waits for the next one."""

    coins: int = 0
    from_seq: int = 0
    to_seq: int = 0
    debits_coins: int = 0
    debits_from_seq: int = 0
    debits_to_seq: int = 0
    again_coins: int = 0
    destination: Mark = ""


class PayoutFields(Fields):
    """A payout as it stands. Gross is `amount_cents + fee_cents`; `seen`: the hash of all that an approval binds;
    `provider`: who pays it and says what became of it, where that is no bank."""

    user: User_
    status: PayoutStatus
    currency: Annotated[str, Meta(max_length=3), PLAIN] = ""
    version: int = 0
    cents_per_100_coins: int = 0
    amount_cents: int = 0
    fee_cents: int = 0
    seen: Mark = ""
    batch: OptionalId = ""
    provider: OptionalId = ""


class Paying(Struct, frozen=True, omit_defaults=True):
    """What a provider is to pay, to whom and where. Without an account nobody knows where any more; it is only asked about."""

    user: User_
    amount_cents: Cents
    currency: Currency
    holder: Holder = ""
    iban: Iban = ""


def pay_id(payout: str) -> str:
    """The effect that pays a payout, whose id the provider has: it is one for good."""
    return f"pay/{payout}"
