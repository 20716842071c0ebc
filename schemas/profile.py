"""Profiles, in two parts that never share a topic: `profile` (what everybody may see) and `private_profile` (for the owner and,
each time with a reason that is kept, for staff). The facts about the private part name its fields, never their contents."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.log.base import Fact, Message, Refused, State, Time, UserId, Wake
from schemas.log.entity import Entity, Flow
from schemas.user import Short, User_

MAX_PHOTOS: Final = 10
MAX_LANGUAGES: Final = 10

Url = Annotated[str, Meta(max_length=1024)]
About = Annotated[str, Meta(max_length=500)]
Line = Annotated[str, Meta(max_length=256)]
Photos = Annotated[tuple[Url, ...], Meta(max_length=MAX_PHOTOS)]
Languages = Annotated[tuple[Short, ...], Meta(max_length=MAX_LANGUAGES)]
# Nobody below 18 has a profile; 0: not told.
Age = Annotated[int, Meta(ge=0, le=120)]


class PutProfile(Message):
    """The public part is like this from now on."""

    user: User_
    name: Short
    age: Age = 0
    country: Short = ""
    languages: Languages = ()
    photos: Photos = ()
    about: About = ""


class ProfilePut(Fact):
    """The public part is like this."""

    user: UserId
    name: str
    age: int = 0
    country: str = ""
    languages: tuple[str, ...] = ()
    photos: tuple[str, ...] = ()
    about: str = ""


class Profile(State):
    """What everybody may see of a user."""

    name: str
    age: int = 0
    country: str = ""
    languages: tuple[str, ...] = ()
    photos: tuple[str, ...] = ()
    about: str = ""
    changed_at: Time | None = None


# --- private ----------------------------------------------------------------------------------------------------------------


class ProfileRefusal(StrEnum):
    """Why a private profile was not shown."""

    PROFILE_UNKNOWN = "profile_unknown"


class PutPrivateProfile(Message):
    """The private part is like this from now on; `birth_date` is an ISO date, or empty."""

    user: User_
    birth_date: Short = ""
    email: Line = ""
    phone: Short = ""
    legal_name: Line = ""


class ReadPrivateProfile(Message):
    """Staff wants to see it, and says why."""

    user: User_
    by: User_
    reason: Line


class PrivateProfilePut(Fact):
    """The private part was changed; `told`: which of its fields are there now."""

    user: UserId
    told: tuple[str, ...] = ()


class PrivateProfileRead(Fact):
    """Staff has seen it."""

    changes_state: ClassVar[bool] = False
    user: UserId
    by: UserId
    reason: str


class PrivateProfileRefused(Refused):
    """There is none."""

    user: UserId
    by: UserId
    refusal: ProfileRefusal


class PrivateProfile(State):
    """What only its owner, and staff with a reason, may see."""

    birth_date: str = ""
    email: str = ""
    phone: str = ""
    legal_name: str = ""


ProfileInbox = PutProfile | Wake
PrivateProfileInbox = PutPrivateProfile | ReadPrivateProfile | Wake

PROFILE: Final = Entity("profile", key="user", flow=Flow.LIVE, state=Profile, commands=(PutProfile,), facts=(ProfilePut,))
PRIVATE_PROFILE: Final = Entity(
    "private_profile",
    key="user",
    flow=Flow.LIVE,
    state=PrivateProfile,
    commands=(PutPrivateProfile, ReadPrivateProfile),
    facts=(PrivateProfilePut, PrivateProfileRead, PrivateProfileRefused),
    private=True,
)
