"""The outbox for staff: what is owed to vendors and waits, what ended badly, how many went out, and to have one tried again.

What waits or ended badly comes from the views, by an index; how many went out comes from the warehouse. A vendor's last words
say what to mend, and are shown as `olo outbox show` shows them: of one effect, to whoever asks for it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from infra.outbox import lost, redriven
from schemas.outbox import OUTBOX, Effect, EffectDue, EffectKind, EffectStatus
from serving.body import RequestBody
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import Word
from serving.runtime.problems import Problem, responses
from serving.runtime.staff import LogChange, LogLook
from serving.runtime.warehouse import rows_of
from serving.view_store.indexes import EFFECTS

router = APIRouter(tags=["outbox"])

MAX_EFFECTS: Final = 1_000
DELIVERIES: Final = """SELECT provider, kind, countIf(type = 'EffectDue') AS attempts,
    countIf(type IN ('EffectAccepted', 'PushAccepted')) AS accepted, countIf(type = 'EffectPostponed') AS postponed,
    countIf(type IN ('EffectRefused', 'PushRefused')) AS refused, countIf(type = 'EffectExpired') AS expired
FROM (SELECT type, JSONExtractString(value, 'provider') AS provider, JSONExtractString(value, 'kind') AS kind FROM log
    WHERE topic = 'outbox.events' AND logged_at >= now() - toIntervalHour({hours:UInt32}))
GROUP BY provider, kind HAVING attempts + accepted + postponed + refused + expired > 0
ORDER BY provider, kind LIMIT 1000 SETTINGS max_execution_time = 10"""

EffectName = Annotated[str, Field(min_length=1, max_length=480, pattern=r"^[^\x00-\x1f]+$", examples=["close_room/c-1"])]


class OpenEffect(StrEnum):
    """Where an effect stands that is neither done nor with a vendor at the moment."""

    WAITING = "waiting"
    REFUSED = "refused"
    EXPIRED = "expired"


class EffectRow(BaseModel):
    """What is owed to whom, about what, and how often it was tried. `redrivable`: staff may have it tried again."""

    effect: str
    kind: EffectKind
    provider: str
    subject: str
    status: EffectStatus
    attempt: int
    http_status: int
    next_at: datetime | None
    expires_at: datetime
    redrivable: bool


class EffectAnswer(EffectRow):
    """Likewise, with the vendor's last words."""

    detail: str


class EffectsAnswer(BaseModel):
    """How many stand so, and the first of them, by name."""

    count: int
    effects: list[EffectRow]


class DeliveriesRow(BaseModel):
    """What went to a vendor: attempts, and what came of them."""

    provider: str
    kind: str
    attempts: int
    accepted: int
    postponed: int
    refused: int
    expired: int


class RedriveBody(RequestBody):
    """Which effect."""

    effect: EffectName


@router.get("/v1/admin/outbox", response_model=EffectsAnswer, responses=responses(401, 403, 422, 503))
async def list_effects(
    _: LogLook, request: Request, *, status: OpenEffect = OpenEffect.REFUSED, provider: Word = "",
    limit: Annotated[int, Query(ge=1, le=MAX_EFFECTS)] = 200,
) -> Any:  # fmt: skip
    """What waits for its next attempt, was refused, or came too late."""
    views = views_of(request)
    group = f"{status}/{provider}" if provider else str(status)
    named = [(name, views.of(OUTBOX).get(name)) for name in views.rows(EFFECTS, group, limit)]
    rows = [_row(name, effect) for name, effect in named if effect is not None]
    return EffectsAnswer(count=views.count(EFFECTS, group), effects=rows)


def _row(name: str, effect: Effect) -> EffectRow:
    fields = {field: getattr(effect, field) for field in EffectRow.model_fields if field not in ("effect", "redrivable")}
    return EffectRow(effect=name, redrivable=not lost(name, effect), **fields)


@router.get("/v1/admin/outbox/effect", response_model=EffectAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_effect(effect: Annotated[EffectName, Query()], _: LogLook, request: Request) -> Any:
    """One effect, with the vendor's last words."""
    found = _known(request, effect)
    return EffectAnswer(**_row(effect, found).model_dump(), detail=found.detail)


def _known(request: Request, name: str) -> Effect:
    found: Effect | None = views_of(request).of(OUTBOX).get(name)
    if found is None or name.startswith("@"):
        raise Problem(404, "effect_unknown", "there is no such effect, or it was done more than a day ago")
    return found


@router.get("/v1/admin/outbox/deliveries", response_model=list[DeliveriesRow], responses=responses(401, 403, 422, 503))
async def list_deliveries(_: LogLook, request: Request, hours: Annotated[int, Query(ge=1, le=720)] = 24) -> Any:
    """What went to each vendor within the last hours."""
    return [DeliveriesRow(**row) for row in await rows_of(request, DELIVERIES, {"hours": hours})]


@router.post("/v1/admin/outbox/redrive", response_model=EffectRow, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def redrive_effect(body: RedriveBody, caller: LogChange, request: Request) -> Any:
    """Have a refused or expired effect tried again, for a day, after its cause was mended."""
    if wrong := lost(body.effect, _known(request, body.effect)):
        raise Problem(409, "effect_not_redrivable", wrong)
    await commands_of(request).ask(redriven(body.effect, caller.user), EffectDue)
    return _row(body.effect, _known(request, body.effect))
