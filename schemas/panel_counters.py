"""Counters of the panel: what a user does, in buckets of time inside the member's state, and windows over them.

A window is written `30m`, `24h` or `7d`. Buckets are counted by the minute of the event and kept as JSON bytes (`Held`), since
a member has many and an event touches few.
"""

import re
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from schemas.log.personal import PLAIN


class Counter(StrEnum):
    """What a user did: times, seconds or coins. Members are only ever added."""

    CALLS = "calls"
    TALKED_S = "talked_s"
    GIFTS_SENT = "gifts_sent"
    GIFTS_RECEIVED = "gifts_received"
    COINS_SPENT = "coins_spent"
    COINS_BOUGHT = "coins_bought"
    MESSAGES_SENT = "messages_sent"
    MESSAGES_RECEIVED = "messages_received"


CounterName = Annotated[str, Meta(max_length=20), PLAIN]
# A plain string is looked up and written faster than a member of an enumeration.
COUNTERS: Final = {counter: str(counter.value) for counter in Counter}

# A window is a number of minutes, hours or days. Each action is counted in buckets of all three units, so that a rule that is
# saved today looks back as far as an old one. By unit: how many minutes a bucket has, and how many buckets are kept. A bucket's
# number is the Unix minute divided by the bucket's size: between 1990 and 2240 the numbers of the three units lie far enough
# apart for one table to hold them all.
UNITS: Final = {"m": (1, 120), "h": (60, 72), "d": (1_440, 90)}
FIRST_MINUTE: Final = 10_519_200
# A table that is longer than this is searched for buckets that have left every window.
LONG_TABLE: Final = 48
WINDOW: Final = re.compile(r"([1-9][0-9]{0,3})([mhd])")

Buckets = dict[int, int]
_read: Final = msgspec.json.Decoder(Buckets).decode
# A counter's buckets, as JSON that was not read yet.
# `count` keeps MAX_BUCKETS of them, and one more until it has looked; a number has up to 8 digits, an amount up to 19.
MAX_BUCKETS: Final = sum(kept for _, kept in UNITS.values()) + 3
Held = Annotated[
    Raw,
    Meta(
        extra_json_schema=msgspec.json.schema(Buckets),
        extra={"max_bytes": 2 + MAX_BUCKETS * len('"12345678":1234567890123456789,')},
    ),
    PLAIN,
]

Window = Annotated[
    str, Meta(max_length=6, pattern=r"^[1-9][0-9]{0,3}[mhd]$", description="30m, 24h, 7d: at most 120m, 72h, 90d"), PLAIN
]
# As long as the name of a campaign.
Value = Annotated[str, Meta(max_length=256), PLAIN]
Values = Annotated[tuple[Value, ...], Meta(min_length=1, max_length=200)]


class RuleError(ValueError):
    """A rule that cannot be; the text says what to do."""


def parse_window(window: str) -> tuple[str, int]:
    """A window's unit and how many of its buckets. Errors: RuleError."""
    found = WINDOW.fullmatch(window)
    if not found or int(found[1]) > UNITS[found[2]][1]:
        raise RuleError(f"the window {window!r} is none: a number and m, h or d, at most 120m, 72h or 90d")
    return found[2], int(found[1])


def buckets_of(held: Raw | Buckets | None) -> Buckets:
    """The buckets of a counter that a member holds, as a table that the caller may change."""
    if held is None:
        return {}
    return _read(held) if type(held) is Raw else dict(held)


def count(buckets: Buckets, minute: int, amount: int) -> Buckets:
    """Counts `amount` in this minute, its hour and its day. Returns the same table, or a shorter one without old buckets."""
    hour, day = minute // 60, minute // 1_440
    before, get = len(buckets), buckets.get
    buckets[minute] = get(minute, 0) + amount
    buckets[hour] = get(hour, 0) + amount
    buckets[day] = get(day, 0) + amount
    return _kept(buckets) if len(buckets) > LONG_TABLE and len(buckets) > before else buckets


def _kept(buckets: Buckets) -> Buckets:
    """The buckets that have not left every window."""
    newest = max(buckets)
    (minutes, minute), (hours, hour), (_, day) = [
        (FIRST_MINUTE // size, newest // size - kept) for size, kept in UNITS.values()
    ]
    return {
        number: amount
        for number, amount in buckets.items()
        if number > (minute if number >= minutes else hour if number >= hours else day)
    }
