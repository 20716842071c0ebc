"""Which calls a tariff is for: what is known of a call when it is placed, and the rules over that.

A rule's hours are by the wall of a zone. They, too, are looked at when the call is placed: the price is the one that the payer
was shown then, for the whole call, whatever the clock says when it connects or while it lasts.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import State, Time
from schemas.timetable_plan import Zone
from schemas.user import Code, Role
from schemas.wall import DAY_MIN, Offsets, WallMinute, wall_minute

MAX_CALL_TAGS: Final = 32  # what tariff rules look at: of a payer's tags the first
MAX_WINDOWS: Final = 14
WEEK_MIN: Final = 7 * DAY_MIN
# 1970 began on a Thursday.
_THURSDAY: Final = 3

CallTags = Annotated[tuple[Code, ...], Meta(max_length=MAX_CALL_TAGS)]
Weekday = Annotated[int, Meta(ge=1, le=7, description="1 is Monday, 7 Sunday")]


class CallKind(StrEnum):
    """What kind of call."""

    DIRECT = "direct"
    ROULETTE = "roulette"
    CLIP = "clip"


class Traits(State):
    """What a rule looks at in a call. `country` and `tags` are the payer's, `price_class` is what the earner has picked."""

    kind: CallKind
    payer_role: Role
    earner_role: Role
    country: Code = ""
    tags: CallTags = ()
    price_class: Code = ""
    placed_at: Time | None = None


class Window(State):
    """On these days from `begins` to `ends`; where `ends` is not later, to that minute of the next day. The same minute twice:
    a whole day."""

    days: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)]
    begins: WallMinute
    ends: WallMinute

    @property
    def spans(self) -> Iterator[range]:
        """The minutes of a week that lie in it, from Monday's midnight on; what passes Sunday's is another span."""
        for day in self.days:
            begins = (day - 1) * DAY_MIN + self.begins
            ends = begins + ((self.ends - self.begins) % DAY_MIN or DAY_MIN)
            yield range(begins, min(ends, WEEK_MIN))
            yield range(max(0, ends - WEEK_MIN))


class Hours(State):
    """Windows that come back each week, by the wall of a zone. `zones`: the version of the data that `offsets` come of."""

    windows: Annotated[tuple[Window, ...], Meta(min_length=1, max_length=MAX_WINDOWS)]
    zone: Zone
    offsets: Offsets = ()
    zones: Code = ""

    def holds(self, at: datetime) -> bool:
        """Whether this moment lies in a window."""
        minute = (wall_minute(self.offsets, at) + _THURSDAY * DAY_MIN) % WEEK_MIN
        return any(minute in span for window in self.windows for span in window.spans)

    def meets(self, other: "Hours") -> bool:
        """Whether some moment may lie in both: of two zones nobody knows for all years."""
        return self.zone != other.zone or any(
            range(max(one.start, two.start), min(one.stop, two.stop))
            for mine in self.windows for one in mine.spans for theirs in other.windows for two in theirs.spans
        )  # fmt: skip


class Rule(State):
    """Which calls a tariff is for; what is left out fits every call."""

    kind: CallKind | None = None
    payer_role: Role | None = None
    earner_role: Role | None = None
    country: Code = ""
    tag: Code = ""
    price_class: Code = ""
    hours: Hours | None = None

    def fits(self, call: Traits, at: datetime) -> bool:
        """Whether it is for this call, placed at `at`."""
        return self.suits(call) and (self.hours is None or self.hours.holds(at))

    def suits(self, call: Traits) -> bool:
        """Whether it is for such calls, at some hour."""
        return (
            self.kind in (None, call.kind)
            and self.payer_role in (None, call.payer_role)
            and self.earner_role in (None, call.earner_role)
            and self.country in ("", call.country)
            and (not self.tag or self.tag in call.tags)
            and self.price_class in ("", call.price_class)
        )

    @property
    def weight(self) -> int:
        """How much it says: of the rules that fit, the heaviest wins."""
        said = (self.kind, self.payer_role, self.earner_role, self.country, self.tag, self.price_class, self.hours)
        return sum(bool(part) for part in said)

    def meets(self, other: "Rule") -> bool:
        """Whether some call fits both. A payer may have several tags, so different tags meet."""
        pairs = (
            (self.kind, other.kind), (self.payer_role, other.payer_role), (self.earner_role, other.earner_role),
            (self.country, other.country), (self.price_class, other.price_class),
        )  # fmt: skip
        alike = all(not left or not right or left == right for left, right in pairs)
        return alike and (self.hours is None or other.hours is None or self.hours.meets(other.hours))
