"""The panel: cohorts (rules as data), their members, and tags.

A rule looks at what a user is (attributes), when (sign-up, last seen) and what the user did (sums over sliding windows). It is
decided at each action of the user, and when a window moves. `member` is a user as rules see them; `cohorts` is the one book of
rules, told to every partition of `member`. The same rules compile to SQL: `schemas.panel_sql`.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from schemas.ads import UserAttributed
from schemas.balance import EntryRecorded
from schemas.log.base import Fact, Id, Message, Refused, State, Time, UserId, Wake
from schemas.user import CameOnline, SessionOpened, Short, User_, UserSignedUp, WentOffline

BOOK: Final = "cohorts"
MAX_COHORTS: Final = 200
MAX_TAGS: Final = 100
MAX_DEPTH: Final = 8
MAX_PARTS: Final = 50


class Attribute(StrEnum):
    """What a user is."""

    ROLE = "role"
    COUNTRY = "country"
    PLATFORM = "platform"
    LOCALE = "locale"
    APP_VERSION = "app_version"
    NETWORK = "network"
    CAMPAIGN = "campaign"
    TAG = "tag"


class Moment(StrEnum):
    """When something of a user was."""

    SIGNED_UP = "signed_up"
    LAST_SEEN = "last_seen"


class Counter(StrEnum):
    """What a user did: times, seconds or coins. Members are only ever added."""

    CALLS = "calls"
    TALKED_S = "talked_s"
    GIFTS_SENT = "gifts_sent"
    GIFTS_RECEIVED = "gifts_received"
    COINS_SPENT = "coins_spent"
    COINS_BOUGHT = "coins_bought"


# Plain strings are looked up, and written, faster than members of an enumeration.
COUNTERS: Final = {counter: str(counter.value) for counter in Counter}

# A window is a number of minutes, hours or days; what happened is kept in buckets of all three, so that a rule that is saved
# today looks back as far as any. Unit: minutes a bucket, how many are kept. A bucket's number is Unix minutes // its size:
# between 1990 and 2240 no minute's number is an hour's, no hour's a day's, so that one table holds all three.
UNITS: Final = {"m": (1, 120), "h": (60, 72), "d": (1_440, 90)}
FIRST_MINUTE: Final = 10_519_200
# A table this long is looked through for what has left every window.
LONG_TABLE: Final = 48
WINDOW: Final = re.compile(r"([1-9][0-9]{0,3})([mhd])")

Buckets = dict[int, int]
_read: Final = msgspec.json.Decoder(Buckets).decode
# A counter's buckets, not yet read.
Held = Annotated[Raw, Meta(extra_json_schema=msgspec.json.schema(Buckets))]

Window = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,3}[mhd]$", description="30m, 24h, 7d: at most 120m, 72h, 90d")]
Value = Annotated[str, Meta(max_length=64)]
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
    """A counter's buckets as a member holds them: a table of one's own."""
    if held is None:
        return {}
    return _read(held) if type(held) is Raw else dict(held)


def count(buckets: Buckets, minute: int, amount: int) -> Buckets:
    """Counts `amount` in this minute, its hour and its day, and returns the buckets: the same table, or a shorter one."""
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


class _Part(State, tag_field="rule"):
    pass


class All(_Part, tag="all"):
    """Every part holds."""

    of: "tuple[Rule, ...]"


class Some(_Part, tag="any"):
    """At least one part holds."""

    of: "tuple[Rule, ...]"


class Not(_Part, tag="not"):
    """The part does not hold."""

    of: "Rule"


class Is(_Part, tag="is"):
    """The attribute is one of the values (`tag`: the user has one of them)."""

    field: Attribute
    values: Values


class Within(_Part, tag="within"):
    """It was less than `seconds` ago. What never was is not."""

    field: Moment
    seconds: Annotated[int, Meta(ge=1, le=10 * 366 * 86_400)]


class Count(_Part, tag="count"):
    """The sum over the window is at least `at_least` and, if given, at most `at_most`."""

    field: Counter
    window: Window
    at_least: int = 0
    at_most: int | None = None


Rule = All | Some | Not | Is | Within | Count


def parts_of(rule: Rule, depth: int = 1) -> Iterator[Is | Within | Count]:
    """The rule's leaves. Errors: RuleError."""
    if depth > MAX_DEPTH:
        raise RuleError(f"the rule is nested deeper than {MAX_DEPTH} levels")
    match rule:
        case All() | Some():
            if not rule.of:
                raise RuleError("all and any need at least one part")
            for part in rule.of:
                yield from parts_of(part, depth + 1)
        case Not():
            yield from parts_of(rule.of, depth + 1)
        case Count():
            parse_window(rule.window)
            if rule.at_most is not None and rule.at_most < rule.at_least:
                raise RuleError(f"the count of {rule.field} is never at least {rule.at_least} and at most {rule.at_most}")
            yield rule
        case _:
            yield rule


def check(rule: Rule) -> None:
    """Whether a rule can be. Errors: RuleError."""
    if sum(1 for _ in parts_of(rule)) > MAX_PARTS:
        raise RuleError(f"the rule has more than {MAX_PARTS} parts")


class Cohort(State):
    """A cohort: who fits the rule is a member and has the tag."""

    cohort: Id
    tag: Short
    rule: Rule
    name: Short = ""


class CohortRefusal(StrEnum):
    """Why the book of cohorts was not changed, in order of precedence."""

    COHORT_UNKNOWN = "cohort_unknown"
    TOO_MANY_COHORTS = "too_many_cohorts"


# --- the book ---------------------------------------------------------------------------------------------------------------


class PutCohort(Message):
    """The cohort is this from now on."""

    book: str
    cohort: Cohort
    by: str = ""


class RemoveCohort(Message):
    """The cohort is no more: everybody leaves it."""

    book: str
    cohort: Id
    by: str = ""


class CohortPut(Fact):
    """The cohort is in the book, whose version is `version` now."""

    book: str
    cohort: Cohort
    version: int
    by: str = ""


class CohortRemoved(Fact):
    """The cohort is out of the book."""

    book: str
    cohort: str
    version: int
    by: str = ""


class CohortRefused(Refused):
    """Nothing was changed."""

    book: str
    cohort: str
    refusal: CohortRefusal


class CohortBook(State):
    """All cohorts; each change is a version."""

    version: int = 0
    cohorts: tuple[Cohort, ...] = ()


# --- members ----------------------------------------------------------------------------------------------------------------


class ShareCohorts(Message):
    """To the broadcast key of a partition (`user`): the cohorts that all its members are decided under."""

    user: User_
    shared: CohortBook


class CountAction(Message):
    """The user did something: by how much each counter grows."""

    user: User_
    counts: dict[Counter, int]


class PutTag(Message):
    """A person gives the user a tag (a manual group is a tag that many have)."""

    user: User_
    tag: Annotated[str, Meta(min_length=1, max_length=64)]
    by: str


class RemoveTag(Message):
    """A person takes the tag away."""

    user: User_
    tag: Annotated[str, Meta(min_length=1, max_length=64)]
    by: str


class TagRefusal(StrEnum):
    """Why a tag was not changed."""

    TOO_MANY_TAGS = "too_many_tags"
    TAG_UNKNOWN = "tag_unknown"


class TagChanged(Fact):
    """The user has the tag, or not any more."""

    user: UserId
    tag: str
    there: bool
    by: str


class TagRefused(Refused):
    """Nothing was changed."""

    user: UserId
    tag: str
    refusal: TagRefusal


class CohortEntered(Fact):
    """The user fits the cohort's rule."""

    user: UserId
    cohort: str
    tag: str


class CohortLeft(Fact):
    """The user does not fit it any more, or the cohort is no more."""

    user: UserId
    cohort: str
    tag: str


class Member(State):
    """A user as rules see them. `counts`: counter -> bucket (of all units) -> sum, as JSON that is read (`buckets_of`) where it
    is asked for: who is active for months has some hundred buckets, and an action touches one counter or two (which are tables
    until the member is written). `cohorts`: id -> tag; `tags`: those given by hand; `version`: of the book that it was decided
    under; `due_at`: when a window may move. Under a broadcast key: only `shared`."""

    attributes: dict[Attribute, str] = {}
    signed_up_at: Time | None = None
    last_seen_at: Time | None = None
    counts: dict[str, Held] = {}
    tags: tuple[str, ...] = ()
    cohorts: dict[str, str] = {}
    seen_at: Time | None = None
    version: int = 0
    due_at: Time | None = None
    shared: CohortBook | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When a window may move."""
        return self.due_at

    def behind(self, common: State | None) -> bool:
        """Whether it was decided under another version of the book."""
        return self.shared is None and isinstance(common, Member) and common.shared is not None and (
            self.version != common.shared.version
        )  # fmt: skip

    @property
    def all_tags(self) -> frozenset[str]:
        """Those given by hand, and those of the cohorts."""
        return frozenset((*self.tags, *self.cohorts.values()))


BOOK_FACTS: Final = (CohortPut, CohortRemoved, CohortRefused)
MEMBER_FACTS: Final = (CohortEntered, CohortLeft, TagChanged, TagRefused)
BookInbox = PutCohort | RemoveCohort | Wake
MemberInbox = (
    ShareCohorts | CountAction | PutTag | RemoveTag | UserSignedUp | SessionOpened | CameOnline | WentOffline | EntryRecorded
    | UserAttributed | Wake
)  # fmt: skip
