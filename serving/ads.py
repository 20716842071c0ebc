"""Attribution: AppsFlyer's pushes in, what a phone consents to, who came by which campaign, and marketing's export.

A push that cannot be read is answered with its error and kept as a dead letter: AppsFlyer may not send it again.
"""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec
from clickhouse_connect.driver.exceptions import Error
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from infra.attribution import FORMATS, Export, ExportFormat, Network, export
from infra.config import Config
from infra.errors import UsageError
from infra.vendors import appsflyer
from schemas.ads import (
    ATTRIBUTION,
    Attribution,
    PushRecorded,
    PushRepeated,
    PutTracking,
    RecordPush,
    TrackingPut,
)
from schemas.log.base import UserId, new_id, now
from schemas.postback import Consent
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import UserInPath
from serving.runtime.gate import unless_erased
from serving.runtime.kept import refused_and_kept
from serving.runtime.problems import Problem, responses, unavailable
from serving.runtime.shape import read_json
from serving.runtime.staff import GrowthLook, PeopleLook
from serving.runtime.warehouse import in_warehouse

router = APIRouter(tags=["attribution"])

PUSHES: Final = "webhooks.appsflyer"

# By which vendors know a phone, or the app on it; empty: not told.
PhoneId = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.:-]*$")]


@router.post("/v1/webhooks/appsflyer", responses=responses(400, 401, 413, 422, 503), openapi_extra={"security": []})
async def receive_appsflyer_push(request: Request) -> dict[str, str]:
    """AppsFlyer's pushes: installs, returns, events in the app. A token proves where they come from; repeats do no harm.

    `unattributed`: the push names a customer who is no user of ours by that name (`contact`: it is an e-mail address or a phone
    number; `foreign`: no id of ours). It is kept, counts for the install, and for nobody.

    503: the push is not recorded yet, so it should be sent again; a push that comes twice counts once."""
    config: Config = request.app.state.config
    if not appsflyer.genuine(config.appsflyer_push_token, request.headers):
        raise Problem(401, "token_invalid", "the push does not carry the token; if it should, look at OLO_APPSFLYER_PUSH_TOKEN")
    body = await request.body()
    try:
        found = appsflyer.read_push(read_json(body), now())
    except appsflyer.PushError as error:
        raise await refused_and_kept(request, PUSHES, body, Problem(422, error.code, str(error))) from error
    except Problem as problem:
        raise await refused_and_kept(request, PUSHES, body, problem) from problem
    except ValueError as error:
        broken = Problem(400, "broken_json", f"the push is no JSON: {error}")
        raise await refused_and_kept(request, PUSHES, body, broken) from error
    command = RecordPush(
        id=request_id(PUSHES, found.name), at=found.at, install=found.install, push=found.name, event_name=found.event_name,
        user=found.user, touch=found.touch, details=found.details, unread=found.unread,
    )  # fmt: skip
    try:
        fact = await commands_of(request).ask(command, PushRecorded, PushRepeated)
    except Problem as problem:
        if problem.status != 422:
            raise
        raise await refused_and_kept(request, PUSHES, body, problem) from problem
    status = {"status": "repeated" if isinstance(fact, PushRepeated) else "recorded"}
    return status | ({"unattributed": found.details.unattributed} if found.details.unattributed else {})


# --- phones -----------------------------------------------------------------------------------------------------------------


class TrackingBody(RequestBody):
    """What the phone's owner agrees to, and by which names ad networks and analytics know the phone."""

    consents: Annotated[list[Consent], Field(max_length=3)] = []
    appsflyer_id: PhoneId = ""
    advertising_id: PhoneId = ""
    vendor_id: PhoneId = ""
    app_instance_id: PhoneId = ""
    click_id: Annotated[str, Field(max_length=256, pattern=r"^[\x21-\x7e]*$")] = ""
    tracking_allowed: bool = False


class TrackingAnswer(BaseModel):
    """What is in force."""

    consents: list[Consent]


@router.put("/v1/tracking", response_model=TrackingAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_tracking(body: TrackingBody, caller: SignedIn, request: Request) -> Any:
    """Consent (or take it back), and tell the phone's names. Nothing is told to anybody that is not consented to here."""
    unless_erased(request, caller.user)
    given = body.model_dump()
    given["consents"] = tuple(sorted(set(body.consents) - {Consent.NONE}))
    agent = "".join(letter for letter in request.headers.get("user-agent", "") if letter.isprintable())
    command = PutTracking(
        id=new_id(), at=now(), user=UserId(caller.user), ip=request.client.host if request.client else "",
        user_agent=agent[:512], **given,
    )  # fmt: skip
    fact = await commands_of(request).ask(command, TrackingPut)
    return TrackingAnswer(consents=list(fact.consents))


# --- staff ------------------------------------------------------------------------------------------------------------------


class TouchAnswer(BaseModel):
    """A touch, as AppsFlyer attributes it."""

    kind: str
    at: datetime
    network: str
    campaign: str = ""
    campaign_id: str = ""
    adset: str = ""
    adset_id: str = ""
    ad: str = ""
    ad_id: str = ""
    channel: str = ""
    platform: str = ""
    country: str = ""


class AttributionAnswer(BaseModel):
    """How a user came here. `touch`: what counts (null: nothing is known, or it lies outside the window); `waiting`:
    conversions that are not told to everybody yet."""

    user: str
    signed_up_at: datetime | None
    touch: TouchAnswer | None
    first: TouchAnswer | None
    last: TouchAnswer | None
    appsflyer_id: str
    consents: list[str]
    purchases: int
    calls: int
    waiting: int


ROWS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The rows",
        "content": {
            media.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}} for _, media in FORMATS.values()
        },
    }
}


@router.get(
    "/v1/admin/attribution/export", responses={**ROWS, **responses(401, 403, 422, 503)}, response_class=StreamingResponse
)
async def export_attribution(
    _: GrowthLook,
    request: Request,
    begin: Annotated[date, Query(alias="from")],
    end: Annotated[date, Query(alias="to")],
    network: Network = Network.APPSFLYER,
    format_: Annotated[ExportFormat, Query(alias="format")] = ExportFormat.CSV,
) -> StreamingResponse:
    """Campaign performance by day of install, streamed; both dates are in it."""
    wanted = Export(begin, end, network, format_)
    try:
        rows: Iterator[bytes] = await in_warehouse(lambda: export(request.app.state.clickhouse(), wanted))
    except UsageError as error:
        raise Problem(422, "invalid_request", str(error)) from None
    except (Error, OSError) as error:
        raise unavailable("warehouse_unreachable", "ClickHouse cannot be asked for the export") from error
    headers = {"Content-Disposition": f'attachment; filename="{wanted.name}"'}
    return StreamingResponse(rows, media_type=wanted.media_type, headers=headers)


@router.get("/v1/admin/attribution/{user}", response_model=AttributionAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_attribution(user: UserInPath, _: PeopleLook, request: Request) -> Any:
    """Which campaign brought a user."""
    known: Attribution | None = views_of(request).of(ATTRIBUTION).get(user)
    if known is None:
        raise Problem(404, "user_unknown", "nobody of this id has signed up or was brought by a campaign")
    touches = {"touch": known.touch, "first": known.first, "last": known.last}
    return AttributionAnswer(
        user=user, signed_up_at=known.signed_up_at, appsflyer_id=known.appsflyer_id, consents=list(known.consents),
        purchases=known.purchases, calls=known.calls, waiting=len(known.pending),
        **{name: TouchAnswer(**msgspec.to_builtins(t) | {"at": t.at, "network": t.network}) if t else None
           for name, t in touches.items()},
    )  # fmt: skip
