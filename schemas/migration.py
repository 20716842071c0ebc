"""Migration from a back end on Hasura: `migration_feed` (the rules of one event trigger), `migration_row` (what was told of one
thing of the old back end, and that each change counts once, in its order) and `opening` (a person's opening balance, once).

Deliveries come at least once and in any order. Of each thing (the values of a feed's key) the newest change that was told is
kept: by the row's own version, then by when Hasura has noted it, then by its event's id. What is older, or came before, makes
no command any more. A delivery older than DELIVERED_WITHIN is taken no more, and a row is remembered longer than that, so that
to forget it forgets nothing.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import owner_of
from schemas.blocklist import BlockUser, UnblockUser
from schemas.favorites import AddFavorite, RemoveFavorite
from schemas.log.base import (
    MAX_COINS,
    AccountId,
    By,
    Coins,
    Fact,
    Fields,
    Id,
    Message,
    OptionalId,
    State,
    Time,
    TransferId,
    Wake,
    later,
)
from schemas.log.entity import DAY_S, Entity, Flow, Hears
from schemas.log.personal import PLAIN
from schemas.migration_rules import FeedRules, MigrationAction, RowOperation
from schemas.profile import PutPrivateProfile, PutProfile
from schemas.transfer import TransferSettled
from schemas.user import Code, ListedUser, OptionalUser, SignUp, User_

# Hasura gives up after hours; an operator may have an event told again later. A row is remembered a day longer.
DELIVERED_WITHIN: Final = timedelta(days=30)
REMEMBERED: Final = timedelta(days=31)
# Clocks are off by minutes.
AHEAD: Final = timedelta(minutes=10)
# An account may be opened by a row that comes later.
RETRY_AFTER: Final = timedelta(hours=1)
MAX_TRIES: Final = 72
OPENINGS: Final = AccountId("@openings")
PREFIX: Final = "opening:"

FeedName = Annotated[str, Meta(min_length=1, max_length=64, description="the name of Hasura's event trigger"), PLAIN]
EventName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$", extra={"max_bytes": 66}), PLAIN]
Opened = Annotated[int, Meta(ge=0, le=MAX_COINS)]


# --- a feed -----------------------------------------------------------------------------------------------------------------


class FeedFields(Fields):
    """Which feed, and who says so."""

    feed: FeedName
    by: By = ""


class PutMigrationFeed(Message, FeedFields, FeedRules):
    """The feed's rules from now on."""


class SpendOpening(Message):
    """A person is to get so many coins by this feed; is it within the feed's limit?"""

    feed: FeedName
    user: ListedUser
    coins: Coins


class MigrationFeedPut(Fact, FeedFields, FeedRules):
    """The feed's rules are these, version `version`."""

    version: int = 0


class OpeningAnswered(Fact):
    """The answer to SpendOpening: whether it is within the limit, of which `left_coins` are left."""

    feed: FeedName
    user: User_
    coins: int
    allowed: bool
    left_coins: int = 0


class MigrationFeed(State, FeedRules, kw_only=True):
    """A feed in force, and how many coins of opening balances have come of it."""

    version: int
    opened_coins: Opened = 0

    @property
    def left_coins(self) -> int:
        """How many coins may still be opened with."""
        return max(0, self.total_coins - self.opened_coins)


# --- a row ------------------------------------------------------------------------------------------------------------------


class OpenBalance(Message):
    """The person begins with so many coins, which the old back end had of them; once, whatever comes again."""

    user: ListedUser
    feed: FeedName
    coins: Coins


Move = SignUp | PutProfile | PutPrivateProfile | BlockUser | UnblockUser | AddFavorite | RemoveFavorite | OpenBalance


class RowOutcome(StrEnum):
    """What became of a delivery. `moved`: a command was made; all others made none. Members are only ever added."""

    MOVED = "moved"
    REPEATED = "repeated"
    SUPERSEDED = "superseded"
    FEED_UNKNOWN = "feed_unknown"
    FEED_INACTIVE = "feed_inactive"
    NO_RULE = "no_rule"
    USER_ERASED = "user_erased"


class RowFields(Fields):
    """Which thing (`row`: made of the feed and its key's values), by which event, of which feed in which version, by which
    rule; `outcome`: what becomes of it, `action`: which command is made, `user`: of whom."""

    row: Id
    event: EventName
    feed: FeedName
    table: Annotated[str, Meta(max_length=130), PLAIN]
    operation: RowOperation
    outcome: RowOutcome
    feed_version: int = 0
    rule: Annotated[str, Meta(max_length=64), PLAIN] = ""
    action: MigrationAction | None = None
    user: OptionalUser = ""


class MoveRow(Message, RowFields):
    """A delivery, and what the rules make of it. `told_at`: when Hasura has noted the change; `row_version`: of the row's own
    version column, 0: there is none. Both say which change is newer."""

    told_at: Time
    row_version: int = 0
    move: Move | None = None


class RowNoted(Fact, RowFields):
    """A delivery, the first time that it came; `sent`: the command that was made of it."""

    told_at: Time
    sent: OptionalId = ""


class RowRepeated(Fact, RowFields):
    """A delivery that came before, or is older than what came before: it makes no command."""

    changes_state: ClassVar[bool] = False
    told_at: Time


class MigrationRow(State):
    """The newest change of a thing that was told: what says how new it is, and whether a command was made of it."""

    row_version: int
    told_at: Time
    deleted: bool
    event: EventName
    at: Time
    moved: bool = False

    @property
    def age(self) -> tuple[int, datetime, bool, str]:
        """Of two changes of a thing the greater one is newer; a row is deleted behind its last version."""
        return self.row_version, self.told_at, self.deleted, self.event

    @property
    def wake_at(self) -> datetime | None:
        """When nothing older is taken any more, so that it may be forgotten."""
        return later(self.at, REMEMBERED)


# --- an opening balance -----------------------------------------------------------------------------------------------------


class OpeningStep(StrEnum):
    """Where an opening balance stands. `asked`: its feed's limit is asked; `waits`: the account did not take it, and is asked
    again; `denied`: beyond the feed's limit; `repeated`: there was one before. Members are only ever added."""

    ASKED = "asked"
    SENT = "sent"
    BOOKED = "booked"
    WAITS = "waits"
    GIVEN_UP = "given_up"
    DENIED = "denied"
    REPEATED = "repeated"


class OpeningStepped(Fact):
    """An opening balance has gone on; `code`: why the ledger did not take it."""

    user: User_
    feed: FeedName
    coins: int
    step: OpeningStep
    code: Code = ""


class Opening(State):
    """A person's opening balance: there is one, for good, from the moment at which it is asked for."""

    feed: FeedName
    coins: Annotated[int, Meta(ge=0, le=MAX_COINS)]
    step: OpeningStep
    at: Time
    tries: Annotated[int, Meta(ge=0, le=MAX_TRIES)] = 0
    retry_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When the account is asked again."""
        return self.retry_at


def opening_transfer(user: str, tries: int) -> TransferId:
    """The transfer of a person's opening balance; a refused one is asked again under the next name."""
    return TransferId(f"{PREFIX}{tries}:{sha256(user.encode()).hexdigest()}")


def _opens(fact: TransferSettled) -> str:
    """Whose opening balance a transfer is."""
    return owner_of(fact.payee) if fact.payer == OPENINGS and fact.transfer.startswith(PREFIX) else ""


MigrationFeedInbox = PutMigrationFeed | SpendOpening | Wake
MigrationRowInbox = MoveRow | Wake
OpeningInbox = OpenBalance | OpeningAnswered | TransferSettled | Wake

MIGRATION_FEED: Final = Entity(
    "migration_feed",
    key="feed",
    flow=Flow.LIVE,
    state=MigrationFeed,
    commands=(PutMigrationFeed, SpendOpening),
    facts=(MigrationFeedPut, OpeningAnswered),
    raw="versions of rules are few, and stand in `log`",
)
MIGRATION_ROW: Final = Entity(
    "migration_row",
    key="row",
    flow=Flow.LIVE,
    state=MigrationRow,
    commands=(MoveRow,),
    facts=(RowNoted, RowRepeated),
    private=True,
    inbox_retention_s=7 * DAY_S,
)
OPENING: Final = Entity(
    "opening",
    key="user",
    flow=Flow.LIVE,
    state=Opening,
    commands=(OpenBalance,),
    facts=(OpeningStepped,),
    hears=(
        Hears(OpeningAnswered, "user", "whether it is within its feed's limit"),
        Hears(TransferSettled, _opens, "whether the account took the coins"),
    ),
    raw="what was opened with stands in `balance_entries`",
)
