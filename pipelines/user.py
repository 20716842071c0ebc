"""The user, keyed by user id: sign-up, sessions, presence, bans.

State: role, sessions with their last beat, since when online, the ban (`schemas.user.User`); no state: unknown. A sign-up opens
the user's two accounts. A user is online while at least one session beats: several phones are one presence.
Laws: a user signs up once, and the same request again is answered alike; CameOnline and WentOffline alternate; online_s is the
time between them; who is banned has no session; a session ends once, silent ones at their last beat plus OFFLINE_AFTER.
Refusals, in order of precedence: `user_unknown`, `already_signed_up`, `banned`, `session_unknown`, `not_banned`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from schemas.balance import OpenAccount, coins_account, earnings_account
from schemas.log.base import Fact, Message, UserId, Wake, derived_id
from schemas.user import (
    Ban,
    BanState,
    Beat,
    CameOnline,
    CloseReason,
    CloseSession,
    OpenSession,
    Session,
    SessionClosed,
    SessionOpened,
    SignUp,
    SignUpRepeated,
    Unban,
    User,
    UserBanned,
    UserInbox,
    UserRefusal,
    UserRefused,
    UserSignedUp,
    UserUnbanned,
    WentOffline,
)

# A person has a phone or three; the oldest session gives way.
MAX_SESSIONS: Final = 8

Decision = tuple[User | None, Sequence[Message]]


def decide_user(user: User | None, message: UserInbox) -> Decision:
    """Decide one message of a user's inbox."""
    match message:
        case SignUp():
            return _sign_up(message) if user is None else (user, (_again(user, message),))
        case Wake():
            return (user, ()) if user is None else _wake(user, message)
    refusal = refusal_of(user, message)
    if user is None or refusal is not None:
        return user, _refuse(message, refusal or UserRefusal.USER_UNKNOWN)
    match message:
        case OpenSession():
            return _open(user, message)
        case Beat():
            return _beat(user, message), ()
        case CloseSession():
            return _close(user, message, {message.session: CloseReason.LOGGED_OUT})
        case Ban():
            return _ban(user, message)
        case Unban():
            return _unban(user, message, message.by)


def refusal_of(user: User | None, message: OpenSession | Beat | CloseSession | Ban | Unban) -> UserRefusal | None:
    """The first guard that the message fails, or None."""
    if user is None:
        return UserRefusal.USER_UNKNOWN
    match message:
        case OpenSession() if user.ban:
            return UserRefusal.BANNED
        case Beat() | CloseSession() if not any(s.session == message.session for s in user.sessions):
            return UserRefusal.SESSION_UNKNOWN
        case Unban() if user.ban is None:
            return UserRefusal.NOT_BANNED
    return None


def _refuse(message: Message, refusal: UserRefusal) -> tuple[Message, ...]:
    if isinstance(message, Beat):
        return ()  # a phone that beats after its session ended is told over HTTP; the log need not keep it
    user = UserId(message.user)  # type: ignore[attr-defined]
    return (UserRefused(id=derived_id(message.id, 0), at=message.at, cause=message.id, user=user, refusal=refusal),)


def _sign_up(message: SignUp) -> Decision:
    accounts = (coins_account(message.user), earnings_account(message.user))
    signed_up = UserSignedUp(
        id=derived_id(message.id, 0),
        at=message.at,
        cause=message.id,
        user=message.user,
        role=message.role,
        platform=message.platform,
        locale=message.locale,
        app_version=message.app_version,
        country=message.country,
        appsflyer_id=message.appsflyer_id,
    )
    opens = [
        OpenAccount(id=derived_id(message.id, ordinal), at=message.at, account=account)
        for ordinal, account in enumerate(accounts, 1)
    ]
    return User(message.role, message.at, message.request or "-", message.country), (signed_up, *opens)


def _again(user: User, message: SignUp) -> Message:
    same = message.request and message.request == user.request and message.role is user.role
    told: dict[str, Any] = {"id": derived_id(message.id, 0), "at": message.at, "cause": message.id, "user": message.user}
    if same:
        return SignUpRepeated(**told, role=user.role, signed_up_at=user.signed_up_at)
    return UserRefused(**told, refusal=UserRefusal.ALREADY_SIGNED_UP)


def _open(user: User, message: OpenSession) -> Decision:
    if any(s.session == message.session for s in user.sessions):
        return user, (_opened(message, 0),)  # the client asks again
    going = {s.session: CloseReason.REPLACED for s in user.sessions if s.device == message.device}
    staying = [s for s in user.sessions if s.session not in going]
    if len(staying) >= MAX_SESSIONS:
        going[min(staying, key=lambda s: s.beat_at).session] = CloseReason.REPLACED
    session = Session(
        message.session,
        message.device,
        message.at,
        message.at,
        message.platform,
        message.push_token,
        message.voip_token,
    )
    told: list[Message] = [_opened(message, 0)]
    told += [_closed(s, message, going[s.session], message.at, len(told) + n) for n, s in enumerate(_of(user, going))]
    if not user.sessions:
        told.append(CameOnline(id=derived_id(message.id, len(told)), at=message.at, cause=message.id, user=message.user))
    kept = tuple(s for s in user.sessions if s.session not in going)
    return replace(user, sessions=(*kept, session), online_since=user.online_since or message.at), told


def _opened(message: OpenSession, ordinal: int) -> SessionOpened:
    return SessionOpened(
        id=derived_id(message.id, ordinal),
        at=message.at,
        cause=message.id,
        user=message.user,
        session=message.session,
        device=message.device,
        platform=message.platform,
        app_version=message.app_version,
    )


def _beat(user: User, message: Beat) -> User:
    sessions = tuple(
        replace(s, beat_at=message.at) if s.session == message.session and message.at > s.beat_at else s for s in user.sessions
    )
    return replace(user, sessions=sessions)


def _of(user: User, going: dict[str, CloseReason]) -> list[Session]:
    return [s for s in user.sessions if s.session in going]


def _closed(session: Session, message: Message, reason: CloseReason, at: datetime, ordinal: int) -> SessionClosed:
    user = message.key if isinstance(message, Wake) else message.user  # type: ignore[attr-defined]
    return SessionClosed(
        id=derived_id(message.id, ordinal),
        at=at,
        cause=message.id,
        user=UserId(user),
        session=session.session,
        reason=reason,
        open_s=(at - session.opened_at).total_seconds(),
    )


def _close(user: User, message: CloseSession | Ban | Wake, going: dict[str, CloseReason]) -> Decision:
    """End sessions; the last one takes the user offline."""
    name = UserId(message.key if isinstance(message, Wake) else message.user)
    ends = [(s, max(s.opened_at, s.silent_at if isinstance(message, Wake) else message.at)) for s in _of(user, going)]
    told: list[Fact] = [_closed(s, message, going[s.session], end, n) for n, (s, end) in enumerate(ends)]
    kept = tuple(s for s in user.sessions if s.session not in going)
    if kept or not ends:
        return replace(user, sessions=kept), told
    assert user.online_since is not None
    end = max(end for _, end in ends)
    online_s = (end - user.online_since).total_seconds()
    told.append(WentOffline(id=derived_id(message.id, len(told)), at=end, cause=message.id, user=name, online_s=online_s))
    return replace(user, sessions=(), online_since=None), told


def _wake(user: User, message: Wake) -> Decision:
    silent = {s.session: CloseReason.TIMED_OUT for s in user.sessions if s.silent_at <= message.at}
    after, told = _close(user, message, silent) if silent else (user, ())
    if after and after.ban and after.ban.until and after.ban.until <= message.at:
        unbanned = UserUnbanned(
            id=derived_id(message.id, len(told)), at=message.at, cause=message.id, user=UserId(message.key)
        )  # fmt: skip
        return replace(after, ban=None), (*told, unbanned)
    return after, told


def _ban(user: User, message: Ban) -> Decision:
    after, told = _close(user, message, {s.session: CloseReason.BANNED for s in user.sessions})
    assert after is not None
    banned = UserBanned(
        id=derived_id(message.id, len(told)),
        at=message.at,
        cause=message.id,
        user=message.user,
        reason=message.reason,
        by=message.by,
        until=message.until,
    )
    return replace(after, ban=BanState(message.reason, message.by, message.at, message.until)), (banned, *told)


def _unban(user: User, message: Unban, by: str) -> Decision:
    unbanned = UserUnbanned(id=derived_id(message.id, 0), at=message.at, cause=message.id, user=message.user, by=by)
    return replace(user, ban=None), (unbanned,)
