"""Profiles: `PUT /v1/profile`, `GET /v1/profiles/{user}`; the private part, read by its owner, or by staff for a reason."""

from datetime import date
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, BackgroundTasks, Query, Request
from pydantic import BaseModel, Field

from schemas.interaction import RecordView
from schemas.log.base import UserId, new_id, now
from schemas.pair import pair_of
from schemas.profile import (
    ABOUT_PATTERN,
    EMAIL_PATTERN,
    LOWEST_AGE,
    MAX_LANGUAGES,
    MAX_PHOTOS,
    NAME_PATTERN,
    PHONE_PATTERN,
    PRIVATE_PROFILE,
    PROFILE,
    PrivateProfile,
    PrivateProfilePut,
    PrivateProfileRead,
    ProfilePut,
    ProfileRefusal,
    PutPrivateProfile,
    PutProfile,
    ReadPrivateProfile,
    date_of,
)
from schemas.video_line import LINE
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import UserInPath, WebUrl, Word
from serving.runtime.gate import Acting, Looking, takes_part
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import USER_ERASED, Refusals, refusal_of
from serving.runtime.staff import PrivateLook

router = APIRouter(tags=["profiles"])

REFUSED: Final[Refusals] = {
    ProfileRefusal.PROFILE_UNKNOWN: (404, "there is no private profile"),
    ProfileRefusal.PROFILE_ERASED: USER_ERASED,
}

Reason = Annotated[str, Query(min_length=3, max_length=256, description="why; it is kept with your name")]


class ProfileBody(RequestBody):
    """What everybody may see."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=NAME_PATTERN, examples=["Sue"])]
    age: Annotated[int, Field(strict=True, ge=LOWEST_AGE, le=120)] | None = None
    country: Word = ""
    languages: Annotated[list[Word], Field(max_length=MAX_LANGUAGES)] = []
    photos: Annotated[list[WebUrl], Field(max_length=MAX_PHOTOS)] = []
    about: Annotated[str, Field(max_length=500, pattern=ABOUT_PATTERN)] = ""


class ProfileAnswer(BaseModel):
    """A user's public profile, as it stands: what is read is not held against what may be written today."""

    user: str
    name: str
    age: int | None = None
    country: str = ""
    languages: list[str] = []
    photos: list[str] = []
    about: str = ""


class PrivateProfileBody(RequestBody):
    """What only you, and staff with a reason, may see."""

    birth_date: date | None = None
    email: Annotated[str, Field(max_length=256, pattern=EMAIL_PATTERN)] = ""
    phone: Annotated[str, Field(max_length=32, pattern=PHONE_PATTERN, examples=["+4915112345678"])] = ""
    legal_name: Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f]*$")] = ""


class PrivateProfileAnswer(BaseModel):
    """A user's private profile, as it stands."""

    user: str
    birth_date: date | None = None
    email: str = ""
    phone: str = ""
    legal_name: str = ""


@router.put("/v1/profile", response_model=ProfileAnswer, responses=responses(400, 401, 403, 404, 422, 503))
async def put_profile(body: ProfileBody, caller: Acting, request: Request) -> Any:
    """Replace your public profile."""
    given = body.model_dump() | {"age": body.age or 0, "languages": tuple(body.languages), "photos": tuple(body.photos)}
    await commands_of(request).ask(PutProfile(id=new_id(), at=now(), user=UserId(caller.user), **given), ProfilePut)
    return ProfileAnswer(user=caller.user, **body.model_dump())


@router.get("/v1/profiles/{user}", response_model=ProfileAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_profile(user: UserInPath, caller: Looking, request: Request, background: BackgroundTasks) -> Any:
    """Somebody's public profile; not theirs who are banned, or between whom and you a block stands."""
    views = views_of(request)
    known = views.of(PROFILE).get(user)
    theirs, own = (views.of(LINE).get(side) for side in (user, caller.user))
    gone = user != caller.user and not takes_part(views, user)
    if known is None or gone or (theirs and caller.user in theirs.barred) or (own and user in own.barred):
        raise Problem(404, "profile_unknown", "there is no such profile")
    shown = msgspec.to_builtins(known) | {"age": known.age or None, "user": user}
    shown.pop("changed_at", None)
    if user != caller.user:
        view = RecordView(id=new_id(), at=now(), pair=pair_of(caller.user, user), user=UserId(caller.user), peer=UserId(user))
        background.add_task(commands_of(request).note, view)
    return ProfileAnswer(**shown)


@router.put("/v1/profile/private", response_model=PrivateProfileAnswer, responses=responses(400, 401, 403, 404, 422, 503))
async def put_private_profile(body: PrivateProfileBody, caller: Acting, request: Request) -> Any:
    """Replace your private profile."""
    given = body.model_dump() | {"birth_date": body.birth_date.isoformat() if body.birth_date else ""}
    command = PutPrivateProfile(id=new_id(), at=now(), user=UserId(caller.user), **given)
    await commands_of(request).ask(command, PrivateProfilePut)
    return PrivateProfileAnswer(user=caller.user, **body.model_dump())


@router.get("/v1/profile/private", response_model=PrivateProfileAnswer, responses=responses(401, 403, 404, 503))
async def read_own_private_profile(caller: SignedIn, request: Request) -> Any:
    """Your private profile."""
    return _private(caller.user, request)


@router.get(
    "/v1/admin/profiles/{user}/private", response_model=PrivateProfileAnswer, responses=responses(401, 403, 404, 422, 503)
)
async def read_private_profile(user: UserInPath, reason: Reason, caller: PrivateLook, request: Request) -> Any:
    """Somebody's private profile: that you read it, and why, is kept."""
    command = ReadPrivateProfile(id=new_id(), at=now(), user=UserId(user), by=UserId(caller.user), reason=reason)
    await commands_of(request).ask(command, PrivateProfileRead)
    return _private(user, request)


def _private(user: str, request: Request) -> PrivateProfileAnswer:
    known: PrivateProfile | None = views_of(request).of(PRIVATE_PROFILE).get(user)
    if known is None or known.erased_at is not None:
        raise refusal_of(request, ProfileRefusal.PROFILE_UNKNOWN)
    return PrivateProfileAnswer(
        user=user, birth_date=date_of(known.birth_date), email=known.email, phone=known.phone, legal_name=known.legal_name
    )  # fmt: skip
