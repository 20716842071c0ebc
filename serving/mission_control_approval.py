"""Four eyes: `POST`, `GET /v1/admin/approvals`, `.../{approval}`, `.../{approval}/approve`, `.../{approval}/reject`.

One person asks for a command by its template, a second one approves what they have seen (`seen`, its SHA-256); only then it is
sent. An answer of `approve` says that it is on its way: what comes of it the log's facts say, whose cause `sent` is.
"""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from schemas.log.base import UserId, new_id, now
from schemas.log.templates import TemplateError, fill
from schemas.mission_control_approval import (
    APPROVAL,
    FOUR_EYES,
    Approval,
    ApprovalAsked,
    ApprovalGiven,
    ApprovalRefusal,
    ApprovalRejected,
    ApprovalRepeated,
    ApprovalStatus,
    AskApproval,
    GiveApproval,
    RejectApproval,
)
from schemas.timetable import MAX_TEMPLATE
from serving.body import RequestBody
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, IdInPath
from serving.runtime.lookups import in_view
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import MoneyChange, MoneyLook, reason_of
from serving.view_store.indexes import OPEN_APPROVALS

router = APIRouter(tags=["staff"])

REFUSED: Final[Refusals] = {
    ApprovalRefusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used for another approval; use a new one"),
    ApprovalRefusal.TEMPLATE_INVALID: (422, "the template gives no command that takes a second person"),
    ApprovalRefusal.OWN_BENEFIT: (403, "{by} gains by it; somebody else has to ask for it"),
    ApprovalRefusal.APPROVAL_UNKNOWN: (404, "there is no such approval; see GET /v1/admin/approvals"),
    ApprovalRefusal.APPROVAL_OVER: (409, "this approval was decided before, or it is too late for it"),
    ApprovalRefusal.OWN_APPROVAL: (403, "{by} has asked for it; a second person approves"),
    ApprovalRefusal.BENEFICIARY: (403, "{by} gains by it; another person approves"),
    ApprovalRefusal.APPROVAL_CHANGED: (409, "this is not what is to be approved; look at it again, and send its `seen`"),
}
RESPONSES: Final = responses(400, 401, 403, 404, 409, 422, 503)
KINDS: Final = {type_.__name__: type_ for type_ in FOUR_EYES}

Reason = Annotated[str, Field(min_length=3, max_length=256, pattern=r"^[^\x00-\x1f]+$", examples=["ticket 4711"])]


class ApprovalBody(RequestBody):
    """What is to be sent: a command and its fields, as `approval_needed` tells them, and why."""

    command: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z]+$", examples=["PlaceTransfer"])]
    template: Annotated[
        dict[str, Any],
        Field(examples=[{"transfer": "t1", "payer": "@promotions", "payee": "ann/coins", "coins": 500, "reason": "grant"}]),
    ]
    reason: Reason


class SeenBody(RequestBody):
    """What you have seen: the approval's `seen`."""

    seen: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", examples=["0" * 64])]


class RejectBody(RequestBody):
    """Why it is not to be done."""

    reason: Reason


class ApprovalAnswer(BaseModel):
    """An approval. `seen`: what who approves sends back. `by`: who decided."""

    approval: str
    status: ApprovalStatus
    maker: str
    command: str
    template: dict[str, Any]
    why: str
    coins: int
    beneficiaries: list[str]
    until: datetime
    seen: str
    by: str


@router.post("/v1/admin/approvals", status_code=201, response_model=ApprovalAnswer, responses=RESPONSES)
async def ask_approval(body: ApprovalBody, caller: MoneyChange, key: IdempotencyKey, request: Request) -> Any:
    """Ask for a command that takes a second person. You neither gain by it nor approve it; it waits for a day."""
    template = msgspec.json.encode(body.template).decode()
    if len(template) > MAX_TEMPLATE:
        raise Problem(422, "template_invalid", f"the template has more than {MAX_TEMPLATE} characters")
    if body.command not in KINDS:
        raise Problem(422, "command_forbidden", f"{body.command} takes no second person; these do: {', '.join(KINDS)}")
    try:
        fill(body.command, template, {}, id_="preview", at=now(), by="approval")
    except TemplateError as error:
        raise Problem(422, "template_invalid", f"the template gives no command: {error}") from None
    approval = request_id(caller.user, f"approval {key}")
    command = AskApproval(
        id=new_id(), at=now(), approval=approval, maker=UserId(caller.user), command=body.command, template=template,
        why=body.reason,
    )  # fmt: skip
    await commands_of(request).ask(command, ApprovalAsked, ApprovalRepeated)
    return await in_view(lambda: _found(request, approval, ApprovalStatus.OPEN))


@router.get("/v1/admin/approvals", response_model=list[ApprovalAnswer], responses=responses(401, 403, 503))
async def list_approvals(_: MoneyLook, request: Request) -> Any:
    """What waits for a second person, the oldest first."""
    views = views_of(request)
    found = [(name, views.of(APPROVAL).get(name)) for name in views.rows(OPEN_APPROVALS, "", 1_000)]
    return [_answer(name, known) for name, known in sorted(found, key=lambda one: one[1].until if one[1] else now()) if known]


@router.get("/v1/admin/approvals/{approval}", response_model=ApprovalAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_approval(approval: IdInPath, _: MoneyLook, request: Request) -> Any:
    """An approval, until a day after it was decided."""
    known = views_of(request).of(APPROVAL).get(approval)
    if known is None:
        raise refusal_of(request, ApprovalRefusal.APPROVAL_UNKNOWN)
    return _answer(approval, known)


@router.post("/v1/admin/approvals/{approval}/approve", response_model=ApprovalAnswer, responses=RESPONSES)
async def give_approval(approval: IdInPath, body: SeenBody, caller: MoneyChange, request: Request) -> Any:
    """Approve what somebody else asks for: the command is sent, once."""
    command = GiveApproval(id=new_id(), at=now(), approval=approval, by=UserId(caller.user), seen=body.seen)
    await commands_of(request).ask(command, ApprovalGiven, ApprovalRepeated)
    return await in_view(lambda: _found(request, approval, ApprovalStatus.APPROVED))


@router.post("/v1/admin/approvals/{approval}/reject", response_model=ApprovalAnswer, responses=RESPONSES)
async def reject_approval(approval: IdInPath, body: RejectBody, caller: MoneyChange, request: Request) -> Any:
    """Let it not be done; what you have asked for yourself you take back so."""
    del body
    command = RejectApproval(id=new_id(), at=now(), approval=approval, by=UserId(caller.user), why=reason_of(request))
    await commands_of(request).ask(command, ApprovalRejected, ApprovalRepeated)
    return await in_view(lambda: _found(request, approval, ApprovalStatus.REJECTED))


def _found(request: Request, approval: str, status: ApprovalStatus) -> ApprovalAnswer | None:
    """The approval, once it stands there, or has gone on from being open."""
    known: Approval | None = views_of(request).of(APPROVAL).get(approval)
    there = known is not None and (known.status is status or status is ApprovalStatus.OPEN)
    return _answer(approval, known) if known is not None and there else None


def _answer(name: str, known: Approval) -> ApprovalAnswer:
    return ApprovalAnswer(
        approval=name, status=known.status, maker=known.maker, command=known.command, why=known.why, coins=known.coins,
        template=msgspec.json.decode(known.template), beneficiaries=list(known.beneficiaries), until=known.until,
        seen=known.seen, by=known.by,
    )  # fmt: skip
