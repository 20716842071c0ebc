"""Users: sign up, sessions and their beats, and an operator's bans.

`POST /v1/users` signs the token's user up, `GET /v1/users/me` tells what is known; `POST /v1/sessions` logs a phone in, which
beats every ten seconds while it is there (or holds its feed open); `PUT /v1/admin/bans/{user}` closes all that a user has open.
"""

import asyncio
import time
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, Field

from schemas.balance import coins_account, earnings_account
from schemas.log.base import UserId, new_id, now
from schemas.user import (
    BEAT_EVERY_S,
    USER,
    Ban,
    Beat,
    CloseSession,
    OpenSession,
    SessionClosed,
    SessionOpened,
    SignUp,
    SignUpRepeated,
    Unban,
    User,
    UserBanned,
    UserRefusal,
    UserSignedUp,
    UserUnbanned,
    mark_of,
)
from serving.body import Name, RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.devices import Device
from serving.runtime.fields import KeptMoment, OptionalIdempotencyKey, UserInPath, Word
from serving.runtime.gate import Acting, unless_erased
from serving.runtime.later import Later, Pending, accepted
from serving.runtime.presence import call_beats
from serving.runtime.problems import responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import PeopleChange, unless_above
from serving.runtime.views import Views

router = APIRouter(tags=["users"])

# The accounts open one transaction after the sign-up; a client that asks for them, or for itself, next should find both.
OPENED_S: Final = 1.0

PushToken = Annotated[str, Field(max_length=512, pattern=r"^[^\x00-\x1f]*$")]
OneSignalId = Annotated[
    str,
    Field(
        pattern=r"^([0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?$",
        description="the phone's subscription at OneSignal, where you push by it",
    ),
]
SessionId = Annotated[str, Path(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
REFUSED: Final[Refusals] = {
    UserRefusal.USER_UNKNOWN: (404, "{user} has not signed up; POST /v1/users does that"),
    UserRefusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used with other contents; see GET /v1/users/me"),
    UserRefusal.ALREADY_SIGNED_UP: (409, "{user} has signed up before; see GET /v1/users/me"),
    UserRefusal.BANNED: (403, "{user} is banned"),
    UserRefusal.SESSION_UNKNOWN: (404, "the session is unknown or has ended; open a new one: POST /v1/sessions"),
    UserRefusal.NOT_BANNED: (404, "{user} is not banned"),
}


class PhoneBody(RequestBody):
    """What an app tells of the phone that it runs on."""

    platform: Word = ""
    locale: Word = ""
    app_version: Word = ""


class SignUpBody(PhoneBody):
    """What the app knows of its user; all of it may be left out."""

    country: Word = ""
    appsflyer_id: Word = ""


class SessionBody(PhoneBody):
    """A phone that logs in. `device` is its own stable name: the same device again replaces its old session."""

    device: Name
    push_token: PushToken = ""
    voip_token: PushToken = ""
    onesignal_id: OneSignalId = ""


class SessionAnswer(BaseModel):
    """An open session."""

    session: str
    beat_every_s: int


class BanBody(RequestBody):
    """Why, and until when (none: for good)."""

    reason: Name
    until: KeptMoment | None = None


class UserAnswer(BaseModel):
    """A signed-up user. `banned_until` null while `banned`: for good."""

    user: str
    role: str
    signed_up_at: datetime
    accounts: list[str]
    online: bool = False
    banned: bool = False
    banned_until: datetime | None = None


@router.post(
    "/v1/users", status_code=201, response_model=UserAnswer,
    responses={**accepted(Pending), **responses(401, 403, 409, 422, 503)},
)  # fmt: skip
async def sign_up(
    caller: SignedIn,
    request: Request,
    response: Response,
    key: OptionalIdempotencyKey = "",
    body: Annotated[SignUpBody | None, Body()] = None,
) -> Any:
    """Sign up the user of the token; opens `<user>/coins` and `<user>/earnings`."""
    phone = body or SignUpBody()
    request_key = f"{request_id(caller.user, key)}/{request_id(key, phone.model_dump_json())[:8]}" if key else ""
    command = SignUp(
        id=new_id(), at=now(), user=UserId(caller.user), role=caller.role, request=request_key, **phone.model_dump()
    )
    later = Later("/v1/users/me", Pending())
    fact = await commands_of(request).ask(command, UserSignedUp, SignUpRepeated, later=later)
    response.headers["Location"] = later.location
    await _opened(views_of(request), caller.user)
    return _answer(caller.user, User(fact.role, fact.signed_up_at if isinstance(fact, SignUpRepeated) else fact.at))


@router.get("/v1/users/me", response_model=UserAnswer, responses=responses(401, 403, 404, 503))
async def read_own_user(caller: SignedIn, request: Request) -> Any:
    """The signed-up user of the token."""
    user = unless_erased(request, caller.user)
    if user is None:
        raise refusal_of(request, UserRefusal.USER_UNKNOWN, user=caller.user)
    return _answer(caller.user, user)


@router.post(
    "/v1/sessions", status_code=201, response_model=SessionAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503)
)
async def open_session(body: SessionBody, caller: Acting, request: Request) -> Any:
    """Log a phone in: the user is online while one of the sessions beats."""
    command = OpenSession(id=new_id(), at=now(), user=UserId(caller.user), session=new_id(), **body.model_dump())
    await commands_of(request).ask(command, SessionOpened)
    return SessionAnswer(session=command.session, beat_every_s=BEAT_EVERY_S)


@router.post("/v1/sessions/{session}/beat", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def beat_session(session: SessionId, caller: Acting, device: Device, request: Request) -> None:
    """The phone is there: every ten seconds; during a call every five, which counts for the call as well.

    Nothing is decided on a beat, so the answer comes as soon as the log has it."""
    views = views_of(request)
    user = views.of(USER).get(caller.user)
    opened = next((one for one in user.sessions if one.session == session), None) if user else None
    if opened is None:
        raise refusal_of(request, UserRefusal.SESSION_UNKNOWN)
    mine = Beat(id=new_id(), at=now(), user=UserId(caller.user), session=session)
    await commands_of(request).tell(mine, *call_beats(views, caller.user, (mark_of(opened.device), device)))


@router.delete("/v1/sessions/{session}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def close_session(session: SessionId, caller: Acting, request: Request) -> None:
    """Log a phone out."""
    command = CloseSession(id=new_id(), at=now(), user=UserId(caller.user), session=session)
    await commands_of(request).ask(command, SessionClosed, urgent=True)


@router.put("/v1/admin/bans/{user}", status_code=204, responses=responses(400, 401, 403, 404, 422, 503))
async def ban_user(user: UserInPath, body: BanBody, caller: PeopleChange, request: Request) -> None:
    """Ban a user: sessions close, a call ends, nothing new begins. A ban never shortens one that stands: end that one first.
    Nobody bans whoever may do more than they."""
    unless_above(request, caller, user)
    command = Ban(id=new_id(), at=now(), user=UserId(user), reason=body.reason, by=caller.user, until=body.until)
    await commands_of(request).ask(command, UserBanned, urgent=True)


@router.delete("/v1/admin/bans/{user}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def unban_user(user: UserInPath, caller: PeopleChange, request: Request) -> None:
    """End every ban of a user, those that followed from blocks, too."""
    await commands_of(request).ask(Unban(id=new_id(), at=now(), user=UserId(user), by=caller.user), UserUnbanned)


def _answer(name: str, user: User) -> UserAnswer:
    return UserAnswer(
        user=name,
        role=user.role,
        signed_up_at=user.signed_up_at,
        accounts=[f"{name}/coins", f"{name}/earnings"],
        online=bool(user.sessions),
        banned=user.banned,
        banned_until=user.banned_until,
    )


async def _opened(views: Views, user: str) -> None:
    accounts, users = (coins_account(user), earnings_account(user)), views.of(USER)
    deadline = time.monotonic() + OPENED_S
    while not (all(map(views.balance, accounts)) and user in users) and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
