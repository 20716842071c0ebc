"""A payee: what of a streamer's earnings is not drawn yet, by the day on which it was earned, and where it is to be paid to.

Debits (a penalty, coins that were moved away) are taken off what is old enough, so that no more is ever drawn than is there.
"""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from schemas.balance import EntryRecorded, Reason, owner_of
from schemas.erased import mark_ends
from schemas.log.base import Id, OptionalId, Refused, State, Time, Wake
from schemas.log.entity import DAY_S, Entity, Flow, Hears
from schemas.payout import DestinationGone, DrawEarnings, EarningsDrawn, EndDraw, PayByProvider
from schemas.payout_fields import MAX_RESERVE_DAYS, DrawFields, Holder, Iban, Mark, PayoutRefusal
from schemas.user import User_, UserCommand, UserErased, UserFact

# Days that are told apart: the reserve's, and one for all that is older.
MAX_DAYS: Final = MAX_RESERVE_DAYS + 2


class PutDestination(UserCommand):
    """Pay the user here from now on."""

    holder: Holder
    iban: Iban


class PutAutomatic(UserCommand):
    """Ask for a payout in each round, or do not, from now on."""

    automatic: bool


class OpenRound(UserCommand):
    """To the broadcast key of a partition (`user`): a round of payouts begins."""

    round: Id


class AutomaticPut(UserFact):
    """Whether the user is asked for in each round."""

    automatic: bool


class DestinationPut(UserFact):
    """The destination is known by its mark; itself it stands in the state only."""

    destination: Mark


class DestinationRefused(Refused):
    """A payout is on its way to the old one, or the user was erased."""

    user: User_
    refusal: PayoutRefusal


class EarnedDay(State):
    """What was earned on a day (days since 1970, UTC), less an agency's share, and the seq of its last entry. Below zero: a
    share of what was drawn by then."""

    day: int
    coins: int
    last_seq: int


class Draw(State, DrawFields):
    """What the payout that is under way has."""

    payout: OptionalId = ""


class Payee(State):
    """`days`: in order, oldest first; `debits_coins`: what went out and was not taken off yet, up to entry `debits_seq`;
    `drawn_seq` and `settled_seq`: up to where credits were drawn, and debits taken off; `returned_coins`: of payouts that came
    back, and, below zero in a draw, what it left for the next one. `automatic`: a payout is asked for in each round. `round`:
    the last one that this payee has heard of; under a broadcast key, which has nothing else, the last one of all. `erased_at`:
    the user was erased then; for a day, so that a destination that comes late is refused."""

    days: Annotated[tuple[EarnedDay, ...], Meta(max_length=MAX_DAYS)] = ()
    debits_coins: int = 0
    debits_seq: int = 0
    drawn_seq: int = 0
    settled_seq: int = 0
    returned_coins: int = 0
    open: Draw | None = None
    holder: Holder = ""
    iban: Iban = ""
    destination: Mark = ""
    erased_at: Time | None = None
    automatic: bool = False
    round: OptionalId = ""

    def behind(self, common: State | None) -> bool:
        """Whether a round has begun of which a payee who waits for rounds has not heard."""
        return self.automatic and isinstance(common, Payee) and self.round != common.round

    @property
    def wake_at(self) -> datetime | None:
        """When the mark of the erasure is forgotten."""
        return mark_ends(self.erased_at)


def day_of(at: datetime) -> int:
    """Days since 1970, UTC."""
    return int(at.timestamp() // DAY_S)


def of_earnings(entry: EntryRecorded) -> str:
    """Whose earnings an entry changes; payouts are told by themselves, and what is forfeited is nobody's."""
    others = (Reason.PAYOUT, Reason.FORFEIT)
    earned = entry.coins and entry.account.endswith("/earnings") and entry.reason not in others
    return owner_of(entry.account) if earned else ""


PayeeInbox = (
    PutDestination | PutAutomatic | OpenRound | PayByProvider | DrawEarnings | EndDraw | EntryRecorded | UserErased | Wake
)  # fmt: skip

PAYEE: Final = Entity(
    "payee",
    key="user",
    flow=Flow.GROWTH,
    state=Payee,
    commands=(PutDestination, PutAutomatic, OpenRound, PayByProvider, DrawEarnings, EndDraw),
    facts=(DestinationPut, AutomaticPut, DestinationGone, DestinationRefused, EarningsDrawn),
    hears=(
        Hears(EntryRecorded, of_earnings, "what was earned can be paid"),
        Hears(UserErased, "user", "where to pay is forgotten"),
    ),
    raw="payouts carry what was drawn; who is paid where is for nobody else",
    private=True,
    broadcast=True,
)
