"""Migration: a feed's rules, keyed by feed; what was told of a thing, keyed by row; a person's opening balance, keyed by user.

States: `schemas.migration`. Laws: of each event at most one command is made, however often and in whatever order deliveries
come; of a thing the newest change that came is never followed by a command of an older one; a person has one opening balance;
a feed gives no more coins than its limit. Nothing is refused: what is not done is told with its outcome or step.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.balance import Reason, coins_account
from schemas.log.base import Message, MessageId, UserId, Wake, derive, later, reply, same_fields
from schemas.migration import (
    MAX_TRIES,
    OPENINGS,
    RETRY_AFTER,
    MigrationFeed,
    MigrationFeedInbox,
    MigrationFeedPut,
    MigrationRow,
    MigrationRowInbox,
    OpenBalance,
    Opening,
    OpeningAnswered,
    OpeningInbox,
    OpeningStep,
    OpeningStepped,
    PutMigrationFeed,
    RowNoted,
    RowOutcome,
    RowRepeated,
    SpendOpening,
    opening_transfer,
)
from schemas.migration_rules import RowOperation
from schemas.transfer import PlaceTransfer, TransferSettled, TransferStatus


def decide_migration_feed(
    feed: MigrationFeed | None, message: MigrationFeedInbox
) -> tuple[MigrationFeed | None, Sequence[Message]]:
    """Decide one message of a feed's inbox."""
    match message:
        case Wake():
            return feed, ()
        case PutMigrationFeed():
            version, opened = (feed.version + 1, feed.opened_coins) if feed else (1, 0)
            after = MigrationFeed(**same_fields(message, MigrationFeed), version=version, opened_coins=opened)
            return after, (MigrationFeedPut(**reply(message), **same_fields(message, MigrationFeedPut), version=version),)
        case SpendOpening():
            return _spend(feed, message)


def _spend(feed: MigrationFeed | None, message: SpendOpening) -> tuple[MigrationFeed | None, Sequence[Message]]:
    allowed = feed is not None and feed.active and message.coins <= feed.left_coins
    after = replace(feed, opened_coins=feed.opened_coins + message.coins) if feed is not None and allowed else feed
    left = after.left_coins if after else 0
    fields = same_fields(message, OpeningAnswered)
    return after, (OpeningAnswered(**reply(message), **fields, allowed=allowed, left_coins=left),)


# --- a row ------------------------------------------------------------------------------------------------------------------


def decide_migration_row(row: MigrationRow | None, message: MigrationRowInbox) -> tuple[MigrationRow | None, Sequence[Message]]:
    """Decide one message of a row's inbox."""
    if isinstance(message, Wake):
        return (None if row is not None and row.is_due(message.at) else row), ()
    new = MigrationRow(
        row_version=message.row_version, told_at=message.told_at, deleted=message.operation is RowOperation.DELETE,
        event=message.event, at=message.at, moved=message.move is not None,
    )  # fmt: skip
    if row is not None and (outcome := _passes(row, new)):
        fields = same_fields(message, RowRepeated) | {"outcome": outcome}
        return row, (RowRepeated(**reply(message), **fields),)
    noted, move = same_fields(message, RowNoted), message.move
    if move is None:
        return new, (RowNoted(**reply(message), **noted),)
    sent = replace(move, id=MessageId(f"{message.event}/move"), at=message.at)
    return new, (RowNoted(**reply(message), **noted, sent=sent.id), sent)


def _passes(row: MigrationRow, new: MigrationRow) -> RowOutcome | None:
    """Why a change makes no command: it came before, or what came is newer. An event of which nothing was made before may be
    told again, once the rules have something to make of it."""
    if row.event == new.event:
        return RowOutcome.REPEATED if row.moved or not new.moved else None
    return RowOutcome.SUPERSEDED if new.age < row.age else None


# --- an opening balance -----------------------------------------------------------------------------------------------------

Decision = tuple[Opening | None, Sequence[Message]]


def decide_opening(opening: Opening | None, message: OpeningInbox) -> Decision:
    """Decide one message of somebody's opening balance."""
    match message:
        case OpenBalance() if opening is not None:
            return opening, (_stepped(message, message.user, opening, OpeningStep.REPEATED),)
        case OpenBalance():
            asked = Opening(feed=message.feed, coins=message.coins, step=OpeningStep.ASKED, at=message.at)
            spend = SpendOpening(**derive(message, 1), feed=message.feed, user=message.user, coins=message.coins)
            return asked, (_stepped(message, message.user, asked, OpeningStep.ASKED), spend)
        case _ if opening is None:
            return None, ()
        case OpeningAnswered() if opening.step is not OpeningStep.ASKED or message.feed != opening.feed:
            return opening, ()
        case OpeningAnswered() if not message.allowed:
            return None, (_stepped(message, message.user, opening, OpeningStep.DENIED),)
        case OpeningAnswered():
            return _send(opening, message, message.user)
        case TransferSettled():
            return _settled(opening, message)
        case Wake():
            return _send(opening, message, UserId(message.key)) if opening.is_due(message.at) else (opening, ())


def _send(opening: Opening, message: Message, user: UserId) -> Decision:
    sent = replace(opening, step=OpeningStep.SENT, tries=opening.tries + 1, retry_at=None)
    place = PlaceTransfer(
        **derive(message, 1), transfer=opening_transfer(user, sent.tries), payer=OPENINGS, payee=coins_account(user),
        coins=opening.coins, reason=Reason.GRANT, ref=opening.feed, by=f"migration/{opening.feed}",
    )  # fmt: skip
    return sent, (_stepped(message, user, sent, OpeningStep.SENT), place)


def _settled(opening: Opening, settled: TransferSettled) -> Decision:
    user = UserId(settled.payee.rpartition("/")[0])
    if opening.step is not OpeningStep.SENT or settled.transfer != opening_transfer(user, opening.tries):
        return opening, ()
    if settled.outcome.status is TransferStatus.COMPLETED:
        booked = replace(opening, step=OpeningStep.BOOKED)
        return booked, (_stepped(settled, user, booked, OpeningStep.BOOKED),)
    step = OpeningStep.WAITS if opening.tries < MAX_TRIES else OpeningStep.GIVEN_UP
    retry_at = later(settled.at, RETRY_AFTER) if step is OpeningStep.WAITS else None
    waits = replace(opening, step=step, retry_at=retry_at)
    return waits, (_stepped(settled, user, waits, step, str(settled.outcome.refusal or "")),)


def _stepped(message: Message, user: UserId, opening: Opening, step: OpeningStep, code: str = "") -> OpeningStepped:
    return OpeningStepped(
        **reply(message), user=user, feed=opening.feed, coins=opening.coins, step=step, code=code
    )  # fmt: skip
