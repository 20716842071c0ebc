"""Reports of chats: `POST /v1/chats/{user}/report`; staff lists them (`GET /v1/admin/chats/reports`), reads the evidence by
giving a reason, which is kept, and decides."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from schemas.chat import ItemKind
from schemas.chat_report import (
    CHAT_EVIDENCE,
    CHAT_REPORT,
    ChatEvidence,
    ChatReport,
    ChatReported,
    DecideReport,
    ReadReport,
    ReportChat,
    ReportDecided,
    ReportOutcome,
    ReportRead,
    ReportReason,
    ReportRepeated,
    evidence_name,
)
from schemas.chat_witness import MAX_WITNESSED, REPORT_EVERY, ReportRefusal
from schemas.log.base import UserId, new_id, now
from serving.body import Name, RequestBody
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import EARLIEST, LATEST, IdempotencyKey, IdInPath, KeptMoment, UserInPath
from serving.runtime.gate import Acting
from serving.runtime.later import NotDecided
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import ReportsChange, ReportsLook, unless_above
from serving.runtime.warehouse import micros, rows_of
from serving.view_store.indexes import OPEN_REPORTS

router = APIRouter(tags=["chats"])

DECIDED: Final = """
SELECT report, user, peer, reason, rule, length(seqs) AS items, at, outcome, by, why, until FROM chat_reports FINAL
WHERE step = 'ReportDecided' AND at < fromUnixTimestamp64Micro({before:Int64}, 'UTC')
ORDER BY at DESC LIMIT {limit:UInt32} WITH TIES"""
REFUSED: Final[Refusals] = {
    ReportRefusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used for another report; use a new one"),
    ReportRefusal.CHAT_UNKNOWN: (404, "there is no chat between you and this user"),
    ReportRefusal.REPORTED_LATELY: (429, "you have reported this chat a moment ago", int(REPORT_EVERY.total_seconds())),
    ReportRefusal.ITEM_UNKNOWN: (404, "this chat has no item with one of these numbers"),
    ReportRefusal.REPORT_UNKNOWN: (404, "there is no such report; see GET /v1/admin/chats/reports"),
    ReportRefusal.REPORT_DECIDED: (409, "this report was decided before"),
}


class ReportBody(RequestBody):
    """For what, and which items (none: the newest 50)."""

    reason: Annotated[ReportReason, Field(examples=["harassment"])]
    seqs: Annotated[list[Annotated[int, Field(strict=True, ge=1, le=2**53)]], Field(max_length=MAX_WITNESSED)] = []


class ReportAnswer(BaseModel):
    """A report is taken, and all its evidence is kept."""

    report: str


class ReportReadBody(RequestBody):
    """Why you read it; that is kept with your name."""

    reason: Annotated[str, Field(min_length=3, max_length=256, pattern=r"^[^\x00-\x1f]+$", examples=["a complaint by letter"])]


class ReportReviewBody(ReportReadBody):
    """What comes of it. A ban lasts until `until` (none: for good)."""

    reason: Annotated[Name, Field(examples=["insults"])]
    outcome: Annotated[ReportOutcome, Field(examples=["dismissed"])]
    until: KeptMoment | None = None


class OpenReportAnswer(BaseModel):
    """A report that waits for a person: `user` has reported `peer`, or `rule` did. `readings`: how often staff has read it."""

    report: str
    user: str
    peer: str
    reason: ReportReason
    rule: str
    at: datetime
    items: int
    readings: int


class DecidedReportAnswer(BaseModel):
    """A report and what came of it: who decided (`by`), when, and why. A ban lasts until `until` (null: for good)."""

    report: str
    user: str
    peer: str
    reason: ReportReason
    rule: str
    items: int
    at: datetime
    outcome: ReportOutcome
    by: str
    why: str
    until: datetime | None


class DecidedReportsAnswer(BaseModel):
    """A page, those that were decided last first. `next_before` null: that was all."""

    reports: list[DecidedReportAnswer]
    next_before: datetime | None = None


class EvidenceAnswer(BaseModel):
    """An item as it was when it was reported. `text` null: it had been taken back before (`deleted`), or its writer was erased
    since (`forgotten`)."""

    seq: int
    sender: str
    kind: ItemKind
    ref: str
    at: datetime
    text: str | None
    picture_url: str | None
    edited_at: datetime | None
    deleted: bool
    forgotten: bool


class ReportedAnswer(OpenReportAnswer):
    """A report with its evidence."""

    outcome: ReportOutcome | None
    evidence: list[EvidenceAnswer]


@router.post(
    "/v1/chats/{user}/report",
    status_code=201,
    response_model=ReportAnswer,
    responses=responses(400, 401, 403, 404, 409, 422, 429, 503),
)
async def send_report(user: UserInPath, body: ReportBody, caller: Acting, key: IdempotencyKey, request: Request) -> Any:
    """Report somebody's messages. They are kept as they are now, whatever becomes of them in the chat; staff will look. The
    other is not told."""
    if body.reason is ReportReason.RULE:
        raise Problem(422, "invalid_request", "people report for one of the other reasons; rules do for this one")
    report = request_id(caller.user, f"report {key}")
    command = ReportChat(
        id=new_id(), at=now(), report=report, user=UserId(caller.user), peer=UserId(user), reason=body.reason,
        seqs=tuple(body.seqs),
    )  # fmt: skip
    fact = await commands_of(request).ask(command, ChatReported, ReportRepeated)
    if isinstance(fact, ReportRepeated) and not fact.kept:  # the same report again, while the first one is under way
        raise NotDecided
    return ReportAnswer(report=report)


@router.get("/v1/admin/chats/reports", response_model=list[OpenReportAnswer], responses=responses(401, 403, 404, 422, 503))
async def list_chat_reports(_: ReportsLook, request: Request, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Any:
    """The reports that wait for a person, the oldest first."""
    views = views_of(request)
    found = [(report, views.of(CHAT_REPORT).get(report)) for report in views.rows(OPEN_REPORTS, "")]
    oldest = sorted(((report, known) for report, known in found if known), key=lambda one: one[1].at)[:limit]
    return [OpenReportAnswer(**_told(report, known)) for report, known in oldest]


@router.get(
    "/v1/admin/chats/reports/decided", response_model=DecidedReportsAnswer, responses=responses(401, 403, 404, 422, 503)
)
async def list_decided_chat_reports(
    _: ReportsLook,
    request: Request,
    before: Annotated[KeptMoment | None, Query(description="only reports that were decided earlier")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Any:
    """What became of reports, from the warehouse, which follows within seconds. Those of one
    moment are on one page."""
    until_us = micros(before or LATEST)
    rows = await rows_of(request, DECIDED, {"before": until_us, "limit": limit})
    reports = [DecidedReportAnswer(**row | {"until": row["until"] if row["until"] > EARLIEST else None}) for row in rows]
    return DecidedReportsAnswer(reports=reports, next_before=reports[-1].at if len(reports) >= limit else None)


@router.post(
    "/v1/admin/chats/reports/{report}/read", response_model=ReportedAnswer, responses=responses(400, 401, 403, 404, 422, 503)
)
async def open_chat_report(
    report: IdInPath, body: ReportReadBody, caller: ReportsLook, request: Request, response: Response
) -> Any:
    """Read a report with its evidence: that you read it, and why, is kept."""
    command = ReadReport(id=new_id(), at=now(), report=report, by=UserId(caller.user), why=body.reason)
    await commands_of(request).ask(command, ReportRead)
    views = views_of(request)
    known: ChatReport | None = views.of(CHAT_REPORT).get(report)
    if known is None:
        raise refusal_of(request, ReportRefusal.REPORT_UNKNOWN)
    kept = [views.of(CHAT_EVIDENCE).get(evidence_name(report, seq)) for seq in known.seqs]
    response.headers["Cache-Control"] = "no-store"
    return ReportedAnswer(**_told(report, known), outcome=known.outcome, evidence=[_evidence(one) for one in kept if one])


@router.post("/v1/admin/chats/reports/{report}/review", status_code=204, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def review_chat_report(report: IdInPath, body: ReportReviewBody, caller: ReportsChange, request: Request) -> None:
    """Dismiss a report, or warn or ban the one who was reported, who is told neither who did nor who reported."""
    known: ChatReport | None = views_of(request).of(CHAT_REPORT).get(report)
    if known is not None and body.outcome is ReportOutcome.BANNED:
        unless_above(request, caller, known.peer)
    command = DecideReport(
        id=new_id(), at=now(), report=report, outcome=body.outcome, by=caller.user, why=body.reason, until=body.until
    )  # fmt: skip
    await commands_of(request).ask(command, ReportDecided)


def _told(report: str, known: ChatReport) -> dict[str, Any]:
    return {
        "report": report, "user": known.user, "peer": known.peer, "reason": known.reason, "rule": known.rule, "at": known.at,
        "items": len(known.seqs), "readings": known.readings,
    }  # fmt: skip


def _evidence(kept: ChatEvidence) -> EvidenceAnswer:
    there = kept.kind is ItemKind.MESSAGE and not kept.deleted and not kept.forgotten
    return EvidenceAnswer(
        seq=kept.seq, sender=kept.sender, kind=kept.kind, ref=kept.ref, at=kept.sent_at, text=kept.text if there else None,
        picture_url=kept.picture_url or None, edited_at=kept.edited_at, deleted=kept.deleted, forgotten=kept.forgotten,
    )  # fmt: skip
