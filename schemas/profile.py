"""Profiles, in two parts that never share a topic: `profile` (what everybody may see) and `private_profile` (for the owner and,
each time with a reason that is kept, for staff). The facts about the private part name its fields, never their contents."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.erased import mark_ends
from schemas.log.base import Fields, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import CONTACT, PLAIN, WORDS
from schemas.user import Code, OptionalUser, Short, User_, UserCommand, UserErased, UserFact

MAX_PHOTOS: Final = 10
MAX_LANGUAGES: Final = 10
LOWEST_AGE: Final = 18

# What may be written, by whichever door it comes: a phone's, or an old back end's rows.
NAME_PATTERN: Final = r"^[^\x00-\x1f]+$"
WORD_PATTERN: Final = r"^[^\x00-\x1f]*$"
ABOUT_PATTERN: Final = r"^[^\x00]*$"
PHOTO_PATTERN: Final = r"^https?://[^\s\x00-\x1f]+$"
EMAIL_PATTERN: Final = r"^([^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+)?$"
PHONE_PATTERN: Final = r"^(\+[0-9]{6,20})?$"

Url = Annotated[str, Meta(max_length=1024), WORDS]
About = Annotated[str, Meta(max_length=500), WORDS]
Line = Annotated[str, Meta(max_length=256)]
# Auditors read the words of staff for as long as there are readings.
Why = Annotated[Line, PLAIN]
Photos = Annotated[tuple[Url, ...], Meta(max_length=MAX_PHOTOS)]
Languages = Annotated[tuple[Code, ...], Meta(max_length=MAX_LANGUAGES)]
# Nobody below 18 has a profile; 0: not told.
Age = Annotated[int, Meta(ge=0, le=120)]


class PutProfile(UserCommand):
    """The public part is like this from now on."""

    name: Annotated[Short, CONTACT]
    age: Age = 0
    country: Code = ""
    languages: Languages = ()
    photos: Photos = ()
    about: About = ""


class ProfileRefusal(StrEnum):
    """Why a profile was not changed, or a private one not shown."""

    PROFILE_UNKNOWN = "profile_unknown"
    PROFILE_ERASED = "profile_erased"


class ProfileFields(Fields):
    """What a public profile says."""

    name: Annotated[Short, CONTACT]
    age: int = 0
    country: Code = ""
    languages: Languages = ()
    photos: Photos = ()
    about: About = ""


class ProfilePut(UserFact, ProfileFields):
    """The public part is like this."""


class ProfileRefused(UserFact, Refused):
    """Nothing was changed: the user was erased."""

    refusal: ProfileRefusal


class _Erasable(State):
    """`erased_at`: the user was erased then, and nothing else is known; for a day, so that what comes late is refused."""

    erased_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When the mark of an erasure is forgotten."""
        return mark_ends(self.erased_at)


class Profile(_Erasable, ProfileFields):
    """What everybody may see of a user."""

    name: Annotated[Short, CONTACT] = ""
    changed_at: Time | None = None


# --- what may be written ----------------------------------------------------------------------------------------------------

_FIT: Final[Mapping[str, tuple[str, str]]] = {
    "name": (NAME_PATTERN, "a name has a letter, and no control characters"),
    "about": (ABOUT_PATTERN, "it has a NUL"),
    "photos": (PHOTO_PATTERN, "a photo is an address that begins with https:// or http://, without spaces"),
    "email": (EMAIL_PATTERN, "it is no address of mail"),
    "phone": (PHONE_PATTERN, "a phone number is + and digits, such as +4915112345678"),
    **dict.fromkeys(("country", "locale", "platform", "languages", "legal_name"), (WORD_PATTERN, "it has control characters")),
}


def unfit_fields(given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Which fields of a profile, or of a sign-up, say what nobody could have written by the API, and why."""
    for field, (pattern, why) in _FIT.items():
        found = given.get(field, ())
        texts = found if isinstance(found, list | tuple) else (found,)
        if any(isinstance(one, str) and not re.fullmatch(pattern, one) for one in texts):
            yield field, why
    age = given.get("age", 0)
    if isinstance(age, int) and 0 < age < LOWEST_AGE:
        yield "age", f"nobody below {LOWEST_AGE} has a profile"
    if (born := given.get("birth_date")) and not (isinstance(born, str) and date_of(born)):
        yield "birth_date", "it is no date such as 1990-01-31"


def date_of(text: str) -> date | None:
    """An ISO date; None: it is none, or empty."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


# --- private ----------------------------------------------------------------------------------------------------------------


class PutPrivateProfile(UserCommand):
    """The private part is like this from now on; `birth_date` is an ISO date, or empty."""

    birth_date: Annotated[Short, CONTACT] = ""
    email: Annotated[Line, CONTACT] = ""
    phone: Annotated[Short, CONTACT] = ""
    legal_name: Annotated[Line, CONTACT] = ""


class ReadPrivateProfile(UserCommand):
    """Staff wants to see it, and says why."""

    by: User_
    reason: Why


class PrivateProfilePut(UserFact):
    """The private part was changed; `told`: which of its fields are there now."""

    told: Annotated[tuple[Code, ...], Meta(max_length=16)] = ()


class PrivateProfileRead(UserFact):
    """Staff has seen it."""

    changes_state: ClassVar[bool] = False
    by: User_
    reason: Why


class PrivateProfileRefused(UserFact, Refused):
    """There is none, or (without `by`) nothing was changed, since the user was erased."""

    by: OptionalUser = ""
    refusal: ProfileRefusal


class PrivateProfile(_Erasable):
    """What only its owner, and staff with a reason, may see."""

    birth_date: Annotated[Short, CONTACT] = ""
    email: Annotated[Line, CONTACT] = ""
    phone: Annotated[Short, CONTACT] = ""
    legal_name: Annotated[Line, CONTACT] = ""


ProfileInbox = PutProfile | UserErased | Wake
PrivateProfileInbox = PutPrivateProfile | ReadPrivateProfile | UserErased | Wake
_FORGETS: Final = Hears(UserErased, "user", "what is personal is forgotten")

PROFILE: Final = Entity(
    "profile",
    key="user",
    flow=Flow.LIVE,
    state=Profile,
    commands=(PutProfile,),
    facts=(ProfilePut, ProfileRefused),
    hears=(_FORGETS,),
)
PRIVATE_PROFILE: Final = Entity(
    "private_profile",
    key="user",
    flow=Flow.LIVE,
    state=PrivateProfile,
    commands=(PutPrivateProfile, ReadPrivateProfile),
    facts=(PrivateProfilePut, PrivateProfileRead, PrivateProfileRefused),
    hears=(_FORGETS,),
    private=True,
)
