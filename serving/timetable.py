"""The timetable, for admins: `/v1/admin/jobs`. A job is checked when it is saved: that it fires, and gives a command."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from infra import cron
from infra.vendors import chores
from schemas.log.base import new_id, now
from schemas.log.templates import TemplateError, commands, fill, sendable
from schemas.timetable import (
    MAX_LIMIT_S,
    MAX_TEMPLATE,
    MAX_WINDOW_S,
    TIMETABLE,
    Definition,
    FireOrdered,
    FireOutcome,
    JobOffTimetable,
    JobOnTimetable,
    JobPaused,
    JobResumed,
    Overlap,
    PauseJob,
    PutJobOnTimetable,
    ResumeJob,
    RunJob,
    TakeJobOffTimetable,
    Timetable,
    TimetableRefusal,
    fire_id,
    names_of,
)
from schemas.timetable_plan import MAX_CRON, MAX_EVERY_S, CatchUp, Plan, PlanWanted, Schedule
from serving.body import RequestBody
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import IdInPath, Moment
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals, refusal_of
from serving.runtime.staff import JobsChange, JobsLook

router = APIRouter(tags=["timetable"])

REFUSED: Final[Refusals] = {
    TimetableRefusal.JOB_UNKNOWN: (404, "there is no job {job}; see GET /v1/admin/jobs"),
}
# A command costs a decision or some; see `chores` for theirs.
COMMAND_LEAST_S: Final = 1.0
PREVIEWED: Final = 10
# No job has that many versions; a template must give a command for all of them.
LAST_VERSION: Final = 2**31


class ScheduleBody(RequestBody):
    """When: a cron line in a zone; or every so many seconds, from `at` on; or once, at `at`."""

    cron: Annotated[str, Field(max_length=MAX_CRON, description="five fields, or six with seconds in front")] = ""
    zone: Annotated[str, Field(max_length=64)] = "UTC"
    every_s: Annotated[int, Field(le=MAX_EVERY_S)] = 0
    at: Moment | None = None


class ScheduledJobBody(RequestBody):
    """A job: when, and what. Either a `command` of any inbox, whose fields `template` gives; texts in it may name `{fire}`,
    `{instant}` and `{date}`. Or a `chore` of the platform."""

    schedule: Annotated[ScheduleBody, Field(examples=[{"cron": "0 3 * * *", "zone": "Europe/Berlin"}])]
    command: Annotated[str, Field(max_length=64, examples=["PutGiftItem"])] = ""
    template: Annotated[
        dict[str, Any], Field(examples=[{"item": "rose-of-the-day", "price_coins": 10, "share_coins": 4, "name": "{date}"}])
    ] = {}
    chore: Annotated[str, Field(max_length=64, description="quality, doctor or reconcile")] = ""
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.ONE
    window_s: Annotated[int, Field(ge=0, le=MAX_WINDOW_S)] = 86_400
    limit_s: Annotated[int, Field(ge=1, le=MAX_LIMIT_S)] = 3_600
    paused: bool = False


class FireAnswer(BaseModel):
    """A fire: its id, how it ended, how long it took."""

    fire: str
    outcome: FireOutcome
    duration_s: float
    manual: bool


class ScheduledJobAnswer(BaseModel):
    """A job: what staff wrote, which version that is, the next ten fires, which one runs (empty: none), and the last ones."""

    job: str
    version: int
    definition: dict[str, Any]
    paused: bool
    by: str
    zones: str
    next: list[datetime]
    running: str
    waiting: int
    history: list[FireAnswer]


class JobPreviewAnswer(BaseModel):
    """The next ten fires, by this version of the time zones' data, and a command as the first of them would send it."""

    next: list[datetime]
    zones: str
    command: dict[str, Any] | None


class SavedJobAnswer(JobPreviewAnswer):
    """A job that was saved: its version, beside which no older one fires."""

    job: str
    version: int


class JobRunAnswer(BaseModel):
    """The fire that was ordered; how it ends stands in the job's history."""

    fire: str


def _work(job: str, body: ScheduledJobBody, at: datetime) -> msgspec.Struct | None:
    """The command that the job would send, or None: a chore. Errors: Problem 422."""
    if bool(body.command) == bool(body.chore):
        raise Problem(422, "job_invalid", "say one of: a command with its template, or a chore")
    if body.chore:
        if body.chore not in chores.CHORES:
            raise Problem(422, "chore_unknown", f"there is no chore {body.chore}; there are {', '.join(chores.CHORES)}")
        return None
    if body.command not in commands():
        raise Problem(422, "command_unknown", f"no inbox hears {body.command}; docs/reference/topics.md has all commands")
    if body.command not in sendable():
        raise Problem(
            422,
            "command_forbidden",
            f"{body.command} carries what is personal, commands jobs, or is people's to send; no job sends it",
        )
    template = msgspec.json.encode(body.template).decode()
    if len(template) > MAX_TEMPLATE:
        raise Problem(422, "template_invalid", f"the template has more than {MAX_TEMPLATE} characters")
    try:
        names = names_of(job, LAST_VERSION, at.replace(microsecond=999_999))
        return fill(body.command, template, names, id_="preview", at=at, by=f"timetable/{job}")
    except TemplateError as error:
        raise Problem(422, "template_invalid", f"the template gives no command: {error}") from None


async def _checked(job: str, body: ScheduledJobBody) -> tuple[Definition, Plan, JobPreviewAnswer]:
    """What staff wrote, as it is kept; its first instants; and what it will do. Errors: Problem 422."""
    at = now()
    command = _work(job, body, at)
    found = body.schedule
    if found.every_s < 0:
        raise Problem(422, "too_frequent", "every_s is at least a second")
    begin = at.replace(microsecond=0) if found.every_s and found.at is None else found.at
    schedule = Schedule(found.cron.strip(), found.zone, found.every_s, begin)
    least_s = COMMAND_LEAST_S if command else chores.LEAST_S
    try:
        await asyncio.to_thread(cron.check, schedule, at, least_s)
        plan = await asyncio.to_thread(cron.plan_of, PlanWanted(0, schedule, at), at)
    except cron.ScheduleError as error:
        raise Problem(422, error.code, str(error)) from None
    definition = Definition(
        schedule, body.command, msgspec.json.encode(body.template).decode() if body.command else "", body.chore, body.overlap,
        body.catch_up, body.window_s, body.limit_s, body.paused,
    )  # fmt: skip
    shown = msgspec.to_builtins(command) if command else None
    return definition, plan, JobPreviewAnswer(next=list(plan.instants[:PREVIEWED]), zones=plan.zones, command=shown)


@router.post("/v1/admin/jobs/preview", response_model=JobPreviewAnswer, responses=responses(400, 401, 403, 422, 503))
async def preview_job(body: ScheduledJobBody, _: JobsLook, request: Request) -> Any:
    """The next ten fires of a job that is not saved, by the code that plans them."""
    views_of(request)
    return (await _checked("preview", body))[2]


@router.put("/v1/admin/jobs/{job}", response_model=SavedJobAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_job(job: IdInPath, body: ScheduledJobBody, caller: JobsChange, request: Request) -> Any:
    """Save a job: a new version, beside which no older one fires any more. A job sends nothing that takes a second person."""
    asking = commands_of(request)
    if problem := request.app.state.eyes(_work(job, body, now()), caller.user):
        raise problem
    definition, plan, found = await _checked(job, body)
    command = PutJobOnTimetable(id=new_id(), at=now(), job=job, definition=definition, plan=plan, by=caller.user)
    fact = await asking.ask(command, JobOnTimetable)
    return SavedJobAnswer(job=job, version=fact.version, **found.model_dump())


@router.delete("/v1/admin/jobs/{job}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def remove_job(job: IdInPath, caller: JobsChange, request: Request) -> None:
    """Take a job off the timetable. A chore of it that runs goes on to its end."""
    command = TakeJobOffTimetable(id=new_id(), at=now(), job=job, by=caller.user)
    await commands_of(request).ask(command, JobOffTimetable)


@router.post("/v1/admin/jobs/{job}/pause", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def pause_job(job: IdInPath, caller: JobsChange, request: Request) -> None:
    """Pause a job: it fires nothing, but for what staff runs."""
    await commands_of(request).ask(PauseJob(id=new_id(), at=now(), job=job, by=caller.user), JobPaused)


@router.post("/v1/admin/jobs/{job}/resume", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def resume_job(job: IdInPath, caller: JobsChange, request: Request) -> None:
    """Resume a job: what was due meanwhile is not caught up."""
    await commands_of(request).ask(ResumeJob(id=new_id(), at=now(), job=job, by=caller.user), JobResumed)


@router.post("/v1/admin/jobs/{job}/run", response_model=JobRunAnswer, responses=responses(401, 403, 404, 422, 503))
async def run_job(job: IdInPath, caller: JobsChange, request: Request) -> Any:
    """Fire a job now, once; also one that is paused."""
    fact = await commands_of(request).ask(RunJob(id=new_id(), at=now(), job=job, by=caller.user), FireOrdered)
    return JobRunAnswer(fire=fire_id(job, fact.version, fact.instant))


@router.get("/v1/admin/jobs", response_model=list[ScheduledJobAnswer], responses=responses(401, 403, 503))
async def list_jobs(_: JobsLook, request: Request) -> Any:
    """All jobs."""
    found = views_of(request).of(TIMETABLE)
    return [await _shown(name, state) for name, state in sorted(found.items()) if state.definition is not None]


@router.get("/v1/admin/jobs/{job}", response_model=ScheduledJobAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_job(job: IdInPath, _: JobsLook, request: Request) -> Any:
    """A job, its next ten fires and its last ones."""
    found = views_of(request).of(TIMETABLE).get(job)
    if found is None or found.definition is None:
        raise refusal_of(request, TimetableRefusal.JOB_UNKNOWN, job=job)
    return await _shown(job, found)


async def _shown(job: str, state: Timetable) -> ScheduledJobAnswer:
    assert state.definition is not None
    running = fire_id(job, state.run.version, state.run.instant) if state.run else ""
    coming = await asyncio.to_thread(cron.next_of, state, PREVIEWED)
    definition = msgspec.to_builtins(state.definition)
    if state.definition.template:
        definition["template"] = msgspec.json.decode(state.definition.template)
    history = [
        FireAnswer(
            fire=fire_id(job, past.version, past.instant), outcome=past.outcome, duration_s=past.duration_s, manual=past.manual
        )
        for past in reversed(state.history)
    ]
    return ScheduledJobAnswer(
        job=job, version=state.version, definition=definition, paused=state.paused, by=state.by, zones=state.zones,
        next=coming, running=running, waiting=len(state.queue), history=history,
    )  # fmt: skip
