"""Interaction, keyed by pair of users: calls, gifts, messages, views, favourites and blocks as facts, and how close two are.

State: points by hour over a week (`schemas.interaction.Pair`). Laws: affinity is the sum of the points whose hour is in the
window, never below zero; an event up to LATE behind the newest one counts in its own hour, a later one is recorded and does
not; a block ends all closeness; a pair whose window is empty is forgotten.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from schemas.billing_rules import CallKind
from schemas.blocklist import UserBlocked
from schemas.chat import ItemPosted
from schemas.favorites import FavoriteAdded, FavoriteRemoved
from schemas.gift import GiftSent
from schemas.interaction import (
    HOUR_S,
    LATE,
    WINDOW_HOURS,
    InteractionKind,
    InteractionRecorded,
    Pair,
    PairInbox,
    RecordView,
)
from schemas.log.base import Message, UserId, Wake, derive, later, reply
from schemas.log.windows import add, bucket_of, within
from schemas.pair import pair_of
from schemas.panel import CountAction
from schemas.panel_counters import Counter
from schemas.video import CallEnded

# Points for the thing itself, and for each unit of its amount: a talk of ten minutes is worth a favourite.
POINTS: Final = {
    InteractionKind.CALL: (2.0, 1 / 60),
    InteractionKind.MISSED_CALL: (0.5, 0.0),
    InteractionKind.GIFT: (2.0, 0.1),
    InteractionKind.MESSAGE: (1.0, 0.0),
    InteractionKind.VIEW: (0.25, 0.0),
    InteractionKind.FAVORITE: (12.0, 0.0),
    InteractionKind.UNFAVORITE: (-12.0, 0.0),
    InteractionKind.BLOCK: (0.0, 0.0),
}


class Done(NamedTuple):
    """What a message tells: who did what with whom, and how much of it."""

    user: UserId
    peer: UserId
    kind: InteractionKind
    amount: float = 1.0


def decide_pair(pair: Pair | None, message: PairInbox) -> tuple[Pair | None, Sequence[Message]]:
    """Decide one message of a pair's inbox."""
    if isinstance(message, Wake):
        if pair is None or not pair.is_due(message.at):
            return pair, ()
        return _as_of(pair, bucket_of(message.at, HOUR_S)), ()
    done = _read(message)
    state = pair or Pair({}, message.at)
    late = message.at < later(state.seen_at, -LATE)
    after = state if late else _count(state, done, message)
    fact = InteractionRecorded(
        **reply(message, f"pair/{done.kind}"), pair=pair_of(done.user, done.peer), user=done.user, peer=done.peer,
        kind=done.kind, amount=done.amount, affinity=after.affinity, late=late,
    )  # fmt: skip
    return (after if after.points else None), (fact, *_actions(message))


def _actions(message: Message) -> tuple[CountAction, ...]:
    """What each side did, for the panel."""
    match message:
        case CallEnded() if message.connected and message.kind is not CallKind.CLIP:
            counts = {Counter.CALLS: 1, Counter.TALKED_S: int(message.duration_s)}
            sides = ((message.caller, counts), (message.callee, counts))
        case GiftSent():
            sides = ((message.sender, {Counter.GIFTS_SENT: 1}), (message.receiver, {Counter.GIFTS_RECEIVED: 1}))
        case ItemPosted():
            sides = ((message.user, {Counter.MESSAGES_SENT: 1}), (message.peer, {Counter.MESSAGES_RECEIVED: 1}))
        case _:
            return ()
    return tuple(
        CountAction(**derive(message, f"count/{number}"), user=user, counts=counts)
        for number, (user, counts) in enumerate(sides)
    )


def _read(message: RecordView | CallEnded | GiftSent | ItemPosted | FavoriteAdded | FavoriteRemoved | UserBlocked) -> Done:
    match message:
        case CallEnded():
            if message.kind is CallKind.CLIP:  # a recorded video was watched
                return Done(message.caller, message.callee, InteractionKind.VIEW)
            kind = InteractionKind.CALL if message.connected else InteractionKind.MISSED_CALL
            return Done(message.caller, message.callee, kind, message.duration_s if message.connected else 1.0)
        case GiftSent():
            return Done(message.sender, message.receiver, InteractionKind.GIFT, message.price_coins)
        case ItemPosted():
            return Done(message.user, message.peer, InteractionKind.MESSAGE)
        case RecordView():
            return Done(message.user, message.peer, InteractionKind.VIEW)
        case FavoriteAdded():
            return Done(message.user, message.peer, InteractionKind.FAVORITE)
        case FavoriteRemoved():
            return Done(message.user, message.peer, InteractionKind.UNFAVORITE)
        case UserBlocked():
            return Done(message.user, message.peer, InteractionKind.BLOCK)


def _count(pair: Pair, done: Done, message: Message) -> Pair:
    seen_at = max(pair.seen_at, message.at)
    if done.kind is InteractionKind.BLOCK:
        return Pair({}, seen_at)
    each, more = POINTS[done.kind]
    points = add(pair.points, bucket_of(message.at, HOUR_S), each + more * done.amount, WINDOW_HOURS)
    return _as_of(replace(pair, points=points, seen_at=seen_at), bucket_of(seen_at, HOUR_S)) or Pair({}, seen_at)


def _as_of(pair: Pair, hour: int) -> Pair | None:
    """The pair when the window ends with this hour; None: nothing is left in it."""
    points = {number: held for number, held in pair.points.items() if number > hour - WINDOW_HOURS}
    affinity = round(max(0.0, within(points, hour, WINDOW_HOURS)), 3)
    return replace(pair, points=points, affinity=affinity) if points else None
