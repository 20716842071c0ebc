"""The user's messages and state: who has signed up, which phones are open, who is online, banned, or erased."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.log.base import LAST, By, Fact, Id, Message, OptionalId, Refused, State, Time, UserId, Wake, in_calendar, later
from schemas.log.entity import Entity, Flow, Shown
from schemas.log.personal import IDENTIFIER, PLAIN, SECRET

# A user's id has at most 128 bytes and no character that JSON writes longer: up to 128 ASCII characters, as Firebase has them,
# or up to 32 of any script. "/" and "@" are kept for account ids, and pairs have two ids with "/" between them; so no e-mail
# address is an id.
USER_ID: Final = r"(?:[!#-.0-?A-\[\]-~]{1,128}|[^/@\s\x22\x5c\x00-\x1f\x7f]{1,32})"
USER_ID_PATTERN: Final = f"^{USER_ID}$"
MAX_USER_ID_BYTES: Final = 128
User_ = Annotated[UserId, Meta(min_length=1, max_length=128), PLAIN]
# Who is put into a list. A pattern costs more than the rest of a decode, so only commands that lengthen lists have it; then
# what stands in a list keeps its claim. (`$` lets a newline through, which JSON writes as two.)
ListedUser = Annotated[UserId, Meta(min_length=1, max_length=128, pattern=USER_ID_PATTERN), PLAIN]
UserInList = Annotated[str, Meta(max_length=128, extra={"max_bytes": MAX_USER_ID_BYTES + 4}), PLAIN]
OptionalUser = Annotated[str, Meta(max_length=128, description="a user, or empty"), PLAIN]
Short = Annotated[str, Meta(max_length=64)]
# A word that programs give each other, and nobody writes about a person.
Code = Annotated[Short, PLAIN]
PushToken = Annotated[str, Meta(max_length=512), SECRET]
SubscriptionId = Annotated[Short, SECRET]

_PHONE: Final = re.compile(r"[+(]?[0-9][0-9 ().-]{8,}[0-9]")
_PHONE_DIGITS: Final = range(10, 16)


def is_contact(text: str) -> bool:
    """Whether an id of somebody else's is an e-mail address or a phone number: ten to fifteen digits, however they are set."""
    return "@" in text or (bool(_PHONE.fullmatch(text)) and sum(map(str.isdecimal, text)) in _PHONE_DIGITS)


def is_user_id(text: str) -> bool:
    """Whether this may be the id of a user of ours. What others name people by never becomes a key unless it is."""
    return bool(re.fullmatch(USER_ID_PATTERN, text)) and not is_contact(text)


# A phone beats every BEAT_EVERY_S; one that has not for OFFLINE_AFTER_S is gone: three beats may be lost on a bad line.
BEAT_EVERY_S: Final = 10
# A person has a phone or three; the oldest session gives way.
MAX_SESSIONS: Final = 8
OFFLINE_AFTER: Final = timedelta(seconds=45)


# A person blocks dozens of others, and a troll hundreds. Whoever has to know them keeps those that its user has blocked, never
# who has blocked its user: a list that others can lengthen has no end.
MAX_BLOCKS: Final = 1_000
BlockedUsers = Annotated[tuple[UserInList, ...], Meta(max_length=MAX_BLOCKS)]


# Cases fire for a handful of rules, each once a window. Of more bans than this the one that is over first gives way: it matters
# least, since the user is banned beyond its end by all the others.
MAX_CASE_BANS: Final = 40


class Role(StrEnum):
    """What somebody is: as the token says (a Firebase custom claim); of staff see `schemas.mission_control_roles`."""

    USER = "user"
    STREAMER = "streamer"
    AGENCY = "agency"
    SUPPORT = "support"
    FINANCE = "finance"
    AUDITOR = "auditor"
    ADMIN = "admin"


class UserRefusal(StrEnum):
    """Why a user's command was refused, in order of precedence."""

    USER_UNKNOWN = "user_unknown"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    ALREADY_SIGNED_UP = "already_signed_up"
    BANNED = "banned"
    SESSION_UNKNOWN = "session_unknown"
    NOT_BANNED = "not_banned"
    USER_ERASED = "user_erased"


class CloseReason(StrEnum):
    """Why a session ended."""

    LOGGED_OUT = "logged_out"
    TIMED_OUT = "timed_out"
    BANNED = "banned"
    REPLACED = "replaced"
    ERASED = "erased"


class UserCommand(Message):
    """A command to an entity that is keyed by a user; several domains have such entities."""

    user: User_


class UserFact(Fact):
    """A fact of an entity that is keyed by a user."""

    user: User_


class PeerCommand(UserCommand):
    """A command that is about `user` and one other user, `peer`."""

    user: ListedUser
    peer: ListedUser


class PeerFact(UserFact):
    """A fact about `user` and one other user, `peer`."""

    peer: User_


# --- the user's inbox -------------------------------------------------------------------------------------------------------


class SignUp(UserCommand):
    """A verified token's user wants to be known. `request` stands for the client's idempotency key and, behind a slash, for
    what it was used for; or is empty. `appsflyer_id` names the app on this phone, which is how a campaign is known."""

    role: Role
    request: OptionalId = ""
    platform: Code = ""
    locale: Code = ""
    app_version: Code = ""
    country: Code = ""
    appsflyer_id: Code = ""


class OpenSession(UserCommand):
    """A phone logs in: it is a session until it logs out or falls silent. The same device again replaces its old session."""

    session: Id
    device: Annotated[Short, IDENTIFIER]
    platform: Code = ""
    app_version: Code = ""
    locale: Code = ""
    push_token: PushToken = ""
    voip_token: PushToken = ""
    onesignal_id: SubscriptionId = ""


class Beat(UserCommand):
    """A session is alive."""

    session: Id


class AskPresence(UserCommand):
    """A call between two who wait asks when this one's phone was heard of last: `device`, if the user joined with one."""

    call: Id
    device: Code = ""


class CloseSession(UserCommand):
    """A phone logs out."""

    session: Id


class Ban(UserCommand):
    """Close everything that the user has open and let nothing new begin, until `until` (None: for good).

    `case`: the case of the block list that it follows from; empty: an admin bans. Bans of several causes stand side by side; of
    the same cause the longer one holds."""

    reason: Code
    by: By
    until: Time | None = None
    case: OptionalId = ""


class Unban(UserCommand):
    """End the ban of one case; without a case: every ban."""

    by: By
    case: OptionalId = ""


class EraseUser(UserCommand):
    """Forget who this is, for good: what is personal goes from every state, and the accounts close. `reason`: staff's."""

    by: By
    reason: Code = ""


UserInbox = SignUp | OpenSession | Beat | AskPresence | CloseSession | Ban | Unban | EraseUser | Wake


# --- what a user tells ------------------------------------------------------------------------------------------------------


class _OfUser(Fact):
    user: User_


class UserSignedUp(_OfUser):
    """The user is known from `at` on."""

    role: Role
    platform: Code = ""
    locale: Code = ""
    app_version: Code = ""
    country: Code = ""
    appsflyer_id: Code = ""


class SignUpRepeated(_OfUser):
    """The same request came again: it has been done before, at `signed_up_at`."""

    changes_state: ClassVar[bool] = False
    role: Role
    signed_up_at: Time


class UserRefused(_OfUser, Refused):
    """The user's command was refused."""

    refusal: UserRefusal


class SessionOpened(_OfUser):
    """A session begins."""

    session: Id
    device: Annotated[Short, IDENTIFIER]
    platform: Code = ""
    app_version: Code = ""


class SessionClosed(_OfUser):
    """A session ended; `open_s` is how long it lasted."""

    session: Id
    reason: CloseReason
    open_s: float


class CameOnline(_OfUser):
    """The first of the user's sessions opened."""


class WentOffline(_OfUser):
    """The last of the user's sessions ended; `online_s` is how long the user was online."""

    online_s: float


class PresenceTold(_OfUser):
    """The answer to AskPresence: when the phone beat last; None: it is gone."""

    changes_state: ClassVar[bool] = False
    call: Id
    beat_at: Time | None = None


class UserBanned(_OfUser):
    """A ban was put on the user. `until`: when the last of all bans that stand now will be over (None: never)."""

    reason: Code
    by: By = ""
    until: Time | None = None
    case: OptionalId = ""


class BanEnded(_OfUser):
    """One of several bans ended, lifted (`by`) or over (`by` is empty); others stand, so the user stays banned."""

    case: OptionalId = ""
    by: By = ""


class UserUnbanned(_OfUser):
    """The last ban ended: lifted (`by`), or over (`by` is empty)."""

    by: By = ""


class UserErased(_OfUser):
    """The user is erased from `at` on: every entity that holds something of the user's forgets it. It is said once."""

    by: By = ""
    reason: Code = ""


class ErasureRepeated(_OfUser):
    """The user was erased before, at `erased_at`; nothing is done."""

    changes_state: ClassVar[bool] = False
    erased_at: Time


# --- state ------------------------------------------------------------------------------------------------------------------


class Session(State):
    """An open session: the phone, and its last beat."""

    session: Id
    device: Annotated[Short, IDENTIFIER]
    opened_at: Time
    beat_at: Time
    platform: Code = ""
    push_token: PushToken = ""
    voip_token: PushToken = ""

    @property
    def silent_at(self) -> datetime:
        """When it counts as gone unless it beats again."""
        return later(self.beat_at, OFFLINE_AFTER)


class BanState(State):
    """A standing ban; `until` None: for good."""

    reason: Code
    by: By
    at: Time
    until: Time | None = None

    @property
    def over_at(self) -> datetime:
        """When it is over; one for good: at the calendar's end."""
        return LAST if self.until is None else in_calendar(self.until)


def mark_of(device: str) -> str:
    """What calls know of a phone whose device has this name, which is personal: its SHA-256's beginning; empty: unknown."""
    return sha256(device.encode()).hexdigest()[:16] if device else ""


class User(State):
    """A known user; online while there are sessions. Bans stand side by side: `ban` is the admins', `case_bans` are those that
    followed from cases of the block list, by case; of one who was erased only `erased_at` says anything."""

    role: Role
    signed_up_at: Time
    request: Id = "-"
    country: Code = ""
    online_since: Time | None = None
    sessions: Annotated[tuple[Session, ...], Meta(max_length=MAX_SESSIONS)] = ()
    ban: BanState | None = None
    case_bans: Annotated[dict[Id, BanState], Meta(max_length=MAX_CASE_BANS)] = {}
    erased_at: Time | None = None

    def beat_at(self, device: str) -> datetime | None:
        """When a phone beat last: the one of that `mark_of`, if it has a session, else any."""
        sessions = [one for one in self.sessions if mark_of(one.device) == device] or self.sessions
        return max((one.beat_at for one in sessions), default=None)

    @property
    def bans(self) -> dict[str, BanState]:
        """Every ban that stands, by case; that of the admins under the empty name."""
        return {"": self.ban, **self.case_bans} if self.ban else self.case_bans

    @property
    def banned(self) -> bool:
        """Whether any ban stands."""
        return self.ban is not None or bool(self.case_bans)

    @property
    def banned_until(self) -> datetime | None:
        """When the last of the bans will be over. None: never, or there is none."""
        ends = [ban.until for ban in self.bans.values()]
        return max((end for end in ends if end is not None), default=None) if None not in ends else None

    @property
    def wake_at(self) -> datetime | None:
        """When a session falls silent or a ban is over."""
        times = [session.silent_at for session in self.sessions]
        times += [ban.over_at for ban in self.bans.values() if ban.until]
        return min(times) if times else None


USER: Final = Entity(
    "user",
    key="user",
    flow=Flow.LIVE,
    state=User,
    commands=(SignUp, OpenSession, Beat, AskPresence, CloseSession, Ban, Unban, EraseUser),
    facts=(
        UserSignedUp, SignUpRepeated, UserRefused, SessionOpened, SessionClosed, CameOnline, WentOffline, UserBanned,
        BanEnded, UserUnbanned, PresenceTold, UserErased, ErasureRepeated,
    ),
    shown=(
        Shown(UserBanned, ("user",), "the phone is told, and not by whom", ("by",)),
        Shown(UserErased, ("user",), "the phone forgets its user, too", ("by", "reason")),
    ),
)  # fmt: skip
