"""The user, keyed by user id: sign-up, sessions, presence, bans, erasure.

State: role, sessions with their last beat, since when online, bans (`schemas.user.User`); no state: unknown. A sign-up opens
the user's two accounts. A user is online while at least one session beats: several phones are one presence.
Laws: a user signs up once, and the same request again is answered alike; CameOnline and WentOffline alternate; online_s is the
time between them; who is banned has no session; a session ends once, silent ones at their last beat plus OFFLINE_AFTER; a user
is banned while any ban stands, a ban ends by its own time or its own review, and a shorter one never shortens a longer one.
Who is erased is never anybody again: a mark is left of the state, which refuses all else, and an erasure again is a no-op.
Refusals, in order of precedence: `user_unknown`, `user_erased`, `idempotency_key_reused`, `already_signed_up`, `banned`,
`session_unknown`, `not_banned`.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from schemas.balance import CloseAccount, OpenAccount, coins_account, earnings_account
from schemas.balance_ledger import COINS, EARNINGS, Ledger, account_in
from schemas.chat_message import ForgetMessages
from schemas.chat_report import ForgetEvidence
from schemas.log.base import Fact, Message, UserId, Wake, derive, reply, same_fields
from schemas.log.entity import broadcast_keys, log_partitions
from schemas.notification import DropPhone, KeepPhone
from schemas.outbox import ForgetEffects
from schemas.user import (
    MAX_CASE_BANS,
    MAX_SESSIONS,
    AskPresence,
    Ban,
    BanEnded,
    BanState,
    Beat,
    CameOnline,
    CloseReason,
    CloseSession,
    EraseUser,
    ErasureRepeated,
    OpenSession,
    PresenceTold,
    Role,
    Session,
    SessionClosed,
    SessionOpened,
    SignUp,
    SignUpRepeated,
    Unban,
    User,
    UserBanned,
    UserCommand,
    UserErased,
    UserInbox,
    UserRefusal,
    UserRefused,
    UserSignedUp,
    UserUnbanned,
    WentOffline,
    mark_of,
)
from schemas.video_clip import ForgetClips

Decision = tuple[User | None, Sequence[Message]]


def decide_user(user: User | None, message: UserInbox) -> Decision:
    """Decide one message of a user's inbox."""
    match message:
        case SignUp():
            return _sign_up(message) if user is None else (user, _again(user, message))
        case Wake():
            return (user, ()) if user is None else _wake(user, message)
        case AskPresence():
            beat_at = user.beat_at(message.device) if user else None
            return user, (PresenceTold(**reply(message), user=message.user, call=message.call, beat_at=beat_at),)
    refusal = refusal_of(user, message)
    if user is None or refusal is not None:
        return user, _refuse(message, refusal or UserRefusal.USER_UNKNOWN)
    match message:
        case OpenSession():
            return _open(user, message)
        case Beat():
            return _beat(user, message), ()
        case CloseSession():
            return _log_out(user, message)
        case EraseUser():
            return _erase(user, message)
        case Ban():
            return _ban(user, message)
        case Unban():
            return _unban(user, message)


def refusal_of(user: User | None, message: OpenSession | Beat | CloseSession | Ban | Unban | EraseUser) -> UserRefusal | None:
    """The first guard that the message fails, or None."""
    if user is None:
        return UserRefusal.USER_UNKNOWN
    match message:
        case EraseUser():
            return None
        case _ if user.erased_at is not None:
            return UserRefusal.USER_ERASED
        case OpenSession() if user.banned:
            return UserRefusal.BANNED
        case Beat() | CloseSession() if not any(s.session == message.session for s in user.sessions):
            return UserRefusal.SESSION_UNKNOWN
        case Unban() if not _lifted(user, message):
            return UserRefusal.NOT_BANNED
    return None


def _refuse(message: UserCommand, refusal: UserRefusal) -> tuple[Message, ...]:
    if isinstance(message, Beat):
        return ()  # a phone that beats after its session ended is told over HTTP; the log need not keep it
    return (UserRefused(**reply(message), user=message.user, refusal=refusal),)


def _sign_up(message: SignUp) -> Decision:
    signed_up = UserSignedUp(**reply(message), **same_fields(message, UserSignedUp))
    accounts = (coins_account(message.user), earnings_account(message.user))
    opens = [OpenAccount(**derive(message, ordinal), account=account) for ordinal, account in enumerate(accounts, 1)]
    return User(message.role, message.at, message.request or "-", message.country), (signed_up, *opens)


def _again(user: User, message: SignUp) -> tuple[Message, ...]:
    if user.erased_at is not None:
        return _refuse(message, UserRefusal.USER_ERASED)
    if message.request and message.request == user.request and message.role is user.role:
        repeated = SignUpRepeated(**reply(message), user=message.user, role=user.role, signed_up_at=user.signed_up_at)
        return (repeated,)
    key, slash, _ = message.request.partition("/")
    reused = slash and user.request.startswith(f"{key}/")
    return _refuse(message, UserRefusal.IDEMPOTENCY_KEY_REUSED if reused else UserRefusal.ALREADY_SIGNED_UP)


def _open(user: User, message: OpenSession) -> Decision:
    opened = SessionOpened(**reply(message), **same_fields(message, SessionOpened))
    if any(s.session == message.session for s in user.sessions):
        return user, (opened,)  # the client asks again
    reached = _reached(message)
    replaced = {s.session for s in user.sessions if s.device == message.device}
    staying = [s for s in user.sessions if s.session not in replaced]
    if len(staying) >= MAX_SESSIONS:
        replaced.add(min(staying, key=lambda s: s.beat_at).session)
    facts: list[Message] = [opened]
    for session in user.sessions:
        if session.session in replaced:
            facts.append(_closed(session, message, CloseReason.REPLACED, message.at, len(facts)))
    if not user.sessions:
        facts.append(CameOnline(**reply(message, len(facts)), user=message.user))
    kept = tuple(s for s in user.sessions if s.session not in replaced)
    return replace(user, sessions=(*kept, _session(message)), online_since=user.online_since or message.at), [*facts, *reached]


def _reached(message: OpenSession) -> tuple[Message, ...]:
    """How the phone can be reached when its session is over, as feeds' own sessions do not tell."""
    if not message.device or not (message.push_token or message.voip_token or message.onesignal_id):
        return ()
    kept = KeepPhone(
        **derive(message, "phone"), user=message.user, device=mark_of(message.device), platform=message.platform,
        locale=message.locale, push_token=message.push_token, voip_token=message.voip_token,
        onesignal_id=message.onesignal_id,
    )  # fmt: skip
    return (kept,)


def _session(message: OpenSession) -> Session:
    return Session(
        message.session, message.device, message.at, message.at, message.platform, message.push_token, message.voip_token
    )


def _beat(user: User, message: Beat) -> User:
    sessions = tuple(
        replace(s, beat_at=message.at) if s.session == message.session and message.at > s.beat_at else s for s in user.sessions
    )
    return replace(user, sessions=sessions)


def _user_of(message: UserCommand | Wake) -> UserId:
    return UserId(message.key) if isinstance(message, Wake) else message.user


def _closed(session: Session, message: UserCommand | Wake, reason: CloseReason, at: datetime, ordinal: int) -> SessionClosed:
    return SessionClosed(
        **reply(message, ordinal, at=at),
        user=_user_of(message),
        session=session.session,
        reason=reason,
        open_s=(at - session.opened_at).total_seconds(),
    )


def _close(
    user: User, message: CloseSession | Ban | EraseUser | Wake, going: dict[str, CloseReason]
) -> tuple[User, Sequence[Fact]]:
    """End sessions; the last one takes the user offline."""
    closing = [s for s in user.sessions if s.session in going]
    ends = [max(s.opened_at, s.silent_at if isinstance(message, Wake) else message.at) for s in closing]
    facts: list[Fact] = [
        _closed(session, message, going[session.session], end, ordinal)
        for ordinal, (session, end) in enumerate(zip(closing, ends, strict=True))
    ]
    kept = tuple(s for s in user.sessions if s.session not in going)
    if kept or not ends:
        return replace(user, sessions=kept), facts
    assert user.online_since is not None
    end = max(ends)
    online_s = (end - user.online_since).total_seconds()
    facts.append(WentOffline(**reply(message, len(facts), at=end), user=_user_of(message), online_s=online_s))
    return replace(user, sessions=(), online_since=None), facts


def _log_out(user: User, message: CloseSession) -> Decision:
    """Who has logged out on a phone is not pushed there any more."""
    after, facts = _close(user, message, {message.session: CloseReason.LOGGED_OUT})
    devices = dict.fromkeys(mark_of(one.device) for one in user.sessions if one.session == message.session)
    drops = [DropPhone(**derive(message, f"phone/{mark}"), user=message.user, device=mark) for mark in devices if mark]
    return after, (*facts, *drops)


def _wake(user: User, message: Wake) -> Decision:
    silent = {s.session: CloseReason.TIMED_OUT for s in user.sessions if s.silent_at <= message.at}
    after, facts = _close(user, message, silent) if silent else (user, ())
    over = [case for case, ban in after.bans.items() if ban.until and ban.over_at <= message.at]
    after, ends = _end_bans(after, message, over, first=len(facts)) if over else (after, ())
    return after, (*facts, *ends)


def _ban(user: User, message: Ban) -> Decision:
    after, facts = _close(user, message, {s.session: CloseReason.BANNED for s in user.sessions})
    ban, before = BanState(message.reason, message.by, message.at, message.until), after.bans.get(message.case)
    if before is None or ban.over_at > before.over_at:
        after = _with(after, {**after.bans, message.case: ban})
    told = same_fields(message, UserBanned) | {"until": after.banned_until}
    return after, (UserBanned(**reply(message, len(facts)), **told), *facts)


def _erase(user: User, message: EraseUser) -> Decision:
    """Whoever keeps something under the user's id hears the fact; for what stands under others' keys each partition is told."""
    if user.erased_at is not None:
        return user, (ErasureRepeated(**reply(message), user=message.user, erased_at=user.erased_at),)
    _, facts = _close(user, message, {s.session: CloseReason.ERASED for s in user.sessions})
    erased = UserErased(**reply(message, len(facts)), **same_fields(message, UserErased))
    accounts = (coins_account(message.user), earnings_account(message.user))
    testers = [account_in(Ledger.SANDBOX, message.user, book) for book in (COINS, EARNINGS)]
    # A tester's account that was never opened could be opened later; one that is closed stays so.
    closes: list[Message] = [OpenAccount(**derive(message, f"open/{account}"), account=account) for account in testers]
    closes += [CloseAccount(**derive(message, f"close/{account}"), account=account) for account in (*accounts, *testers)]
    forgets: list[Message] = []
    for key in broadcast_keys(log_partitions()):
        forgets.append(ForgetEffects(**derive(message, f"effects/{key}"), effect=key, user=message.user))
        forgets.append(ForgetMessages(**derive(message, f"messages/{key}"), message=key, user=message.user))
        forgets.append(ForgetEvidence(**derive(message, f"evidence/{key}"), evidence=key, user=message.user))
        forgets.append(ForgetClips(**derive(message, f"clips/{key}"), clip=key, user=message.user))
    return User(Role.USER, message.at, erased_at=message.at), (erased, *facts, *closes, *forgets)


def _with(user: User, bans: dict[str, BanState]) -> User:
    """The user under these bans. Of more cases than there is room for, that which is over first is left out."""
    of_cases = {case: ban for case, ban in bans.items() if case}
    if len(of_cases) > MAX_CASE_BANS:
        del of_cases[min(of_cases, key=lambda case: of_cases[case].over_at)]
    return replace(user, ban=bans.get(""), case_bans=of_cases)


def _lifted(user: User, message: Unban) -> list[str]:
    """The bans that the message lifts."""
    return [case for case in user.bans if message.case in ("", case)]


def _unban(user: User, message: Unban) -> Decision:
    return _end_bans(user, message, _lifted(user, message), by=message.by)


def _end_bans(
    user: User, message: Unban | Wake, ending: Sequence[str], *, first: int = 0, by: str = ""
) -> tuple[User, tuple[Fact, ...]]:
    """End some bans; each is told, and the end of the last one is the user's return."""
    after, name = _with(user, {case: ban for case, ban in user.bans.items() if case not in ending}), _user_of(message)
    if not after.banned:
        return after, (UserUnbanned(**reply(message, first), user=name, by=by),)
    return after, tuple(
        BanEnded(**reply(message, number), user=name, case=case, by=by) for number, case in enumerate(ending, first)
    )
