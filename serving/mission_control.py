"""What staff did: `GET /v1/admin/audit` for whoever may look, and `GET /v1/audit`, where a person sees what was done to them.

A person is told what was done, when, and by whom in the sense of which role: not by which person, who is not to be sought out
for it, nor why, which may tell of others. Who it was is what auditors are for. Both come from the warehouse, which follows
within seconds.
"""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from schemas.user import USER_ID_PATTERN, Role
from serving.runtime.auth import SignedIn
from serving.runtime.fields import LATEST, KeptMoment
from serving.runtime.problems import responses
from serving.runtime.staff import AuditLook
from serving.runtime.warehouse import micros, rows_of

router = APIRouter(tags=["staff"])

# Of each act its last step: with the outcome, as soon as there is one.
ACTS: Final = """
SELECT act, acted_at, step = 'StaffAnswered' AS answered, staff, roles, operation, permission, subjects, thing, why, asked,
    status, code, commands
FROM audit FINAL
WHERE acted_at < fromUnixTimestamp64Micro({before:Int64}, 'UTC')
    AND ({who:String} = '' OR staff = {who:String}) AND ({subject:String} = '' OR has(subjects, {subject:String}))
ORDER BY acted_at DESC, act, step DESC LIMIT 1 BY act LIMIT {limit:UInt32} WITH TIES"""
# What was done to somebody, and not what was tried only.
DONE: Final = """
SELECT acted_at, roles, operation, thing, status FROM audit FINAL
WHERE acted_at < fromUnixTimestamp64Micro({before:Int64}, 'UTC') AND has(subjects, {subject:String})
    AND staff != {subject:String} AND step = 'StaffAnswered' AND (status < 400 OR status = 503)
ORDER BY acted_at DESC LIMIT {limit:UInt32} WITH TIES"""

Before = Annotated[KeptMoment | None, Query(description="only acts that began earlier")]
Limit = Annotated[int, Query(ge=1, le=500)]
Person = Annotated[str | None, Query(pattern=USER_ID_PATTERN)]


class ActAnswer(BaseModel):
    """An act of staff's: who, when, what, about whom and what, why, and what came of it. `answered` false: the outcome is
    still to come. `status` 0 and `code` "unknown": nobody knows it. `asked` is JSON, in which texts are their SHA-256;
    `commands`: the facts of the log whose cause is one of them say what was changed."""

    act: str
    acted_at: datetime
    answered: bool
    staff: str
    roles: list[Role]
    operation: str
    permission: str
    subjects: list[str]
    thing: str
    why: str
    asked: str
    status: int
    code: str
    commands: list[str]


class AuditAnswer(BaseModel):
    """A page, newest first; acts of one moment are on one page. `next_before` null: that was all."""

    acts: list[ActAnswer]
    next_before: datetime | None = None


class OwnActAnswer(BaseModel):
    """What staff of these roles did to you, or read of you. `status`: the HTTP status; 503: it may have been done."""

    acted_at: datetime
    roles: list[Role]
    operation: str = Field(description="the operation of this document")
    thing: str
    status: int


class OwnAuditAnswer(BaseModel):
    """A page, newest first. `next_before` null: that was all."""

    acts: list[OwnActAnswer]
    next_before: datetime | None = None


@router.get("/v1/admin/audit", response_model=AuditAnswer, responses=responses(401, 403, 422, 503))
async def list_acts(
    _: AuditLook, request: Request, *, who: Person = None, subject: Person = None, before: Before = None, limit: Limit = 50
) -> Any:
    """What staff did, of all or of one of them (`who`), to all or to one person (`subject`). Looking is an act, too."""
    rows = await rows_of(request, ACTS, {"who": who or "", "subject": subject or "", **_page(before, limit)})
    acts = [ActAnswer(**row) for row in rows]
    return AuditAnswer(acts=acts, next_before=acts[-1].acted_at if len(acts) >= limit else None)


@router.get("/v1/audit", response_model=OwnAuditAnswer, responses=responses(401, 403, 422, 503))
async def list_own_acts(caller: SignedIn, request: Request, before: Before = None, limit: Limit = 50) -> Any:
    """What staff did to you, and what it read of you; not who it was."""
    rows = await rows_of(request, DONE, {"subject": caller.user, **_page(before, limit)})
    acts = [OwnActAnswer(**row) for row in rows]
    return OwnAuditAnswer(acts=acts, next_before=acts[-1].acted_at if len(acts) >= limit else None)


def _page(before: datetime | None, limit: int) -> dict[str, int]:
    return {"before": micros(before or LATEST), "limit": limit}
