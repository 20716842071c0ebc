"""Calls and clips. A command's answer is its outcome: ringing, refused (and why), connected, ended.

What happens to a call afterwards comes on the feed: CallRinging, CallConnected, BillStepped, CreditLow, CallEnded and, the
receipt, BillClosed.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from msgspec.structs import asdict
from pydantic import BaseModel, Field

from infra.film_urls import secret_of, signed
from schemas.balance_ledger import Ledger
from schemas.billing_rules import CallKind
from schemas.log.base import UserId, derive, new_id, now
from schemas.user import USER_ID_PATTERN, Role
from schemas.video import (
    CALL,
    CALLER_IS_TOLD,
    AcceptCall,
    Call,
    CallConnected,
    CallEnded,
    CallRefusal,
    CallRepeated,
    CallRinging,
    CallStatus,
    DeclineCall,
    HangUp,
    PlaceCall,
)
from schemas.video_clip import CLIP, Clip, ClipOffered, OfferClip, PlayClip
from schemas.video_length import sides
from serving.body import Name, RequestBody
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.devices import Device
from serving.runtime.fields import IdInPath, OptionalIdempotencyKey, WebUrl
from serving.runtime.gate import Acting, ActingStreamer, Looking, takes_part
from serving.runtime.later import Later, NotDecided, accepted
from serving.runtime.ledgers import PaidIn, pay_with
from serving.runtime.lookups import call_of, country_of, price_class_of, role_of, tags_of
from serving.runtime.problems import responses
from serving.runtime.refusals import Refusals

router = APIRouter(tags=["calls"])

# A phone that buffers may still read the film's end.
FILM_LASTS_ON: Final = timedelta(seconds=60)

REFUSED: Final[Refusals] = {
    CallRefusal.CALL_UNKNOWN: (404, "there is no such call, or it ended more than a day ago"),
    CallRefusal.NOT_IN_CALL: (403, "you are not in this call"),
    CallRefusal.CALL_ENDED: (409, "the call has ended"),
    CallRefusal.NOT_RINGING: (409, "the call does not ring"),
    CallRefusal.NOT_CALLEE: (403, "only the one who is called can take or decline a call"),
    CallRefusal.SAME_USER: (409, "you cannot call yourself"),
    CallRefusal.CALLER_UNKNOWN: (404, "you have not signed up; POST /v1/users does that"),
    CallRefusal.CALLER_NO_TALKER: (403, "only users and streamers call"),
    CallRefusal.CALLER_BANNED: (403, "you are banned"),
    CallRefusal.CALLER_BUSY: (409, "you are in a call already, perhaps on another device"),
    CallRefusal.CALLER_OFFLINE: (409, "you are offline; open a session or the feed first"),
    CallRefusal.BLOCKED: (409, "you have blocked this user"),
    CallRefusal.CALLEE_UNKNOWN: (404, "there is no such user"),
    CallRefusal.CALLEE_OFFLINE: (409, "the one you call is offline, or cannot be reached"),
    CallRefusal.CALLEE_BUSY: (409, "the one you call is in another call"),
    CallRefusal.NO_TARIFF: (
        503,
        "there is no tariff for such a call; an admin publishes one: PUT /v1/admin/tariffs/{{id}}",
        60,
    ),
    CallRefusal.DAILY_CAP: (409, "your daily cap leaves too little for the call's beginning; see GET /v1/spending-cap"),
    CallRefusal.INSUFFICIENT_COINS: (402, "you have too few coins for the call's beginning"),
    CallRefusal.CLIP_UNKNOWN: (404, "there is no such clip, it was withdrawn, or it is another streamer's"),
    CallRefusal.NOT_PLACED: (409, "the call could not be placed in time; try again, with a new Idempotency-Key"),
    CallRefusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used for another call or clip; use a new one"),
}


class CallBody(RequestBody):
    """Whom to call."""

    to: Annotated[str, Field(pattern=USER_ID_PATTERN, examples=["sue"])]
    ledger: PaidIn = Ledger.ORDINARY


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
    url: Annotated[str | None, Field(description="of a clip that runs, to its viewer: the film's address, which expires")] = (
        None
    )


class ClipBody(RequestBody):
    """A recorded video that is offered; `active` false withdraws it."""

    title: Name
    url: WebUrl
    duration_s: Annotated[int, Field(strict=True, ge=1, le=3 * 3600)]
    active: bool = True


class ClipAnswer(ClipBody):
    """Your own clip, as it is offered."""

    clip: str
    streamer: str


class OfferedClipAnswer(BaseModel):
    """A clip that is offered. Its address comes with the play that is paid for."""

    clip: str
    streamer: str
    title: str
    duration_s: int


CALL_RESPONSES: Final = {**accepted(CallAnswer), **responses(400, 401, 402, 403, 404, 409, 422, 503)}


@router.post("/v1/calls", status_code=201, response_model=CallAnswer, responses=CALL_RESPONSES)
async def place_call(
    body: CallBody, caller: Acting, device: Device, request: Request, response: Response, *, key: OptionalIdempotencyKey = ""
) -> Any:
    """Call somebody; answers when the other phone rings, or says why it does not."""
    pay_with(body.ledger)
    views = views_of(request)
    roles = role_of(views, caller.user, caller.role), role_of(views, body.to, Role.STREAMER)
    _, earner = sides(caller.user, body.to, *roles)
    command = PlaceCall(
        id=new_id(),
        at=now(),
        call=request_id(caller.user, f"call {key}") if key else new_id(),
        caller=UserId(caller.user),
        callee=UserId(body.to),
        kind=CallKind.DIRECT,
        caller_role=roles[0],
        callee_role=roles[1],
        country=country_of(views, caller.user),
        tags=tags_of(views, caller.user),
        price_class=price_class_of(views, earner),
        caller_device=device,
    )
    later = _later(command.call)
    fact = await commands_of(request).ask(command, CallRinging, CallEnded, CallRepeated, later=later)
    response.headers["Location"] = later.location
    return _answer(fact, caller, request)


@router.post("/v1/calls/{call}/accept", response_model=CallAnswer, responses=CALL_RESPONSES)
async def accept_call(call: IdInPath, caller: Acting, device: Device, request: Request) -> Any:
    """Take a call that rings, on this phone."""
    command = AcceptCall(id=new_id(), at=now(), call=call, by=UserId(caller.user), device=device)
    later = _later_of(call, caller, request)
    return _answer(
        await commands_of(request).ask(command, CallConnected, CallEnded, CallRepeated, later=later, urgent=True),
        caller,
        request,
    )


@router.post("/v1/calls/{call}/decline", response_model=CallAnswer, responses=CALL_RESPONSES)
async def decline_call(call: IdInPath, caller: Acting, request: Request) -> Any:
    """Do not take a call that rings."""
    command = DeclineCall(id=new_id(), at=now(), call=call, by=UserId(caller.user))
    later = _later_of(call, caller, request)
    return _answer(await commands_of(request).ask(command, CallEnded, later=later, urgent=True), caller, request)


@router.post("/v1/calls/{call}/hang-up", response_model=CallAnswer, responses=CALL_RESPONSES)
async def hang_up_call(call: IdInPath, caller: Acting, request: Request) -> Any:
    """End a call, or give one up that still rings."""
    command = HangUp(id=new_id(), at=now(), call=call, by=UserId(caller.user))
    later = _later_of(call, caller, request)
    return _answer(await commands_of(request).ask(command, CallEnded, CallRepeated, later=later, urgent=True), caller, request)


@router.get("/v1/calls/{call}", response_model=CallAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_call(call: IdInPath, caller: SignedIn, request: Request) -> Any:
    """A call of yours, or as staff any, until a day after its end."""
    known = await call_of(request, call, caller)
    staff = caller.user not in (known.caller, known.callee)
    return _with_film(_shown(call, known, caller, staff=staff), caller, request)


def _shown(name: str, call: Call, caller: Caller, *, staff: bool = False) -> CallAnswer:
    """A call as it stands. Only staff sees a reason or a refusal that is about the other side."""
    tariff, version = (call.tariff.tariff, call.tariff.version) if call.tariff else (None, None)
    shown = asdict(call) | {"tariff": tariff, "version": version}
    if not staff:
        refusal = call.refusal and CALLER_IS_TOLD.get(call.refusal, call.refusal)
        shown |= {"reason": call.told_to(caller.user), "refusal": refusal}
    return CallAnswer(call=name, **shown)


def _later(call: str) -> Later:
    """Of a call that is being placed."""
    return Later(f"/v1/calls/{call}", CallAnswer(call=call, status=CallStatus.PLACING))


def _later_of(call: str, caller: Caller, request: Request) -> Later | None:
    """Of a command to a call: the call as it stands. None: the caller cannot look at this call, so there is nowhere to look."""
    known: Call | None = views_of(request).of(CALL).get(call)
    if known is None or caller.user not in (known.caller, known.callee):
        return None
    return Later(f"/v1/calls/{call}", _shown(call, known, caller))


def _answer(fact: CallRinging | CallConnected | CallEnded | CallRepeated, caller: Caller, request: Request) -> CallAnswer:
    """The answer that a fact about a call is. Errors: NotDecided, for a call that is still being placed."""
    match fact:
        case CallRinging():
            return CallAnswer(**_sides(fact), status=CallStatus.RINGING, ring_until=fact.until)
        case CallConnected():
            return CallAnswer(**_sides(fact), status=CallStatus.CONNECTED, connected_at=fact.at)
        case CallEnded():
            return CallAnswer(**_sides(fact), status=CallStatus.ENDED, ended_at=fact.at, reason=fact.told_to(caller.user))
        case CallRepeated() if fact.status is CallStatus.PLACING:
            raise NotDecided(_later(fact.call))
        case CallRepeated():
            known: Call | None = views_of(request).of(CALL).get(fact.call)
            return _shown(fact.call, known, caller) if known else CallAnswer(call=fact.call, status=fact.status)


def _sides(fact: CallRinging | CallConnected | CallEnded) -> dict[str, Any]:
    return {"call": fact.call, "caller": fact.caller, "callee": fact.callee, "kind": fact.kind}


# --- clips ------------------------------------------------------------------------------------------------------------------


@router.put("/v1/clips/{clip}", response_model=ClipAnswer, responses=responses(400, 401, 403, 404, 422, 503))
async def offer_clip(clip: IdInPath, body: ClipBody, caller: ActingStreamer, request: Request) -> Any:
    """Offer a recorded video, or change the offer: for streamers."""
    command = OfferClip(id=new_id(), at=now(), clip=clip, streamer=UserId(caller.user), **body.model_dump())
    await commands_of(request).ask(command, ClipOffered)
    return ClipAnswer(clip=clip, streamer=caller.user, **body.model_dump())


@router.get("/v1/clips", response_model=list[OfferedClipAnswer], responses=responses(401, 403, 503))
async def list_clips(_: Looking, request: Request) -> Any:
    """The clips that are offered; none of a streamer who is banned."""
    views = views_of(request)
    return [
        OfferedClipAnswer(clip=name, streamer=c.streamer, title=c.title, duration_s=c.duration_s)
        for name, c in views.of(CLIP).items()
        if c.active and takes_part(views, c.streamer)
    ]


@router.post("/v1/clips/{clip}/plays", status_code=201, response_model=CallAnswer, responses=CALL_RESPONSES)
async def play_clip(
    clip: IdInPath, caller: Acting, device: Device, request: Request, response: Response, *, key: OptionalIdempotencyKey = ""
) -> Any:
    """Watch a clip: a priced call without a callee, which ends with the clip, or when you hang up. The answer has the film's
    address, which expires soon after the clip's end."""
    views = views_of(request)
    offered: Clip | None = views.of(CLIP).get(clip)
    command = PlayClip(
        id=new_id(), at=now(), clip=clip, call=request_id(caller.user, f"clip {key}") if key else new_id(),
        viewer=UserId(caller.user), viewer_role=role_of(views, caller.user, caller.role),
        country=country_of(views, caller.user), tags=tags_of(views, caller.user), caller_device=device,
        price_class=price_class_of(views, offered.streamer) if offered else "",
    )  # fmt: skip
    placed, later = derive(command, 0)["id"], _later(command.call)
    fact = await commands_of(request).ask(command, CallConnected, CallEnded, CallRepeated, derived=placed, later=later)
    response.headers["Location"] = later.location
    return _with_film(_answer(fact, caller, request), caller, request)


def _with_film(answer: CallAnswer, caller: Caller, request: Request) -> CallAnswer:
    """With the film's address: for the viewer of a clip that runs, who pays for it."""
    views = views_of(request)
    call: Call | None = views.of(CALL).get(answer.call)
    if call is None or not call.clip or call.status is not CallStatus.CONNECTED or call.caller != caller.user:
        return answer
    clip: Clip | None = views.of(CLIP).get(call.clip)
    if clip is None or call.over_at is None:
        return answer
    url = signed(secret_of(request.app.state.config), clip.url, call.over_at + FILM_LASTS_ON)
    return answer.model_copy(update={"url": url})
