"""Rooms: credentials to join a call's picture and sound at its provider, and the providers' notices of who came and went."""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from pydantic import BaseModel

from infra.config import Config, VideoProvider
from infra.vendors import agora, twilio
from infra.vendors.notices import Notice
from schemas.log.base import UserId, new_id, now
from schemas.user import is_contact
from schemas.video import CALL, Call, CallEnded, CallRefusal, CallStatus, OpenRoom, RoomOpened
from schemas.video_room import CALLEE_UID, CALLER_UID, NoteParticipant
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.devices import Device
from serving.runtime.fields import IdInPath
from serving.runtime.gate import Acting
from serving.runtime.lookups import call_of
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import refusal_of
from serving.runtime.shape import read_json

router = APIRouter(tags=["rooms"])

# A phone asks again when a call outlasts its credentials; the shorter they live, the less a leaked one is worth.
CREDENTIALS_S: Final = 3_600
# Clocks are off by minutes; how late a notice comes does not matter, but none is older than Olo.
AHEAD_S: Final = 600
EARLIEST_S: Final = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
# Twilio's callbacks have some twenty.
MAX_FIELDS: Final = 100


class CredentialsAnswer(BaseModel):
    """What the provider's SDK takes: Agora `app_id`, `room` (channel), `uid`, `token`; Twilio `room`, `identity`, `token`."""

    provider: VideoProvider
    room: str
    token: str
    expires_at: datetime
    app_id: str = ""
    uid: int = 0
    identity: str = ""


@router.post(
    "/v1/calls/{call}/credentials", status_code=201, response_model=CredentialsAnswer,
    responses=responses(401, 403, 404, 409, 422, 503),
)  # fmt: skip
async def issue_call_credentials(call: IdInPath, caller: Acting, device: Device, request: Request) -> Any:
    """Join a call's room: for both sides, while it rings or runs. Each has its own place in the room; who asks
    with another phone than before moves to it."""
    config: Config = request.app.state.config
    if config.video_provider is VideoProvider.NONE:
        raise Problem(409, "no_video_provider", "this platform has no video provider; OLO_VIDEO_PROVIDER sets one")
    known = await call_of(request, call, caller)
    if caller.user not in (known.caller, known.callee):
        raise refusal_of(request, CallRefusal.NOT_IN_CALL)
    provider = await _room(call, known, UserId(caller.user), device, request)
    return _credentials(config, VideoProvider(provider), call, caller.user, uid_of(known, caller.user))


def uid_of(call: Call, user: str) -> int:
    """A side's Agora uid."""
    return CALLER_UID if user == call.caller else CALLEE_UID


async def _room(call: str, known: Call, user: UserId, device: str, request: Request) -> str:
    """The provider of the call's room; opens one. Errors: Problem, when the call has ended or does not ring yet."""
    config: Config = request.app.state.config
    stays = device in ("", known.device_of(user))
    if stays and known.room and known.status in (CallStatus.RINGING, CallStatus.CONNECTED):
        return known.room
    command = OpenRoom(id=new_id(), at=now(), call=call, by=user, provider=config.video_provider, device=device)
    fact = await commands_of(request).ask(command, RoomOpened, CallEnded, urgent=True)
    if isinstance(fact, CallEnded):  # nobody had noticed before that the ringing was over, or a side was lost
        raise refusal_of(request, CallRefusal.CALL_ENDED)
    return fact.provider


def _credentials(config: Config, provider: VideoProvider, room: str, user: str, uid: int) -> CredentialsAnswer:
    expires_at = int(now().timestamp()) + CREDENTIALS_S
    if provider is VideoProvider.TWILIO:
        token = twilio.token(config, room, user, CREDENTIALS_S)
    elif config.agora_token == 6:
        token = agora.token_006(config.agora_app_id, config.agora_certificate, room, uid, expires_at)
    else:
        token = agora.token_007(config.agora_app_id, config.agora_certificate, room, uid, CREDENTIALS_S)
    of_agora = provider is VideoProvider.AGORA
    return CredentialsAnswer(
        provider=provider,
        room=room,
        token=token,
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        app_id=config.agora_app_id if of_agora else "",
        uid=uid if of_agora else 0,
        identity="" if of_agora else user,
    )


# --- webhooks ---------------------------------------------------------------------------------------------------------------

WEBHOOK_PROBLEMS: Final = responses(400, 401, 503)


@router.post("/v1/webhooks/agora", responses=WEBHOOK_PROBLEMS, openapi_extra={"security": []})
async def receive_agora_notice(request: Request) -> dict[str, str]:
    """Agora's notices: somebody joined or left a channel. Signed; repeats and reordering do no harm."""
    config: Config = request.app.state.config
    body = await request.body()
    if not config.agora_webhook_secret or not agora.genuine(config.agora_webhook_secret, body, request.headers):
        raise _forged("Agora-Signature-V2", "OLO_AGORA_WEBHOOK_SECRET")
    try:
        notice = agora.read_notice(read_json(body))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(error) from error
    return await _note(notice, request)


@router.post("/v1/webhooks/twilio", responses=WEBHOOK_PROBLEMS, openapi_extra={"security": []})
async def receive_twilio_callback(request: Request) -> dict[str, str]:
    """Twilio's status callbacks: somebody connected to or disconnected from a room. Signed over OLO_PUBLIC_URL."""
    config: Config = request.app.state.config
    body = (await request.body()).decode("utf-8", "replace")
    try:  # the signature is over the sorted fields, so they have to be known before it is asked about
        form = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise _unreadable(error) from error
    signature = request.headers.get("x-twilio-signature", "")
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if not config.twilio_auth_token or not twilio.genuine(config, path, form, signature):
        raise _forged("X-Twilio-Signature", "OLO_TWILIO_AUTH_TOKEN or OLO_PUBLIC_URL")
    try:
        notice = twilio.read_callback(form)
    except (ArithmeticError, KeyError, ValueError) as error:
        raise _unreadable(error) from error
    return await _note(notice, request)


def _forged(header: str, settings: str) -> Problem:
    return Problem(401, "signature_invalid", f"{header} does not fit the body; if it should, look at {settings}")


def _unreadable(error: Exception) -> Problem:
    return Problem(400, "notice_unreadable", f"the body is no notice: {type(error).__name__}")


async def _note(notice: Notice | None, request: Request) -> dict[str, str]:
    """Put a notice about a call that is known into the log. Providers only want to hear that it was taken: what a room makes of
    it, which may be nothing, is told to nobody. Who is named by an e-mail address or a phone number is nobody of ours."""
    if notice is None or is_contact(notice.member) or views_of(request).of(CALL).get(notice.channel) is None:
        return {"status": "ignored"}
    possible = EARLIEST_S <= notice.at_s <= now().timestamp() + AHEAD_S and 0 <= notice.seq <= 2**53
    if not possible or not 1 <= len(notice.member) <= 128:
        raise Problem(400, "notice_unreadable", "the notice's time or number cannot be, or it is of nobody")
    command = NoteParticipant(
        id=request_id(notice.channel, notice.notice),
        at=now(),
        happened_at=datetime.fromtimestamp(notice.at_s, UTC),
        call=notice.channel,
        member=notice.member,
        joined=notice.joined,
        seq=notice.seq,
        reason=notice.reason,
        connection=notice.connection[:128],
    )
    await commands_of(request).tell(command)
    return {"status": "noted"}
