"""Quiet hours: when nobody is pushed, by the clock on a person's wall (`schemas.wall`)."""

from datetime import datetime, timedelta

from msgspec import Struct

from schemas.log.base import later
from schemas.timetable_plan import Zone
from schemas.user import Code
from schemas.wall import DAY_MIN, Offsets, WallMinute, offset_at, wall_minute


class QuietHours(Struct, frozen=True, omit_defaults=True):
    """From `begins` to `ends` on the wall nobody is pushed. `offsets`: in their order, the first one from long ago; `zones`:
    the version of the zones' data that they come of."""

    begins: WallMinute
    ends: WallMinute
    zone: Zone
    offsets: Offsets = ()
    zones: Code = ""

    def over_at(self, at: datetime) -> datetime | None:
        """When the quiet hours that this moment lies in are over; None: it lies in none. Where clocks change in between, the
        moment at which the wall shows `ends` by the new time; where it never does, about then."""
        offset = offset_at(self.offsets, at)
        wall = wall_minute(self.offsets, at) % DAY_MIN
        if (wall - self.begins) % DAY_MIN >= (self.ends - self.begins) % DAY_MIN:
            return None
        whole = at.replace(second=0, microsecond=0)
        over = later(whole, timedelta(minutes=(self.ends - wall) % DAY_MIN))
        shifted = later(over, timedelta(minutes=offset - offset_at(self.offsets, over)))
        return max(shifted, later(whole, timedelta(minutes=1)))
