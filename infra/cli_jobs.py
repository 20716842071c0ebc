"""`olo jobs`: the timetable for operators. Jobs are written by `PUT /v1/admin/jobs/{job}`."""

from typing import Annotated, Any, Final

import msgspec
import typer
from rich.table import Table

from infra import cron
from infra.acts import Reason, noted
from infra.cli_ads import connected, console
from infra.config import Config
from infra.entities import states_of, tell
from infra.errors import UsageError
from infra.machine import user_here
from schemas.log.base import new_id, now
from schemas.timetable import TIMETABLE, PauseJob, ResumeJob, RunJob, Timetable
from schemas.timetable_plan import Schedule

jobs_app = typer.Typer(no_args_is_help=True, help="What the platform does by the clock.")
PREVIEWED: Final = 10

JobArgument = Annotated[str, typer.Argument(help="a job, as `list` shows it")]


def jobs(config: Config) -> dict[str, Timetable]:
    """All jobs on the timetable, by name."""
    found = sorted(states_of(config, TIMETABLE), key=lambda one: one[0])
    return {name: job for name, job in found if isinstance(job, Timetable) and job.definition is not None}


def find(config: Config, name: str) -> Timetable:
    """One job. Errors: UsageError."""
    job = jobs(config).get(name)
    if job is None:
        raise UsageError(f"there is no job {name!r}; see `olo jobs list`")
    return job


def schedule_text(schedule: Schedule) -> str:
    """A schedule in a few words."""
    if schedule.cron:
        return f"{schedule.cron} {schedule.zone}"
    return f"every {schedule.every_s} s" if schedule.every_s else f"once at {schedule.at:%Y-%m-%d %H:%M:%S %Z}"


@jobs_app.command(name="list")
def list_jobs() -> None:
    """All jobs, what they do, when they fire next, and how the last fire ended."""
    table = Table("job", "when", "what", "next", "last", "version")
    for name, job in jobs(connected()).items():
        assert job.definition is not None
        coming = "paused" if job.paused else f"{job.instants[0]:%Y-%m-%d %H:%M:%S}" if job.instants else "never"
        last = job.history[-1].outcome if job.history else ""
        what = job.definition.command or job.definition.chore
        table.add_row(name, schedule_text(job.definition.schedule), what, coming, last, str(job.version))
    console.print(table if table.row_count else "no jobs")


@jobs_app.command()
def show(job: JobArgument) -> None:
    """One job as it stands, with its last fires."""
    told: dict[str, Any] = msgspec.to_builtins(find(connected(), job))
    console.print_json(data=told)


@jobs_app.command()
def preview(job: JobArgument) -> None:
    """The next ten fires, by the code that plans them."""
    found = find(connected(), job)
    if found.paused:
        console.print(f"{job} is paused; if it were resumed now:", markup=False)
    for instant in cron.next_of(found, PREVIEWED):
        console.print(f"{instant:%Y-%m-%d %H:%M:%S} UTC", markup=False)


@jobs_app.command()
def run(job: JobArgument, reason: Reason = "") -> None:
    """Fire it now, once, whatever its schedule says."""
    config = _known(job)
    with noted(config, "jobs run", job, reason):
        tell(config, TIMETABLE, job, RunJob(id=new_id(), at=now(), job=job, by=user_here()))
    console.print(f"{job} fires; see `olo jobs show {job}`", markup=False)


@jobs_app.command()
def pause(job: JobArgument, reason: Reason = "") -> None:
    """It fires nothing until it is resumed."""
    config = _known(job)
    with noted(config, "jobs pause", job, reason):
        tell(config, TIMETABLE, job, PauseJob(id=new_id(), at=now(), job=job, by=user_here()))
    console.print(f"{job} is paused", markup=False)


@jobs_app.command()
def resume(job: JobArgument, reason: Reason = "") -> None:
    """It fires again; what was due meanwhile is not caught up."""
    config = _known(job)
    with noted(config, "jobs resume", job, reason):
        tell(config, TIMETABLE, job, ResumeJob(id=new_id(), at=now(), job=job, by=user_here()))
    console.print(f"{job} goes on", markup=False)


def _known(job: str) -> Config:
    config = connected()
    find(config, job)
    return config
