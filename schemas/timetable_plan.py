"""When a job runs: its schedule, and the instants that follow from it. Instants are worked out once, outside of any decider
(`infra/cron.py`), and are facts from then on, with the version of the time zones' data beside them.
"""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.log.base import Time
from schemas.log.personal import PLAIN
from schemas.user import Code

# So many instants are planned ahead; the next ones are asked for when half of them are over.
PLANNED: Final = 32
DAY_S: Final = 86_400
MAX_EVERY_S: Final = 366 * DAY_S
MAX_CRON: Final = 100

CronLine = Annotated[str, Meta(max_length=MAX_CRON, description="five fields, or six with seconds first; or empty"), PLAIN]
Zone = Annotated[str, Meta(max_length=64, description="a time zone, such as Europe/Berlin"), PLAIN]
Instants = Annotated[tuple[Time, ...], Meta(max_length=PLANNED)]
Version = Annotated[int, Meta(ge=0, le=2**53)]
Number = Annotated[int, Meta(ge=0, le=2**53)]


class CatchUp(StrEnum):
    """What becomes of the fires that nobody could make in time: each is made, the newest one, or none."""

    EACH = "each"
    ONE = "one"
    NONE = "none"


class Schedule(Struct, frozen=True, omit_defaults=True):
    """One of three: a cron line in a zone, every so many seconds from `at` on, or once at `at`."""

    cron: CronLine = ""
    zone: Zone = "UTC"
    every_s: Annotated[int, Meta(ge=0, le=MAX_EVERY_S)] = 0
    at: Time | None = None


class PlanWanted(Struct, frozen=True, omit_defaults=True):
    """The instants behind `after` are wanted, for this version of the job; those older than `window_s` only as a number."""

    version: Version
    schedule: Schedule
    after: Time
    window_s: Annotated[int, Meta(ge=0, le=366 * DAY_S)] = 0


class Plan(Struct, frozen=True, omit_defaults=True):
    """The instants behind `after`, in order. `ended`: there are no more behind them. `passed`: so many between `after` and
    `instants` were too old to be caught up, from `passed_first` to `passed_last`. `zones`: the version of the zones' data."""

    version: Version
    after: Time
    instants: Instants = ()
    ended: bool = False
    passed: Number = 0
    passed_first: Time | None = None
    passed_last: Time | None = None
    zones: Code = ""
