"""A line, keyed by user id: can this user be called? It guards that a user is in at most one call.

State: role, banned, online, the call that has the line and with whom, waiting for roulette since, who is barred
(`schemas.video_line.Line`). A block from either side bars once; it ends a call between the two.
Laws: a line belongs to at most one call; who is in a call does not wait; who waits is in the pool, and is neither banned
nor offline. Refusals, in order of precedence: `schemas.video_line.LineRefusal`.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.log.base import Message, UserId, Wake, derived_id
from schemas.user import CameOnline, Role, UserBanned, UserSignedUp, UserUnbanned, WentOffline
from schemas.video import EndCall, EndReason
from schemas.video_line import (
    MAX_BARRED,
    ROULETTE,
    AdmitGift,
    Bar,
    EnterPool,
    GiftAdmitted,
    JoinRoulette,
    LeaveRoulette,
    Line,
    LineFreed,
    LineInbox,
    LineRefusal,
    LineRefused,
    LineSeized,
    QuitPool,
    ReleaseLine,
    RouletteJoined,
    RouletteLeft,
    SeizeLine,
    Unbar,
)

Decision = tuple[Line | None, Sequence[Message]]


def decide_line(line: Line | None, message: LineInbox) -> Decision:  # noqa: PLR0912 - a row a message
    """Decide one message of a line's inbox."""
    known = line or Line()
    match message:
        case Wake():
            return line, ()
        case UserSignedUp():
            return replace(known, role=message.role, country=message.country), ()
        case CameOnline():
            return replace(known, online=True), ()
        case WentOffline():
            return _leave(replace(known, online=False), message, message.user)
        case UserBanned():
            after, told = _leave(replace(known, banned=True), message, message.user)
            return after, (*told, *_end(known, message, EndReason.BANNED, message.user))
        case UserUnbanned():
            return replace(known, banned=False), ()
        case SeizeLine():
            return _seize(known, message)
        case ReleaseLine():
            return _release(known, message)
        case JoinRoulette():
            return _join(known, message)
        case LeaveRoulette() if known.waiting_since is None:
            return line, (_refused(message, LineRefusal.NOT_WAITING),)
        case LeaveRoulette():
            return _leave(known, message, message.user)
        case Bar() | Unbar():
            return _bar(known, message)
        case AdmitGift():
            refusal = _barrier(known, message.peer)
            return line, (
                GiftAdmitted(
                    id=derived_id(message.id, 0),
                    at=message.at,
                    cause=message.id,
                    user=message.user,
                    gift=message.gift,
                    refusal=refusal,
                ),
            )


def _barrier(line: Line, peer: str) -> LineRefusal | None:
    """What stands between this user and `peer` whatever happens."""
    if line.role is None:
        return LineRefusal.UNKNOWN
    if line.banned:
        return LineRefusal.BANNED
    return LineRefusal.BLOCKED if peer in line.barred else None


def _refused(message: SeizeLine | JoinRoulette | LeaveRoulette, refusal: LineRefusal) -> LineRefused:
    call = message.call if isinstance(message, SeizeLine) else ""
    return LineRefused(
        id=derived_id(message.id, 0), at=message.at, cause=message.id, user=message.user, call=call, refusal=refusal
    )  # fmt: skip


def _seize(line: Line, message: SeizeLine) -> Decision:
    refusal = _barrier(line, message.peer)
    if refusal is None and message.online and not line.online:
        refusal = LineRefusal.OFFLINE
    if refusal is None and line.call and line.call != message.call:
        refusal = LineRefusal.BUSY
    if refusal is not None:
        return line, (_refused(message, refusal),)
    after, told = _leave(line, message, message.user)
    seized = LineSeized(
        id=derived_id(message.id, 0), at=message.at, cause=message.id, user=message.user, call=message.call
    )  # fmt: skip
    return replace(after, call=message.call, peer=message.peer), (seized, *told)


def _release(line: Line, message: ReleaseLine) -> Decision:
    told: list[Message] = []
    if line.call == message.call:
        told.append(
            LineFreed(id=derived_id(message.id, 0), at=message.at, cause=message.id, user=message.user, call=message.call)
        )
        line = replace(line, call="", peer="", last_partner=line.peer if message.again else line.last_partner)
        joins = message.again
    else:
        joins = message.again and line.waiting_since is not None  # the pool has let go of one who still waits
    if joins and not line.call and line.online and not line.banned and line.role is not None:
        line, more = _enter(line, message, first=1)
        told += more
    return line, told


def _join(line: Line, message: JoinRoulette) -> Decision:
    refusal = _barrier(line, "")
    if refusal is None and not line.online:
        refusal = LineRefusal.OFFLINE
    if refusal is None and line.call:
        refusal = LineRefusal.BUSY
    if refusal is None and line.waiting_since is not None:
        refusal = LineRefusal.WAITING
    if refusal is not None:
        return line, (_refused(message, refusal),)
    return _enter(replace(line, tags=message.tags), message, first=0)


def _enter(line: Line, message: JoinRoulette | ReleaseLine, first: int) -> tuple[Line, list[Message]]:
    joined = RouletteJoined(id=derived_id(message.id, first), at=message.at, cause=message.id, user=message.user)
    after = replace(line, waiting_since=line.waiting_since or message.at)
    return after, [joined, _entry(after, message, message.user, first + 1)]


def _entry(line: Line, message: Message, user: UserId, ordinal: int) -> EnterPool:
    assert line.waiting_since is not None
    return EnterPool(
        id=derived_id(message.id, ordinal),
        at=message.at,
        pool=ROULETTE,
        user=user,
        role=line.role or Role.USER,
        since=line.waiting_since,
        country=line.country,
        barred=tuple(sorted(set(line.barred))),
        last_partner=line.last_partner,
        tags=line.tags,
    )


def _leave(line: Line, message: Message, user: UserId) -> tuple[Line, tuple[Message, ...]]:
    """Out of roulette, if the user waits."""
    if line.waiting_since is None:
        return line, ()
    left = RouletteLeft(id=derived_id(message.id, 8), at=message.at, cause=message.id, user=user)
    quit_ = QuitPool(id=derived_id(message.id, 9), at=message.at, pool=ROULETTE, user=user)
    return replace(line, waiting_since=None), (left, quit_)


def _end(line: Line, message: Message, reason: EndReason, by: str) -> tuple[Message, ...]:
    if not line.call:
        return ()
    return (EndCall(id=derived_id(message.id, 7), at=message.at, call=line.call, reason=reason, by=by),)


def _bar(line: Line, message: Bar | Unbar) -> Decision:
    barred = list(line.barred)
    if isinstance(message, Bar):
        barred = [*barred, message.peer][-MAX_BARRED:]
    elif message.peer in barred:
        barred.remove(message.peer)
    after = replace(line, barred=tuple(barred))
    told: tuple[Message, ...] = ()
    if isinstance(message, Bar) and line.peer == message.peer:
        told = _end(line, message, EndReason.BLOCKED, "")
    if after.waiting_since is not None:
        told = (*told, _entry(after, message, message.user, 1))
    return after, told
