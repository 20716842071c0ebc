"""When a job is due: the one place where schedules become instants, for the first plan, for all later ones, and for previews.

Daylight-saving time. A line whose minute and hour are fixed (no star in front) is about the clock on the wall: it fires once a
local date that has it. In the hour that comes twice it fires the first time only; a time that the clock leaps over is due when
the clock has leapt, or, where that is another date, in the last second before. A date that a zone leaves out has no fire. A
line with a star in front of the minute or the hour, or with seconds, is about time that passes: such as hourly, it fires in
both of the hours that are called alike, and not in the one that is left out.

The zones' data are those of the package `tzdata`, never the machine's own: all processes agree, and its version is told.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import islice, pairwise
from typing import Final
from zoneinfo import ZoneInfo

import tzdata  # type: ignore[import-untyped]
from cronsim import CronSim, CronSimError

from infra.errors import UsageError
from schemas.log.base import FIRST, LAST, now
from schemas.timetable import Timetable
from schemas.timetable_plan import PLANNED, Plan, PlanWanted, Schedule

# What the data says of rules to come; which version it is stands with each plan.
ZONES: Final[str] = tzdata.IANA_VERSION
SECOND: Final = timedelta(seconds=1)
# A plan counts so many old instants at once.
MAX_PASSED: Final = 100_000


class ScheduleError(UsageError):
    """A schedule that cannot be; `code` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@cache
def zone_names() -> frozenset[str]:
    """All zones of the data."""
    return frozenset((files("tzdata") / "zones").read_text().split())


@cache
def zone_of(name: str) -> ZoneInfo:
    """A zone. Errors: ScheduleError."""
    if name not in zone_names():
        raise ScheduleError("zone_unknown", f"there is no time zone {name!r} in tzdata {ZONES}; take one such as Europe/Berlin")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def instants(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """All instants behind `after`, in order, in UTC. Errors: ScheduleError."""
    if schedule.cron:
        return _of_cron(schedule.cron, zone_of(schedule.zone), after)
    if schedule.every_s:
        return _of_steps(schedule.at or after, timedelta(seconds=schedule.every_s), after)
    if schedule.at is None:
        raise ScheduleError("schedule_invalid", "say one of: a cron line, every so many seconds, or a time")
    return iter([schedule.at.astimezone(UTC).replace(microsecond=0)] if schedule.at > after else [])


def check(schedule: Schedule, after: datetime, least_s: float) -> None:
    """Whether it is a schedule that fires, and not more often than every `least_s` seconds. Errors: ScheduleError."""
    if bool(schedule.cron) == bool(schedule.every_s or schedule.at):
        raise ScheduleError("schedule_invalid", "say one of: a cron line, every so many seconds, or a time")
    first = list(islice(instants(schedule, after), PLANNED))
    if not first:
        code, why = ("cron_never_fires", "no date fits this line") if schedule.cron else ("already_past", "this time is over")
        raise ScheduleError(code, f"the job would never fire: {why}")
    if any((later - earlier).total_seconds() < least_s for earlier, later in pairwise(first)):
        raise ScheduleError("too_frequent", f"such a job may fire every {least_s:g} seconds at most")


def plan_of(wanted: PlanWanted, now: datetime) -> Plan:
    """The next instants, and how many are too old to be caught up. Errors: ScheduleError."""
    oldest = now - timedelta(seconds=wanted.window_s)
    coming = instants(wanted.schedule, wanted.after)
    passed, first, last = 0, None, None
    found: list[datetime] = []
    for instant in coming:
        if instant < oldest and passed < MAX_PASSED:
            passed, first, last = passed + 1, first or instant, instant
            continue
        if passed == MAX_PASSED:
            return Plan(wanted.version, wanted.after, (), False, passed, first, last, ZONES)
        found.append(instant)
        if len(found) == PLANNED:
            break
    return Plan(wanted.version, wanted.after, tuple(found), len(found) < PLANNED, passed, first, last, ZONES)


def next_of(job: Timetable, count: int) -> list[datetime]:
    """The next fires of a job: those that are planned, and behind them those that will be. One that is paused is shown
    as if it went on at once."""
    planned = [one for one in job.instants if one > now()] if job.paused else list(job.instants)
    if job.definition is None or job.ended or len(planned) >= count:
        return planned[:count]
    after = max(job.planned_to or now(), now()) if job.paused else job.planned_to or now()
    try:
        return [*planned, *islice(instants(job.definition.schedule, after), count - len(planned))]
    except ScheduleError:  # by the newest data there is no such zone any more: the job will be paused
        return planned


def offsets_of(zone: str, at: datetime, count: int) -> tuple[tuple[datetime, int], ...]:
    """What the zone's wall shows from before `at` on: since when, and how many whole minutes more than UTC; so many changes, in
    order, of those within a decade or two. Errors: ScheduleError."""
    known = zone_of(zone)
    day = at.astimezone(UTC).replace(microsecond=0)
    found = [(FIRST, _minutes(known, day))]
    for _ in range(count * 200):
        if len(found) == count:
            break
        low, high = day, day + timedelta(days=1)
        day = high
        if _minutes(known, high) == found[-1][1]:
            continue
        while high - low > SECOND:
            middle = low + ((high - low) // 2 // SECOND) * SECOND
            low, high = (middle, high) if _minutes(known, middle) == found[-1][1] else (low, middle)
        found.append((high, _minutes(known, high)))
    return tuple(found)


def _minutes(zone: ZoneInfo, at: datetime) -> int:
    ahead = at.astimezone(zone).utcoffset() or timedelta()
    return round(ahead / timedelta(minutes=1))


def _of_steps(begin: datetime, step: timedelta, after: datetime) -> Iterator[datetime]:
    begin = begin.astimezone(UTC).replace(microsecond=0)
    number = max(0, (after - begin) // step + 1)
    while (instant := begin + number * step) < LAST:
        yield instant
        number += 1


def _of_cron(line: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    local = after.astimezone(zone)
    try:
        walls = CronSim(line, local.replace(tzinfo=None) if on_the_wall(line) else local)
    except CronSimError as error:
        code = "cron_never_fires" if str(error) == "Bad day-of-month" and _has_days(line) else "cron_invalid"
        raise ScheduleError(code, f"the cron line {line!r} cannot be: {error}") from error
    last = after
    for wall in walls:
        instant = _first_of(wall, zone) if wall.tzinfo is None else wall.astimezone(UTC)
        if instant is not None and instant > last:
            yield instant
            last = instant


def on_the_wall(line: str) -> bool:
    """Whether a line is about the clock on the wall, not about time that passes."""
    fields = line.split()
    return len(fields) == 5 and not fields[0].startswith("*") and not fields[1].startswith("*")


def _has_days(line: str) -> bool:
    """Whether the days of a line are days at all, though its months may not have them."""
    fields = line.split()
    fields[-2] = "*"
    try:
        CronSim(" ".join(fields), datetime(2030, 1, 1))  # noqa: DTZ001 - any time will do
    except CronSimError:
        return False
    return True


def _first_of(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """When the clock on the wall shows it for the first time; None: never, on no moment of that date."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # The clock leaps over it, between these two: with the offset of behind the leap, and with that of before.
    low, high = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant
    before = low.astimezone(zone).utcoffset()
    while high - low > SECOND:
        middle = low + (high - low) // 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    leap = high.replace(microsecond=0)
    for moment in (leap, leap - SECOND):
        if moment.astimezone(zone).date() == wall.date():
            return moment
    return None
