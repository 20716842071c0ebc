"""The user's messages and state: who has signed up, which phones are open, who is online, who is banned."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.log.base import Fact, Id, Message, Refused, State, Time, UserId, Wake
from schemas.log.entity import Entity, Flow, Shown

# Firebase allows 1-128 characters; "/" and "@" are kept for account ids.
USER_ID_PATTERN = r"^[^/@\s][^/\s]{0,127}$"
User_ = Annotated[UserId, Meta(min_length=1, max_length=128)]
Short = Annotated[str, Meta(max_length=64)]
PushToken = Annotated[str, Meta(max_length=512)]

# A phone beats every BEAT_EVERY_S; one that has not for OFFLINE_AFTER_S is gone: three beats may be lost on a bad line.
BEAT_EVERY_S: Final = 10
OFFLINE_AFTER: Final = timedelta(seconds=45)


class Role(StrEnum):
    """A token's role (a Firebase custom claim)."""

    USER = "user"
    STREAMER = "streamer"
    AGENCY = "agency"
    SUPPORT = "support"
    ADMIN = "admin"


class UserRefusal(StrEnum):
    """Why a user's command was refused, in order of precedence."""

    USER_UNKNOWN = "user_unknown"
    ALREADY_SIGNED_UP = "already_signed_up"
    BANNED = "banned"
    SESSION_UNKNOWN = "session_unknown"
    NOT_BANNED = "not_banned"


class CloseReason(StrEnum):
    """Why a session ended."""

    LOGGED_OUT = "logged_out"
    TIMED_OUT = "timed_out"
    BANNED = "banned"
    REPLACED = "replaced"


class UserCommand(Message):
    """A command to an entity that is keyed by a user; several domains have such entities."""

    user: User_


class UserFact(Fact):
    """A fact of an entity that is keyed by a user."""

    user: UserId


class PeerCommand(UserCommand):
    """A command that is about `user` and one other user, `peer`."""

    peer: User_


class PeerFact(UserFact):
    """A fact about `user` and one other user, `peer`."""

    peer: UserId


# --- the user's inbox -------------------------------------------------------------------------------------------------------


class SignUp(UserCommand):
    """A verified token's user wants to be known. `request` is the client's idempotency key, or empty; `appsflyer_id` names the
    app on this phone, which is how a campaign is known."""

    role: Role
    request: str = ""
    platform: Short = ""
    locale: Short = ""
    app_version: Short = ""
    country: Short = ""
    appsflyer_id: Short = ""


class OpenSession(UserCommand):
    """A phone logs in: it is a session until it logs out or falls silent. The same device again replaces its old session."""

    session: Id
    device: Short
    platform: Short = ""
    app_version: Short = ""
    locale: Short = ""
    push_token: PushToken = ""
    voip_token: PushToken = ""


class Beat(UserCommand):
    """A session is alive."""

    session: Id


class CloseSession(UserCommand):
    """A phone logs out."""

    session: Id


class Ban(UserCommand):
    """Close everything that the user has open and let nothing new begin, until `until` (None: for good)."""

    reason: Short
    by: str
    until: Time | None = None


class Unban(UserCommand):
    """End a ban."""

    by: str


UserInbox = SignUp | OpenSession | Beat | CloseSession | Ban | Unban | Wake


# --- what a user tells ------------------------------------------------------------------------------------------------------


class _OfUser(Fact):
    user: User_


class UserSignedUp(_OfUser):
    """The user is known from `at` on."""

    role: Role
    platform: str = ""
    locale: str = ""
    app_version: str = ""
    country: str = ""
    appsflyer_id: str = ""


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
    device: str
    platform: str = ""
    app_version: str = ""


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


class UserBanned(_OfUser):
    """The user is banned until `until` (None: for good)."""

    reason: str
    by: str
    until: Time | None = None


class UserUnbanned(_OfUser):
    """The ban ended: lifted (`by`), or over (`by` is empty)."""

    by: str = ""


# --- state ------------------------------------------------------------------------------------------------------------------


class Session(State):
    """An open session: the phone, and its last beat."""

    session: str
    device: str
    opened_at: Time
    beat_at: Time
    platform: str = ""
    push_token: str = ""
    voip_token: str = ""

    @property
    def silent_at(self) -> datetime:
        """When it counts as gone unless it beats again."""
        return self.beat_at + OFFLINE_AFTER


class BanState(State):
    """A standing ban."""

    reason: str
    by: str
    at: Time
    until: Time | None = None


class User(State):
    """A known user; online while there are sessions."""

    role: Role
    signed_up_at: Time
    request: Id = "-"
    country: str = ""
    online_since: Time | None = None
    sessions: tuple[Session, ...] = ()
    ban: BanState | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When a session falls silent or a ban is over."""
        times = [session.silent_at for session in self.sessions]
        if self.ban and self.ban.until:
            times.append(self.ban.until)
        return min(times) if times else None


USER: Final = Entity(
    "user",
    key="user",
    flow=Flow.LIVE,
    state=User,
    commands=(SignUp, OpenSession, Beat, CloseSession, Ban, Unban),
    facts=(
        UserSignedUp, SignUpRepeated, UserRefused, SessionOpened, SessionClosed, CameOnline, WentOffline, UserBanned,
        UserUnbanned,
    ),
    shown=(Shown(UserBanned, ("user",), "the phone is told"),),
)  # fmt: skip
