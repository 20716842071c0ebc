"""What staff sees of calls, notifications, attribution and settings: rows of the warehouse's views, and what runs now.

The views are analysts' own ([docs/sql.md](../docs/sql.md)), so panel and analysts see the same figures; they follow within
seconds. Calls that run come from this process's views, by an index. Settings are told without any secret.
"""

import re
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from infra.config import Config
from schemas.billing import BILL, Bill
from schemas.billing_rules import CallKind
from schemas.user import USER_ID_PATTERN
from schemas.video import CALL, Call, CallStatus
from serving.runtime.commands import views_of
from serving.runtime.fields import LATEST, KeptMoment, Word
from serving.runtime.problems import responses
from serving.runtime.staff import GrowthLook, LogLook, MoneyLook
from serving.runtime.warehouse import micros, rows_of
from serving.view_store.indexes import LIVE_CALLS

router = APIRouter(tags=["insight"])

MAX_ROWS: Final = 1_000
# In an address: who asks.
PASSWORD: Final = re.compile(r"//[^/@\s]*@")
CALLS: Final = """SELECT call, kind, tariff, version, payer, earner, country,
    nullIf(connected_at, toDateTime64(0, 6, 'UTC')) AS connected, at AS ended_at, duration_s, paid_coins, earned_coins
FROM bills FINAL WHERE at < fromUnixTimestamp64Micro({before:Int64}, 'UTC')
    AND ({tariff:String} = '' OR tariff = {tariff:String})
    AND ({user:String} = '' OR payer = {user:String} OR earner = {user:String})
ORDER BY at DESC, call LIMIT {limit:UInt32} WITH TIES SETTINGS max_execution_time = 10"""
TARIFFS: Final = """SELECT tariff, version, sum(calls) AS calls, sum(talked_s) AS talked_s, sum(paid_coins) AS paid_coins,
    sum(earned_coins) AS earned_coins
FROM tariff_mix WHERE day > today() - {days:UInt32} GROUP BY tariff, version ORDER BY calls DESC LIMIT 1000
SETTINGS max_execution_time = 10"""
NOTICES: Final = """SELECT day, kind, told, pushed, offline, held, forgone, acked, ack_s, fallback FROM push_fallback
WHERE day > today() - {days:UInt32} ORDER BY day DESC, kind LIMIT 1000 SETTINGS max_execution_time = 10"""
FUNNEL: Final = """SELECT network, campaign, sum(installed) AS installs, sum(signed_up) AS sign_ups,
    sum(purchased) AS purchasers, sum(called) AS callers, sum(coins) AS coins_bought
FROM campaign_funnel WHERE day > today() - {days:UInt32} GROUP BY network, campaign ORDER BY installs DESC, campaign LIMIT 1000
SETTINGS max_execution_time = 10"""
POSTBACKS: Final = """SELECT effect, provider, user, event, network, campaign, owed_at, attempts, state, why FROM postbacks
WHERE ({state:String} = '' OR state = {state:String}) AND owed_at < fromUnixTimestamp64Micro({before:Int64}, 'UTC')
ORDER BY owed_at DESC LIMIT {limit:UInt32} WITH TIES SETTINGS max_execution_time = 10"""
OUTREACH: Final = """SELECT campaign, told, opened, openings, replied, called, gave FROM outreach_conversion LIMIT 1000
SETTINGS max_execution_time = 10"""

Days = Annotated[int, Query(ge=1, le=366)]
Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]
Before = Annotated[KeptMoment | None, Query(description="the `next_before` of the page before")]
Person = Annotated[str, Query(pattern=f"^$|{USER_ID_PATTERN}", description="who paid or earned")]


class PostbackState(StrEnum):
    """Where a postback stands in the ledger."""

    SENT = "sent"
    RETRIED = "retried"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class LiveCallRow(BaseModel):
    """A call that rings or runs. `tariff` empty: it has no bill yet."""

    call: str
    kind: CallKind
    status: CallStatus
    caller: str
    callee: str
    placed_at: datetime
    connected_at: datetime | None
    tariff: str
    version: int


class PastCallRow(BaseModel):
    """A call that rang and has ended. `connected` null: it was not taken."""

    call: str
    kind: str
    tariff: str
    version: int
    payer: str
    earner: str
    country: str
    connected: datetime | None
    ended_at: datetime
    duration_s: float
    paid_coins: int
    earned_coins: int


class PastCallsAnswer(BaseModel):
    """A page, the last first. `next_before` null: that was all."""

    calls: list[PastCallRow]
    next_before: datetime | None = None


class TariffUseRow(BaseModel):
    """What the calls under a version of a tariff came to."""

    tariff: str
    version: int
    calls: int
    talked_s: float
    paid_coins: int
    earned_coins: int


class NoticesRow(BaseModel):
    """A day's notifications of a kind: told, pushed (of these: while offline), held, forgone, acknowledged, after how many
    seconds on average. `fallback`: which share was pushed."""

    day: date
    kind: str
    told: int
    pushed: int
    offline: int
    held: int
    forgone: int
    acked: int
    ack_s: float | None
    fallback: float | None


class FunnelRow(BaseModel):
    """What a campaign brought."""

    network: str
    campaign: str
    installs: int
    sign_ups: int
    purchasers: int
    callers: int
    coins_bought: int


class PostbackRow(BaseModel):
    """A postback: what was told whom about whom, and what came of it."""

    effect: str
    provider: str
    user: str
    event: str
    network: str
    campaign: str
    owed_at: datetime
    attempts: int
    state: PostbackState
    why: str


class PostbacksAnswer(BaseModel):
    """A page, the newest first. `next_before` null: that was all."""

    postbacks: list[PostbackRow]
    next_before: datetime | None = None


class OutreachRow(BaseModel):
    """What came of a campaign: how many were told or written to, and replied, called or gave within seven days."""

    campaign: str
    told: int
    opened: int
    openings: int
    replied: int
    called: int
    gave: int


class SettingRow(BaseModel):
    """What the platform runs with. Of a secret only whether it is `given`."""

    name: str
    value: str
    given: bool
    secret: bool
    what: str


@router.get("/v1/admin/calls/live", response_model=list[LiveCallRow], responses=responses(401, 403, 422, 503))
async def list_live_calls(_: MoneyLook, request: Request, limit: Limit = 200) -> Any:
    """The calls that ring or run now."""
    views = views_of(request)
    named = [(name, views.of(CALL).get(name)) for name in views.rows(LIVE_CALLS, "", limit)]
    return [_live(name, call, views.of(BILL).get(name)) for name, call in named if call is not None]


def _live(name: str, call: Call, bill: Bill | None) -> LiveCallRow:
    return LiveCallRow(
        call=name, kind=call.kind, status=call.status, caller=call.caller, callee=call.callee, placed_at=call.placed_at,
        connected_at=bill.connected_at if bill else None, tariff=bill.tariff.tariff if bill else "",
        version=bill.tariff.version if bill else 0,
    )  # fmt: skip


@router.get("/v1/admin/calls/past", response_model=PastCallsAnswer, responses=responses(401, 403, 422, 503))
async def list_past_calls(
    _: MoneyLook, request: Request, *, tariff: Word = "", user: Person = "", before: Before = None, limit: Limit = 100
) -> Any:
    """Calls that ended, of all tariffs or of one, of everybody or of one person."""
    found = await rows_of(request, CALLS, {"tariff": tariff, "user": user, "limit": limit, **_until(before)})
    calls = [PastCallRow(**row) for row in found]
    return PastCallsAnswer(calls=calls, next_before=calls[-1].ended_at if len(calls) >= limit else None)


def _until(before: datetime | None) -> dict[str, int]:
    return {"before": micros(before or LATEST)}


@router.get("/v1/admin/calls/tariffs", response_model=list[TariffUseRow], responses=responses(401, 403, 422, 503))
async def list_tariff_use(_: MoneyLook, request: Request, days: Days = 7) -> Any:
    """What the calls of the last days came to, by version of a tariff."""
    return [TariffUseRow(**row) for row in await rows_of(request, TARIFFS, {"days": days})]


@router.get("/v1/admin/insight/notifications", response_model=list[NoticesRow], responses=responses(401, 403, 422, 503))
async def list_notification_days(_: GrowthLook, request: Request, days: Days = 14) -> Any:
    """What people were told, by day and kind, and which share took a push."""
    return [NoticesRow(**row) for row in await rows_of(request, NOTICES, {"days": days})]


@router.get("/v1/admin/insight/outreach", response_model=list[OutreachRow], responses=responses(401, 403, 503))
async def list_outreach_results(_: GrowthLook, request: Request) -> Any:
    """What came of each campaign to a cohort."""
    return [OutreachRow(**row) for row in await rows_of(request, OUTREACH, {})]


@router.get("/v1/admin/insight/funnel", response_model=list[FunnelRow], responses=responses(401, 403, 422, 503))
async def list_campaign_funnel(_: GrowthLook, request: Request, days: Days = 30) -> Any:
    """Install, sign-up, purchase, call: by campaign, of people who came within the last days."""
    return [FunnelRow(**row) for row in await rows_of(request, FUNNEL, {"days": days})]


@router.get("/v1/admin/insight/postbacks", response_model=PostbacksAnswer, responses=responses(401, 403, 422, 503))
async def list_postbacks(
    _: GrowthLook, request: Request, *, state: PostbackState | None = None, before: Before = None, limit: Limit = 200
) -> Any:
    """The ledger of what ad networks are told, the newest first. `POST /v1/admin/outbox/redrive` tells one again."""
    rows = await rows_of(request, POSTBACKS, {"state": state or "", "limit": limit, **_until(before)})
    found = [PostbackRow(**row) for row in rows]
    return PostbacksAnswer(postbacks=found, next_before=found[-1].owed_at if len(found) >= limit else None)


@router.get("/v1/admin/insight/settings", response_model=list[SettingRow], responses=responses(401, 403, 503))
async def list_platform_settings(_: LogLook, request: Request) -> Any:
    """What the platform runs with; changed where it was started, not here."""
    views_of(request)
    config: Config = request.app.state.config
    return [
        SettingRow(
            name=f"OLO_{name.upper()}", value=PASSWORD.sub("//***@", str(getattr(config, name))) if field.repr else "",
            given=getattr(config, name) != field.default, secret=not field.repr, what=field.description or "",
        )
        for name, field in sorted(Config.model_fields.items())
    ]  # fmt: skip
