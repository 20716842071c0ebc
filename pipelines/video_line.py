"""A line, keyed by user id: can this user be called? It guards that a user is in at most one call.

State: role, banned, online, the call that has the line and with whom, waiting for roulette since, who is barred
(`schemas.video_line.Line`). A line remembers whom its own user has blocked, never who has blocked its user: others could
lengthen that list for ever. So what concerns two people asks both lines. A block ends a call between the two. Who waited when a
call took the line, which came to nothing through no fault of the user's, waits on at the place from before.
Laws: a line belongs to at most one call; who is in a call does not wait; who waits asks the pool, again and again, and is
neither banned nor offline. Refusals, in order of precedence: `schemas.video_line.LineRefusal`.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.log.base import Message, UserId, Wake, derive, later, reply
from schemas.user import MAX_BLOCKS, CameOnline, Role, UserBanned, UserErased, UserSignedUp, UserUnbanned, WentOffline
from schemas.video import EndCall, EndReason
from schemas.video_line import (
    APART_FOR,
    ROULETTE,
    TALKERS,
    AdmitGift,
    AdmitMessage,
    AdmitViewer,
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
    MessageAdmitted,
    PartFrom,
    QuitPool,
    ReleaseLine,
    RouletteJoined,
    RouletteLeft,
    SeizeLine,
    Unbar,
    ViewerAdmitted,
    asks_every,
    mark_of,
)

Decision = tuple[Line | None, Sequence[Message]]


def decide_line(line: Line | None, message: LineInbox) -> Decision:
    """Decide one message of a line's inbox. A line that nobody knows of comes to be only by a message that changes it."""
    state = line or Line()
    after, messages = _decide(state, message)
    return (line if after is state else after), messages


def _decide(state: Line, message: LineInbox) -> Decision:  # noqa: PLR0912 - a row a message
    match message:
        case Wake() if state.waiting_since is not None and state.is_due(message.at):
            after, entry = _entry(state, message, UserId(message.key), 1)
            return after, (entry,)
        case Wake():
            return state, ()
        case UserSignedUp():
            return replace(state, role=message.role, country=message.country), ()
        case CameOnline():
            return replace(state, online=True), ()
        case WentOffline() if state.role is None:
            return state, ()  # erased
        case WentOffline():
            return _leave(replace(state, online=False), message, message.user)
        case UserBanned():
            after, messages = _leave(
                replace(state, banned=True, banned_at=state.banned_at or message.at), message, message.user
            )
            return after, (*messages, *_end(state, message, EndReason.BANNED, message.user))
        case UserErased():
            _, messages = _leave(state, message, message.user)
            rest = Line(call=state.call, peer=state.peer) if state.call else None
            return rest, (*messages, *_end(state, message, EndReason.ERASED, message.user))
        case UserUnbanned():
            return replace(state, banned=False, banned_at=None), ()
        case SeizeLine():
            return _seize(state, message)
        case ReleaseLine():
            return _release(state, message)
        case JoinRoulette():
            return _join(state, message)
        case LeaveRoulette() if state.waiting_since is None:
            return state, (_refused(message, LineRefusal.NOT_WAITING),)
        case LeaveRoulette():
            return _leave(state, message, message.user)
        case Bar() | Unbar() if state.role is None:
            return state, ()  # likewise
        case Bar() | Unbar():
            return _bar(state, message)
        case PartFrom():
            return state, (_end(state, message, EndReason.BLOCKED, "") if state.peer == message.peer else ())
        case AdmitViewer():
            refusal = _barrier(state, message.peer)
            since = state.banned_at if refusal is LineRefusal.BANNED else None
            admitted = ViewerAdmitted(**reply(message), user=message.user, call=message.call, refusal=refusal, since=since)
            return state, (admitted,)
        case AdmitGift():
            refusal = _barrier(state, message.peer)
            return state, (GiftAdmitted(**reply(message), user=message.user, gift=message.gift, refusal=refusal),)
        case AdmitMessage():
            refusal = _barrier(state, message.peer)
            let = MessageAdmitted(**reply(message), user=message.user, message=message.message, refusal=refusal)
            return state, (let,)


def _barrier(line: Line, peer: str) -> LineRefusal | None:
    """What stands, on this user's side, between the user and `peer` whatever happens."""
    if line.role is None:
        return LineRefusal.UNKNOWN
    if line.role not in TALKERS:
        return LineRefusal.NO_TALKER
    if line.banned:
        return LineRefusal.BANNED
    return LineRefusal.BLOCKED if peer in line.barred else None


def _refused(message: SeizeLine | JoinRoulette | LeaveRoulette, refusal: LineRefusal) -> LineRefused:
    call = message.call if isinstance(message, SeizeLine) else ""
    return LineRefused(**reply(message), user=message.user, call=call, refusal=refusal)


def _seize(line: Line, message: SeizeLine) -> Decision:
    refusal = _barrier(line, message.peer)
    if refusal is None and message.online and not line.online:
        refusal = LineRefusal.OFFLINE
    if refusal is None and line.call and line.call != message.call:
        refusal = LineRefusal.BUSY
    if refusal is not None:
        return line, (_refused(message, refusal),)
    after, messages = _leave(line, message, message.user)
    seized = LineSeized(**reply(message), user=message.user, call=message.call)
    # Asked for the second time the line waits no more, and remembers since when it did.
    waited_since = line.waiting_since or (line.waited_since if line.call else None)
    return replace(after, call=message.call, peer=message.peer, waited_since=waited_since), (seized, *messages)


def _release(line: Line, message: ReleaseLine) -> Decision:
    messages: list[Message] = []
    since = line.waiting_since
    if line.call == message.call:
        messages.append(LineFreed(**reply(message), user=message.user, call=message.call))
        since = line.waited_since if message.keeps else None
        last_partner, met_at = (line.peer, message.at) if message.met else (line.last_partner, line.met_at)
        line = replace(line, call="", peer="", last_partner=last_partner, met_at=met_at, waited_since=None)
        joins = message.again or since is not None
    else:
        joins = message.again and since is not None  # the pool has let go of a user who still waits
    if joins and not line.call and line.online and not line.banned and line.role is not None:
        line, more = _enter(replace(line, waiting_since=since), message, first=1)
        messages += more
    return (line if line.call or line.role is not None else None), messages  # the last call of somebody who was erased


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
    return _enter(replace(line, tags=message.tags, device=message.device, price_class=message.price_class), message, first=0)


def _enter(line: Line, message: JoinRoulette | ReleaseLine, first: int) -> tuple[Line, list[Message]]:
    joined = RouletteJoined(**reply(message, first), user=message.user)
    after = replace(line, waiting_since=line.waiting_since or message.at)
    after, entry = _entry(after, message, message.user, first + 1)
    return after, [joined, entry]


def _entry(line: Line, message: Message, user: UserId, ordinal: int) -> tuple[Line, EnterPool]:
    """The user asks the pool, and will ask again; in any case when the last partner is allowed again."""
    assert line.waiting_since is not None
    entry = EnterPool(
        **derive(message, ordinal),
        pool=ROULETTE,
        user=user,
        role=line.role or Role.USER,
        since=line.waiting_since,
        country=line.country,
        bars=tuple(sorted({mark_of(peer) for peer in line.barred})),
        last_partner=line.last_partner,
        met_at=line.met_at,
        tags=line.tags,
        device=line.device,
        price_class=line.price_class,
    )
    asks_at, apart_until = later(message.at, asks_every(user)), line.met_at and later(line.met_at, APART_FOR)
    return replace(line, asks_at=min(asks_at, apart_until) if apart_until and apart_until > message.at else asks_at), entry


def _leave(line: Line, message: Message, user: UserId) -> tuple[Line, tuple[Message, ...]]:
    """Out of roulette, if the user waits."""
    if line.waiting_since is None:
        return line, ()
    left = RouletteLeft(**reply(message, 8), user=user)
    return replace(line, waiting_since=None, asks_at=None), (left, QuitPool(**derive(message, 9), pool=ROULETTE, user=user))


def _end(line: Line, message: Message, reason: EndReason, by: str) -> tuple[Message, ...]:
    if not line.call:
        return ()
    return (EndCall(**derive(message, 7), call=line.call, reason=reason, by=by),)


def _bar(line: Line, message: Bar | Unbar) -> Decision:
    others = tuple(peer for peer in line.barred if peer != message.peer)
    after = replace(line, barred=(*others, message.peer)[-MAX_BLOCKS:] if isinstance(message, Bar) else others)
    ends = isinstance(message, Bar) and line.peer == message.peer
    messages = _end(line, message, EndReason.BLOCKED, "") if ends else ()
    if after.waiting_since is not None:
        after, entry = _entry(after, message, message.user, 1)
        messages = (*messages, entry)
    return after, messages
