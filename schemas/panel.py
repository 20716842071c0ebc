"""The panel: cohorts (rules as data), their members, and tags.

A rule looks at what a user is (attributes), when (sign-up, last seen) and what the user did (sums over sliding windows). It is
decided at each action of the user, and when a window moves. `member` is a user as rules see them; `cohorts` is the one book of
rules, told to every partition of `member`. The same rules compile to SQL: `schemas.panel_sql`.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from schemas.ads import UserAttributed, Word, network_of
from schemas.balance import EntryRecorded, Reason, owner_of
from schemas.log.base import MAX_COINS, BookName, By, Fact, Message, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears
from schemas.log.personal import PLAIN
from schemas.names import name_of
from schemas.panel_counters import Counter, CounterName, Held, RuleError, Values, Window, parse_window
from schemas.user import CameOnline, Code, SessionOpened, UserCommand, UserErased, UserFact, UserSignedUp, WentOffline

BOOK: Final = "cohorts"
MAX_COHORTS: Final = 200
# The book as JSON: some six hundred bytes for each of two hundred cohorts. All of it goes to every partition of members.
MAX_BOOK_BYTES: Final = 128 * 1024
MAX_TAGS: Final = 100
# Of a member, who else gives a tag that a subscription gives. Nobody has so many subscriptions.
MAX_GIVERS: Final = 8
MAX_DEPTH: Final = 8
MAX_PARTS: Final = 50
# The name of a cohort, a tag or a group, as paths have it; members keep hundreds of them.
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$"), PLAIN]
NameInList = Annotated[str, Meta(max_length=64, extra={"max_bytes": 68}), PLAIN]


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


# What comes as a name from outside, and how it is written here.
NAMES: Final = {Attribute.NETWORK: network_of, Attribute.CAMPAIGN: name_of}


class Moment(StrEnum):
    """When something of a user was."""

    SIGNED_UP = "signed_up"
    LAST_SEEN = "last_seen"


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


def in_form(rule: Rule) -> Rule:
    """The rule with the names of networks and campaigns in the form in which touches have them."""
    match rule:
        case All() | Some():
            return replace(rule, of=tuple(map(in_form, rule.of)))
        case Not():
            return replace(rule, of=in_form(rule.of))
        case Is() if rule.field in NAMES:
            return replace(rule, values=tuple(dict.fromkeys(map(NAMES[rule.field], rule.values))))
        case _:
            return rule


class Cohort(State):
    """A cohort: who fits the rule is a member and has the tag."""

    cohort: Name
    tag: Name
    rule: Annotated[Rule, Meta(extra={"max_bytes": MAX_BOOK_BYTES})]
    name: Code = ""


class CohortRefusal(StrEnum):
    """Why the book of cohorts was not changed, in order of precedence."""

    COHORT_UNKNOWN = "cohort_unknown"
    TOO_MANY_COHORTS = "too_many_cohorts"
    BOOK_FULL = "book_full"


# --- the book ---------------------------------------------------------------------------------------------------------------


class PutCohort(Message, BookName):
    """The cohort is this from now on."""

    cohort: Cohort
    by: By = ""


class RemoveCohort(Message, BookName):
    """The cohort is no more: everybody leaves it."""

    cohort: Name
    by: By = ""


class CohortPut(Fact, BookName):
    """The cohort is in the book, whose version is `version` now."""

    cohort: Cohort
    version: int
    by: By = ""


class CohortRemoved(Fact, BookName):
    """The cohort is out of the book."""

    cohort: Name
    version: int
    by: By = ""


class CohortRefused(Refused, BookName):
    """Nothing was changed."""

    cohort: Name
    refusal: CohortRefusal


class CohortBook(State):
    """All cohorts; each change is a version."""

    version: int = 0
    cohorts: Annotated[tuple[Cohort, ...], Meta(max_length=MAX_COHORTS, extra={"max_bytes": MAX_BOOK_BYTES})] = ()


# --- members ----------------------------------------------------------------------------------------------------------------


class ShareCohorts(UserCommand):
    """To the broadcast key of a partition (`user`): the cohorts that all its members are decided under."""

    shared: CohortBook


class CountAction(UserCommand):
    """The user did something: by how much each counter grows."""

    counts: dict[Counter, Annotated[int, Meta(ge=-MAX_COINS, le=MAX_COINS)]]


class _TagCommand(UserCommand):
    tag: Name
    by: By


class PutTag(_TagCommand):
    """A person, or a subscription, gives the user a tag (a manual group is a tag that many have)."""


class RemoveTag(_TagCommand):
    """A person takes the tag away; or a subscription does not give it any more, while others may."""


class TagRefusal(StrEnum):
    """Why a tag was not changed."""

    TOO_MANY_TAGS = "too_many_tags"
    TAG_UNKNOWN = "tag_unknown"
    USER_ERASED = "user_erased"


class TagChanged(UserFact):
    """The user has the tag, or not any more."""

    tag: Name
    there: bool
    by: By


class TagRefused(UserFact, Refused):
    """Nothing was changed."""

    tag: Name
    refusal: TagRefusal


class _OfCohort(UserFact):
    cohort: Name
    tag: Name


class CohortEntered(_OfCohort):
    """The user fits the cohort's rule."""


class CohortLeft(_OfCohort):
    """The user does not fit it any more, or the cohort is no more."""


class Giver(State):
    """Who gives a tag: a subscription, by its name, or, without one, a person."""

    tag: NameInList
    by: Annotated[str, Meta(max_length=128, extra={"max_bytes": 132}), PLAIN] = ""


class Member(State):
    """A user, as the rules of cohorts see one.

    `counts` gives for each counter the sum by bucket, of all units. It stays JSON until a decision asks for the counter
    (`buckets_of`): a user who is active for months has some hundred buckets, and an action changes one counter or two. Those
    are tables until the state is written. `cohorts` gives the tag by the cohort's id, `tags` are the ones given by hand or by a
    subscription; of the latter `givers` knows who gives them. `version` is that of the book under which the member was decided
    last, and at `due_at` something may leave a window. The state under a broadcast key has only `shared`. `erased_at`: the user
    was erased then, and nothing else is known; until `due_at`, so that what comes late does not count."""

    attributes: dict[Attribute, Word] = {}
    signed_up_at: Time | None = None
    last_seen_at: Time | None = None
    counts: Annotated[dict[CounterName, Held], Meta(max_length=len(Counter))] = {}
    tags: Annotated[tuple[NameInList, ...], Meta(max_length=MAX_TAGS)] = ()
    cohorts: Annotated[dict[NameInList, NameInList], Meta(max_length=MAX_COHORTS)] = {}
    seen_at: Time | None = None
    version: int = 0
    due_at: Time | None = None
    shared: CohortBook | None = None
    erased_at: Time | None = None
    givers: Annotated[tuple[Giver, ...], Meta(max_length=MAX_GIVERS)] = ()

    @property
    def wake_at(self) -> datetime | None:
        """When something may leave a window of a rule."""
        return self.due_at

    def behind(self, common: State | None) -> bool:
        """Whether the member was decided under another version of the book than the one that its partition was told."""
        if self.shared is not None or self.erased_at is not None or not isinstance(common, Member) or common.shared is None:
            return False
        return self.version != common.shared.version

    @property
    def all_tags(self) -> frozenset[str]:
        """The tags given by hand, and those of the cohorts that the user is in."""
        return frozenset((*self.tags, *self.cohorts.values()))


BookInbox = PutCohort | RemoveCohort | Wake
MemberInbox = (
    ShareCohorts | CountAction | PutTag | RemoveTag | UserSignedUp | SessionOpened | CameOnline | WentOffline | EntryRecorded
    | UserAttributed | UserErased | Wake
)  # fmt: skip


def _moves_coins(entry: EntryRecorded) -> str:
    """The owner of the coins that were spent (or came back), or were bought."""
    counts = entry.coins and entry.reason in (Reason.CALL, Reason.GIFT, Reason.PURCHASE)
    return owner_of(entry.account) if counts and entry.account.endswith("/coins") else ""


COHORTS: Final = Entity(
    "cohorts",
    key="book",
    flow=Flow.GROWTH,
    state=CohortBook,
    commands=(PutCohort, RemoveCohort),
    facts=(CohortPut, CohortRemoved, CohortRefused),
    raw="who enters and leaves a cohort stands in `cohort_changes`",
)
MEMBER: Final = Entity(
    "member",
    key="user",
    flow=Flow.GROWTH,
    state=Member,
    commands=(ShareCohorts, CountAction, PutTag, RemoveTag),
    facts=(CohortEntered, CohortLeft, TagChanged, TagRefused),
    hears=(
        *(
            Hears(fact, "user", "cohorts look at who, where from, and when seen last")
            for fact in (UserSignedUp, SessionOpened, CameOnline, WentOffline)
        ),
        Hears(UserAttributed, "user", "cohorts look at network and campaign"),
        Hears(UserErased, "user", "who is erased is in no cohort, and has no tag"),
        Hears(EntryRecorded, _moves_coins, "cohorts look at coins spent and bought"),
    ),
    broadcast=True,
)
