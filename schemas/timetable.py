"""The timetable: jobs as data. One entity, `timetable`, keyed by the job's name.

A job says when (`Schedule`), and what: a command of any inbox from a template, or a chore of the platform, by name. A *fire* is
job, version and instant: `nightly/3/2026-11-27T02:00:00Z`. It is decided once; each starts and ends, or is told not to have
been made, with the reason. When the next ones are due is planned ahead by `dispatch` through the outbox.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.log.base import By, Fact, Fields, Message, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import PLAIN
from schemas.outbox import EffectAccepted, EffectExpired, EffectKind, EffectRefused
from schemas.timetable_plan import CatchUp, Instants, Number, Plan, Schedule, Version
from schemas.user import Code

# Behind this a fire is late, and the job's `catch_up` says what becomes of it.
ON_TIME_S: Final = 30
MAX_WINDOW_S: Final = 31 * 86_400
MAX_LIMIT_S: Final = 86_400
# Fires that wait for the one that runs.
MAX_QUEUE: Final = 16
# The last fires are shown with the job; all of them stand in ClickHouse.
HISTORY: Final = 20
MAX_TEMPLATE: Final = 4_000
# The longest name of a job: with a version and an instant behind it, it is an id still.
MAX_JOB: Final = 64
# What a template may name: the fire's id, its instant, and its date in UTC.
FIRE, INSTANT, DATE = "{fire}", "{instant}", "{date}"

JobName = Annotated[str, Meta(min_length=1, max_length=MAX_JOB), PLAIN]
Template = Annotated[str, Meta(max_length=MAX_TEMPLATE, description="the command's fields, as JSON"), PLAIN]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]


class TimetableRefusal(StrEnum):
    """Why a job's command was refused."""

    JOB_UNKNOWN = "job_unknown"


class Overlap(StrEnum):
    """What becomes of a fire while an earlier one runs: it is left out, waits, or takes its place."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


class FireOutcome(StrEnum):
    """How a fire ended. `sent`: its command is told; `done`, `failed`, `expired`: what the chore came to; `replaced`: a newer
    one took its place. All others were not made: `skipped` and `queue_full` while another ran, `missed` since nobody could make
    it in time, `superseded` by a newer version of the job, `invalid` as the template does not give a command any more."""

    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    REPLACED = "replaced"
    SKIPPED = "skipped"
    QUEUE_FULL = "queue_full"
    MISSED = "missed"
    SUPERSEDED = "superseded"
    INVALID = "invalid"


class Definition(Struct, frozen=True, omit_defaults=True):
    """A job as staff wrote it. `command` with `template`, or `chore`. `window_s`: fires later than this are not caught up;
    `limit_s`: so long a chore may take."""

    schedule: Schedule
    command: Code = ""
    template: Template = ""
    chore: Code = ""
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.ONE
    window_s: Annotated[int, Meta(ge=0, le=MAX_WINDOW_S)] = 86_400
    limit_s: Annotated[int, Meta(ge=1, le=MAX_LIMIT_S)] = 3_600
    paused: bool = False


class _OfJob(Fields):
    job: JobName


class _ByStaff(Message, _OfJob):
    by: By = ""


class PutJobOnTimetable(_ByStaff):
    """The job is like this from now on: a new version, whose first instants are `plan`."""

    definition: Definition
    plan: Plan


class TakeJobOffTimetable(_ByStaff):
    """There is no such job any more."""


class PauseJob(_ByStaff):
    """The job fires nothing until it is resumed."""


class ResumeJob(_ByStaff):
    """The job fires again, from now on."""


class RunJob(_ByStaff):
    """Fire now, once, whatever the schedule says."""


class JobOnTimetable(Fact, _OfJob):
    """The job is like this from now on."""

    definition: Definition
    version: Version
    zones: Code = ""
    by: By = ""


class JobOffTimetable(Fact, _OfJob):
    """The job is gone: this version, and all before it, never fire again."""

    version: Version
    by: By = ""


class JobPaused(Fact, _OfJob):
    """The job fires nothing. `by`: who paused it; the timetable itself where the next instants cannot be worked out."""

    version: Version
    by: By = ""


class JobResumed(Fact, _OfJob):
    """The job fires again; what was due in between is not caught up."""

    version: Version
    by: By = ""


class JobPlanned(Fact, _OfJob):
    """The next instants are these, by this version of the zones' data; they are not worked out again."""

    version: Version
    instants: Instants = ()
    zones: Code = ""


class FireOrdered(Fact, _OfJob):
    """Staff wants a fire, at this instant: it starts, waits, or is left out, as the job says."""

    version: Version
    instant: Time
    by: By = ""


class FireStarted(Fact, _OfJob):
    """A fire begins: its command is told with this decision, or its chore is owed. `manual`: by staff, not by the schedule."""

    version: Version
    instant: Time
    command: Code = ""
    chore: Code = ""
    manual: bool = False
    by: By = ""


class FireEnded(Fact, _OfJob):
    """How a fire ended, `duration_s` behind its start; or that `fires` of them, from `instant` to `last`, were not
    made."""

    version: Version
    instant: Time
    last: Time
    outcome: FireOutcome
    fires: Number = 1
    duration_s: Seconds = 0.0
    manual: bool = False


class TimetableRefused(Refused, _OfJob):
    """Nothing was changed."""

    refusal: TimetableRefusal


class Due(Struct, frozen=True, omit_defaults=True):
    """A fire that waits for another one to end."""

    instant: Time
    manual: bool = False
    by: By = ""


class Run(Struct, frozen=True, omit_defaults=True):
    """The fire whose chore runs."""

    version: Version
    instant: Time
    started_at: Time
    manual: bool = False


class Past(Struct, frozen=True, omit_defaults=True):
    """A fire that has ended."""

    version: Version
    instant: Time
    outcome: FireOutcome
    duration_s: Seconds = 0.0
    manual: bool = False


class Timetable(State):
    """A job. `instants`: the planned ones, all behind `planned_to`'s predecessors; `asked`: the next ones are wanted, behind
    this one; `owed`: the newest missed one, while it is not known whether it is the newest. Of a job that was taken off
    (`definition` is None) the version stays, so that no version comes twice."""

    version: Version
    definition: Definition | None = None
    instants: Instants = ()
    planned_to: Time | None = None
    ended: bool = False
    asked: Time | None = None
    owed: Time | None = None
    paused: bool = False
    run: Run | None = None
    queue: Annotated[tuple[Due, ...], Meta(max_length=MAX_QUEUE)] = ()
    history: Annotated[tuple[Past, ...], Meta(max_length=HISTORY)] = ()
    zones: Code = ""
    by: By = ""

    @property
    def wake_at(self) -> datetime | None:
        """The next instant."""
        return self.instants[0] if self.instants and not self.paused else None


def fire_id(job: str, version: int, instant: datetime) -> str:
    """A fire's name."""
    return f"{job}/{version}/{_shown(instant)}"


def names_of(job: str, version: int, instant: datetime) -> dict[str, str]:
    """What a template may name, of a fire."""
    return {FIRE: fire_id(job, version, instant), INSTANT: _shown(instant), DATE: _shown(instant)[:10]}


def _shown(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def chore_id(job: str, version: int, instant: datetime) -> str:
    """The effect that is a fire's chore."""
    return f"chore/{fire_id(job, version, instant)}"


def plan_id(job: str, version: int, after: datetime) -> str:
    """The effect that works out the instants behind `after`."""
    return f"plan/{fire_id(job, version, after)}"


def _job_of(effect: EffectAccepted | EffectRefused | EffectExpired) -> str:
    return effect.subject if effect.kind in (EffectKind.CHORE, EffectKind.PLAN) else ""


TimetableInbox = (
    PutJobOnTimetable
    | TakeJobOffTimetable
    | PauseJob
    | ResumeJob
    | RunJob
    | EffectAccepted
    | EffectRefused
    | EffectExpired
    | Wake
)

TIMETABLE: Final = Entity(
    "timetable",
    key="job",
    flow=Flow.LIVE,
    state=Timetable,
    commands=(PutJobOnTimetable, TakeJobOffTimetable, PauseJob, ResumeJob, RunJob),
    facts=(
        JobOnTimetable, JobOffTimetable, JobPaused, JobResumed, JobPlanned, FireOrdered, FireStarted, FireEnded,
        TimetableRefused,
    ),
    hears=(
        Hears(EffectAccepted, _job_of, "a job hears that its chore is done, and its next instants"),
        Hears(EffectRefused, _job_of, "a job hears that its chore failed"),
        Hears(EffectExpired, _job_of, "a job hears that its chore came too late"),
    ),
)  # fmt: skip
