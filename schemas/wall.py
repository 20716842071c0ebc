"""Clocks on walls: what a time zone shows, worked out once, at the door (`infra.cron.offsets_of`), and kept beside what follows
it, with the version of the zones' data: a replay never works it out again. Nothing here knows a zone by itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta, Struct

from schemas.log.base import Time, unix_minute

DAY_MIN: Final = 1_440
# Clocks change twice a year: what nobody saves again holds for twelve years, then the last offset stays.
MAX_OFFSETS: Final = 24

WallMinute = Annotated[int, Meta(ge=0, lt=DAY_MIN, description="minutes behind midnight, on the wall")]


class Offset(Struct, frozen=True):
    """From `since` on the wall shows so many minutes more than UTC."""

    since: Time
    minutes: Annotated[int, Meta(ge=-DAY_MIN, le=DAY_MIN)]


# In their order, the first one from long ago.
Offsets = Annotated[tuple[Offset, ...], Meta(max_length=MAX_OFFSETS)]


def offset_at(offsets: Sequence[Offset], at: datetime) -> int:
    """How many minutes the wall is ahead of UTC."""
    found = [one.minutes for one in offsets if one.since <= at]
    return found[-1] if found else 0


def wall_minute(offsets: Sequence[Offset], at: datetime) -> int:
    """What the wall shows, in minutes since 1970 began on it."""
    return unix_minute(at) + offset_at(offsets, at)
