"""Times on a wall, as bodies have them ("22:00", "Europe/Berlin"), and as the log keeps them (`schemas.wall`)."""

from typing import Annotated, Final

from pydantic import Field

from infra import cron
from schemas.log.base import now
from schemas.wall import MAX_OFFSETS, Offset
from serving.runtime.problems import Problem

WALL: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
WallClock = Annotated[str, Field(pattern=WALL, description="on the wall, such as 22:00")]
ZoneName = Annotated[str, Field(max_length=64, description="a time zone, such as Europe/Berlin")]


def minute_of(wall: str) -> int:
    """ "22:00" in minutes behind midnight."""
    return int(wall[:2]) * 60 + int(wall[3:])


def clock_of(minute: int) -> str:
    """Minutes behind midnight as "22:00"."""
    return f"{minute // 60:02}:{minute % 60:02}"


def offsets_of(zone: str) -> tuple[Offset, ...]:
    """What a zone's clocks will show. Errors: Problem 422 `zone_unknown`."""
    try:
        found = cron.offsets_of(zone, now(), MAX_OFFSETS)
    except cron.ScheduleError as error:
        raise Problem(422, error.code, str(error)) from None
    return tuple(Offset(since, minutes) for since, minutes in found)
