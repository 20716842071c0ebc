"""Calls, roulette and clips. A command's answer is its outcome: ringing, refused (and why), connected, ended.

What happens to a call afterwards comes on the feed: CallRinging, CallConnected, BillStepped, CreditLow, CallEnded and, the
receipt, BillClosed.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.billing import CallKind
from schemas.log.base import Fact, Message, UserId, derived_id, new_id, now
from schemas.user import USER, USER_ID_PATTERN, Role
from schemas.video import (
    CALL,
    CLIP,
    AcceptCall,
    Call,
    CallCommandRefused,
    CallConnected,
    CallEnded,
    CallRefusal,
    CallRefused,
    CallRepeated,
    CallRinging,
    CallStatus,
    ClipOffered,
    ClipRefused,
    DeclineCall,
    HangUp,
    OfferClip,
    PlaceCall,
    PlayClip,
)
from schemas.video_line import JoinRoulette, LeaveRoulette, LineRefusal, LineRefused
from serving.panel import tags_of
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.problems import Problem, responses
from serving.runtime.views import Views

router = APIRouter(tags=["calls"])

STATUS: Final = {
    CallRefusal.INSUFFICIENT_COINS: 402,
    CallRefusal.NOT_IN_CALL: 403,
    CallRefusal.NOT_CALLEE: 403,
    CallRefusal.CALLER_BANNED: 403,
    CallRefusal.CALL_UNKNOWN: 404,
    CallRefusal.CLIP_UNKNOWN: 404,
    CallRefusal.CALLER_UNKNOWN: 404,
    CallRefusal.CALLEE_UNKNOWN: 404,
    CallRefusal.NO_TARIFF: 503,
}
DETAIL: Final = {
    CallRefusal.CALL_UNKNOWN: "there is no such call, or it ended more than a day ago",
    CallRefusal.NOT_IN_CALL: "you are not in this call",
    CallRefusal.CALL_ENDED: "the call has ended",
    CallRefusal.NOT_RINGING: "the call does not ring",
    CallRefusal.NOT_CALLEE: "only the one who is called can take or decline a call",
    CallRefusal.SAME_USER: "you cannot call yourself",
    CallRefusal.CALLER_UNKNOWN: "you have not signed up; POST /v1/users does that",
    CallRefusal.CALLER_BANNED: "you are banned",
    CallRefusal.CALLER_BUSY: "you are in a call already, perhaps on another device",
    CallRefusal.CALLER_OFFLINE: "you are offline; open a session or the feed first",
    CallRefusal.BLOCKED: "one of you has blocked the other",
    CallRefusal.CALLEE_UNKNOWN: "there is no such user",
    CallRefusal.CALLEE_BANNED: "the one you call is banned",
    CallRefusal.CALLEE_OFFLINE: "the one you call is offline",
    CallRefusal.CALLEE_BUSY: "the one you call is in another call",
    CallRefusal.NO_TARIFF: "there is no tariff for such a call; an admin publishes one: PUT /v1/admin/tariffs/{id}",
    CallRefusal.INSUFFICIENT_COINS: "the payer has too few coins for the call's beginning",
    CallRefusal.CLIP_UNKNOWN: "there is no such clip, it was withdrawn, or it is another streamer's",
}
OF_ROULETTE: Final = {
    LineRefusal.UNKNOWN: (404, "you have not signed up; POST /v1/users does that"),
    LineRefusal.BANNED: (403, "you are banned"),
    LineRefusal.OFFLINE: (409, "you are offline; open a session or the feed first"),
    LineRefusal.BUSY: (409, "you are in a call"),
    LineRefusal.WAITING: (409, "you are waiting already"),
    LineRefusal.NOT_WAITING: (409, "you are not waiting"),
}

Name = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Key = Annotated[str, Header(alias="Idempotency-Key", max_length=128, pattern=r"^[\x21-\x7e]*$")]


class CallBody(BaseModel):
    """Whom to call."""

    model_config = ConfigDict(extra="forbid")
    to: Annotated[str, Field(pattern=USER_ID_PATTERN, examples=["sue"])]


class CallAnswer(BaseModel):
    """A call as it stands. `payer` pays by the tariff `tariff`, version `version`."""

    call: str
    status: str
    caller: str = ""
    callee: str = ""
    kind: str = ""
    ring_until: datetime | None = None
    connected_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    refusal: str | None = None
    tariff: str | None = None
    version: int | None = None


class ClipBody(BaseModel):
    """A recorded video that is offered; `active` false withdraws it."""

    model_config = ConfigDict(extra="forbid")
    title: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
    url: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^\s\x00-\x1f]+$")]
    duration_s: Annotated[int, Field(strict=True, ge=1, le=3 * 3600)]
    active: bool = True


class ClipAnswer(ClipBody):
    """An offered clip."""

    clip: str
    streamer: str


CALL_PROBLEMS: Final = responses(400, 401, 402, 403, 404, 409, 422, 503)


@router.post("/v1/calls", status_code=201, response_model=CallAnswer, responses={202: {"model": CallAnswer}, **CALL_PROBLEMS})
async def place(body: CallBody, caller: SignedIn, request: Request, response: Response, key: Key = "") -> Any:
    """Call somebody; answers when the other phone rings, or says why it does not."""
    views = views_of(request)
    command = PlaceCall(
        id=new_id(),
        at=now(),
        call=request_id(caller.user, f"call {key}") if key else new_id(),
        caller=UserId(caller.user),
        callee=UserId(body.to),
        kind=CallKind.DIRECT,
        caller_role=_role(views, caller.user, caller.role),
        callee_role=_role(views, body.to, Role.STREAMER),
        country=_country(views, caller.user),
        tags=tags_of(views, caller.user),
    )
    return _answered(await commands_of(request).ask(command), command.call, request, response)


def _role(views: Views, user: str, otherwise: Role) -> Role:
    known = views.of(USER).get(user)
    return known.role if known else otherwise


def _country(views: Views, user: str) -> str:
    known = views.of(USER).get(user)
    return known.country if known else ""


@router.post("/v1/calls/{call}/accept", response_model=CallAnswer, responses={202: {"model": CallAnswer}, **CALL_PROBLEMS})
async def accept(call: Name, caller: SignedIn, request: Request, response: Response) -> Any:
    """Take a call that rings."""
    return await _command(AcceptCall(id=new_id(), at=now(), call=call, by=UserId(caller.user)), request, response)


@router.post("/v1/calls/{call}/decline", response_model=CallAnswer, responses={202: {"model": CallAnswer}, **CALL_PROBLEMS})
async def decline(call: Name, caller: SignedIn, request: Request, response: Response) -> Any:
    """Do not take a call that rings."""
    return await _command(DeclineCall(id=new_id(), at=now(), call=call, by=UserId(caller.user)), request, response)


@router.post("/v1/calls/{call}/hang-up", response_model=CallAnswer, responses={202: {"model": CallAnswer}, **CALL_PROBLEMS})
async def hang_up(call: Name, caller: SignedIn, request: Request, response: Response) -> Any:
    """End a call, or give one up that still rings."""
    return await _command(HangUp(id=new_id(), at=now(), call=call, by=UserId(caller.user)), request, response)


async def _command(command: AcceptCall | DeclineCall | HangUp, request: Request, response: Response) -> CallAnswer:
    answer = _answered(await commands_of(request).ask(command), command.call, request, response)
    if response.status_code == 201:
        response.status_code = 200
    return answer


@router.get("/v1/calls/{call}", response_model=CallAnswer, responses=responses(401, 403, 404, 422, 503))
async def look(call: Name, caller: SignedIn, request: Request) -> Any:
    """A call of yours, until a day after its end."""
    return _shown(call, call_of(request, call, caller))


def call_of(request: Request, call: str, caller: Caller) -> Call:
    """A call that the caller may see. Errors: Problem 404."""
    state: Call | None = views_of(request).of(CALL).get(call)
    staff = caller.role in (Role.ADMIN, Role.SUPPORT)
    if state is None or not (staff or caller.user in (state.caller, state.callee)):
        raise problem_of(CallRefusal.CALL_UNKNOWN)
    return state


def _shown(name: str, call: Call) -> CallAnswer:
    return CallAnswer(
        call=name,
        status=call.status,
        caller=call.caller,
        callee=call.callee,
        kind=call.kind,
        ring_until=call.ring_until,
        connected_at=call.connected_at,
        ended_at=call.ended_at,
        reason=call.reason,
        refusal=call.refusal,
        tariff=call.tariff.tariff if call.tariff else None,
        version=call.tariff.version if call.tariff else None,
    )


def problem_of(refusal: CallRefusal, shortfall_coins: int = 0) -> Problem:
    """A refusal as HTTP says it."""
    more: dict[str, Any] = {"shortfall_coins": shortfall_coins} if shortfall_coins else {}
    problem = Problem(STATUS.get(refusal, 409), refusal, DETAIL[refusal], **more)
    if problem.status == 503:
        problem.headers = {"Retry-After": "60"}
    return problem


def _answered(fact: Fact | None, call: str, request: Request, response: Response) -> CallAnswer:
    """The answer that a fact about a call is. Errors: Problem, for a refusal."""
    response.headers["Location"] = f"/v1/calls/{call}"
    response.status_code = 201
    match fact:
        case CallRefused() | CallRepeated() if fact.refusal is not None:
            raise problem_of(fact.refusal, fact.shortfall_coins)
        case CallCommandRefused() | ClipRefused():
            raise problem_of(fact.refusal)
        case CallRinging():
            return CallAnswer(**_sides(fact), status=CallStatus.RINGING, ring_until=fact.until)
        case CallConnected():
            return CallAnswer(**_sides(fact), status=CallStatus.CONNECTED, connected_at=fact.at)
        case CallEnded():
            return CallAnswer(**_sides(fact), status=CallStatus.ENDED, ended_at=fact.at, reason=fact.reason)
    known: Call | None = views_of(request).of(CALL).get(call)
    if not isinstance(fact, CallRepeated) or fact.status is CallStatus.PLACING:
        response.status_code = 202
    return _shown(call, known) if known else CallAnswer(call=call, status=CallStatus.PLACING)


def _sides(fact: CallRinging | CallConnected | CallEnded) -> dict[str, Any]:
    return {"call": fact.call, "caller": fact.caller, "callee": fact.callee, "kind": fact.kind}


# --- roulette ---------------------------------------------------------------------------------------------------------------


@router.post("/v1/roulette", status_code=202, responses=responses(401, 403, 404, 409, 503))
async def join(caller: SignedIn, request: Request) -> dict[str, str]:
    """Wait for a partner; the match's call comes on the feed."""
    tags = tags_of(views_of(request), caller.user)
    await _roulette(JoinRoulette(id=new_id(), at=now(), user=UserId(caller.user), tags=tags), request)
    return {"status": "waiting"}


@router.delete("/v1/roulette", status_code=204, responses=responses(401, 403, 404, 409, 503))
async def leave(caller: SignedIn, request: Request) -> None:
    """Do not wait any more."""
    await _roulette(LeaveRoulette(id=new_id(), at=now(), user=UserId(caller.user)), request)


async def _roulette(command: Message, request: Request) -> None:
    fact = await commands_of(request).ask(command)
    if isinstance(fact, LineRefused):
        status, detail = OF_ROULETTE[fact.refusal]
        raise Problem(status, fact.refusal, detail)


# --- clips ------------------------------------------------------------------------------------------------------------------


@router.put("/v1/clips/{clip}", response_model=ClipAnswer, responses=responses(400, 401, 403, 404, 422, 503))
async def offer(clip: Name, body: ClipBody, caller: SignedIn, request: Request) -> Any:
    """Offer a recorded video, or change the offer: for streamers."""
    if caller.role is not Role.STREAMER:
        raise Problem(403, "forbidden", f"clips are offered by streamers, the token has the role {caller.role}")
    command = OfferClip(id=new_id(), at=now(), clip=clip, streamer=UserId(caller.user), **body.model_dump())
    fact = await commands_of(request).ask(command)
    if isinstance(fact, ClipRefused):
        raise problem_of(fact.refusal)
    assert fact is None or isinstance(fact, ClipOffered)
    return ClipAnswer(clip=clip, streamer=caller.user, **body.model_dump())


@router.get("/v1/clips", response_model=list[ClipAnswer], responses=responses(401, 403, 503))
async def clips(_: SignedIn, request: Request) -> Any:
    """The clips that are offered."""
    known = views_of(request).of(CLIP).items()
    return [
        ClipAnswer(clip=name, streamer=c.streamer, title=c.title, url=c.url, duration_s=c.duration_s)
        for name, c in known
        if c.active
    ]


@router.post(
    "/v1/clips/{clip}/plays", status_code=201, response_model=CallAnswer,
    responses={202: {"model": CallAnswer}, **CALL_PROBLEMS},
)  # fmt: skip
async def play(clip: Name, caller: SignedIn, request: Request, response: Response, key: Key = "") -> Any:
    """Watch a clip: a priced call without a callee, which ends with the clip, or when you hang up."""
    views = views_of(request)
    call = request_id(caller.user, f"clip {key}") if key else new_id()
    command = PlayClip(
        id=new_id(), at=now(), clip=clip, call=call, viewer=UserId(caller.user),
        viewer_role=_role(views, caller.user, caller.role), country=_country(views, caller.user),
        tags=tags_of(views, caller.user),
    )  # fmt: skip
    fact = await commands_of(request).ask(command, told=derived_id(command.id, 0))
    return _answered(fact, call, request, response)
