"""Quiet hours: when nobody is pushed, by the clock on a person's wall.

What a zone's clocks show is worked out once, at the door (`infra.cron.offsets_of`), and stands in the preferences from then on,
with the data's version beside it: a replay never works it out again.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.log.base import Time, later, unix_minute
from schemas.timetable_plan import Zone
from schemas.user import Code

DAY_MIN: Final = 1_440
# Clocks change twice a year: preferences that nobody saves again hold for twelve years, then the last offset stays.
MAX_OFFSETS: Final = 24

WallMinute = Annotated[int, Meta(ge=0, lt=DAY_MIN, description="minutes behind midnight, on the wall")]


class Offset(Struct, frozen=True):
    """From `since` on the wall shows so many minutes more than UTC."""

    since: Time
    minutes: Annotated[int, Meta(ge=-DAY_MIN, le=DAY_MIN)]


class QuietHours(Struct, frozen=True, omit_defaults=True):
    """From `begins` to `ends` on the wall nobody is pushed. `offsets`: in their order, the first one from long ago; `zones`:
    the version of the zones' data that they come of."""

    begins: WallMinute
    ends: WallMinute
    zone: Zone
    offsets: Annotated[tuple[Offset, ...], Meta(max_length=MAX_OFFSETS)] = ()
    zones: Code = ""

    def offset_at(self, at: datetime) -> int:
        """How many minutes the wall is ahead of UTC."""
        found = [one.minutes for one in self.offsets if one.since <= at]
        return found[-1] if found else 0

    def over_at(self, at: datetime) -> datetime | None:
        """When the quiet hours that this moment lies in are over; None: it lies in none. Where clocks change in between, the
        moment at which the wall shows `ends` by the new time; where it never does, about then."""
        offset = self.offset_at(at)
        wall = (unix_minute(at) + offset) % DAY_MIN
        if (wall - self.begins) % DAY_MIN >= (self.ends - self.begins) % DAY_MIN:
            return None
        whole = at.replace(second=0, microsecond=0)
        over = later(whole, timedelta(minutes=(self.ends - wall) % DAY_MIN))
        shifted = later(over, timedelta(minutes=offset - self.offset_at(over)))
        return max(shifted, later(whole, timedelta(minutes=1)))
