"""Rules of a migration as data: which rows of an old back end's tables become which commands.

A *feed* is one event trigger of Hasura's: it tells the changes of one table. Its rules are looked at in order, and the first
one whose operation and conditions fit a change makes one command of it, with fields from the row's columns or constants.
Columns that name a thing for good are the feed's `key`: changes of one key count in their order, whatever the order they come
in.

What a rule may build is a list: profiles, sign-ups of users and streamers, blocks, favourites, and, of money, opening balances
only: once a person, each up to the rule's `max_coins`, of one feed up to `total_coins` together.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from schemas.log.base import MAX_COINS, Fields, State
from schemas.log.personal import PLAIN

MAX_KEY_COLUMNS: Final = 4
MAX_RULES: Final = 6
MAX_CONDITIONS: Final = 4
MAX_SOURCES: Final = 8
MAX_WORDS: Final = 6

# Names of tables, columns and rules are ASCII words; values are what staff writes, at most four bytes a letter.
Table = Annotated[str, Meta(max_length=130, pattern=r"^[A-Za-z0-9_$-]+\.[A-Za-z0-9_$-]+$", extra={"max_bytes": 132}), PLAIN]
Column = Annotated[str, Meta(max_length=63, pattern=r"^[A-Za-z0-9_$-]+$", extra={"max_bytes": 65}), PLAIN]
OptionalColumn = Annotated[str, Meta(max_length=63, pattern=r"^[A-Za-z0-9_$-]*$", extra={"max_bytes": 65}), PLAIN]
RuleWord = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_.-]+$", extra={"max_bytes": 66}), PLAIN]
Value = Annotated[str, Meta(max_length=64, pattern=r'^[^"\\\x00-\x1f\x7f]*$', extra={"max_bytes": 258}), PLAIN]


class RowOperation(StrEnum):
    """What happened to a row, in Hasura's words; `manual`: somebody has it told as it is now. Members are only ever added."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    MANUAL = "manual"


class MigrationAction(StrEnum):
    """What a rule makes. Members are only ever added."""

    SIGN_UP = "sign_up"
    PUT_PROFILE = "put_profile"
    PUT_PRIVATE_PROFILE = "put_private_profile"
    BLOCK_USER = "block_user"
    UNBLOCK_USER = "unblock_user"
    ADD_FAVORITE = "add_favorite"
    REMOVE_FAVORITE = "remove_favorite"
    OPEN_BALANCE = "open_balance"


class RowTest(StrEnum):
    """What a condition asks of a column. Members are only ever added."""

    EQUALS = "equals"
    DIFFERS = "differs"
    NULL = "null"
    NOT_NULL = "not_null"
    CHANGED = "changed"


class RowSide(StrEnum):
    """Which row of a change: as it was before, or as it is now."""

    OLD = "old"
    NEW = "new"


class Conversion(StrEnum):
    """What becomes of a column's value. `floor`: the whole part of a number; `date`: the day of a time; `age`: whole years from
    a birth date to the change; `list`: of a text, its parts between commas. Members are only ever added."""

    TEXT = "text"
    LOWER = "lower"
    UPPER = "upper"
    INTEGER = "integer"
    FLOOR = "floor"
    DATE = "date"
    AGE = "age"
    LIST = "list"


class CommandFields(NamedTuple):
    """Which fields of a command a rule may fill, and without which there is none."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """All of them."""
        return self.required | self.optional


_PEER: Final = CommandFields(frozenset({"user", "peer"}))
# What each action's command takes of a row. Nothing else of a command comes from outside.
TAKES: Final[Mapping[MigrationAction, CommandFields]] = {
    MigrationAction.SIGN_UP: CommandFields(frozenset({"user", "role"}), frozenset({"country", "locale", "platform"})),
    MigrationAction.PUT_PROFILE: CommandFields(
        frozenset({"user", "name"}), frozenset({"age", "country", "languages", "photos", "about"})
    ),
    MigrationAction.PUT_PRIVATE_PROFILE: CommandFields(
        frozenset({"user"}), frozenset({"birth_date", "email", "phone", "legal_name"})
    ),
    MigrationAction.BLOCK_USER: CommandFields(frozenset({"user", "peer", "reason"})),
    MigrationAction.UNBLOCK_USER: _PEER,
    MigrationAction.ADD_FAVORITE: _PEER,
    MigrationAction.REMOVE_FAVORITE: _PEER,
    MigrationAction.OPEN_BALANCE: CommandFields(frozenset({"user", "coins"})),
}  # fmt: skip


_NUMBER: Final = (Conversion.INTEGER, Conversion.FLOOR)
_TEXT: Final = (Conversion.TEXT, Conversion.LOWER, Conversion.UPPER, Conversion.DATE)
# By which conversions a field is filled; all others are texts.
FILLED_BY: Final[Mapping[str, tuple[Conversion, ...]]] = {
    "coins": _NUMBER,
    "age": (*_NUMBER, Conversion.AGE),
    "languages": (Conversion.LIST,),
    "photos": (Conversion.LIST,),
}
# Staff is nobody's to make from outside.
SIGNED_UP: Final = ("user", "streamer")


class RowCondition(State):
    """What has to be so of a column; `value`: of `equals` and `differs`, a row's value as text (`true`, `12`, `streamer`)."""

    column: Column
    test: RowTest
    side: RowSide = RowSide.NEW
    value: Value = ""


class FieldSource(State):
    """Where a field comes from: a `column` of the row, or else the constant `value`, which also stands in for a column that is
    null. `words`: what becomes of which value; any other stays as it is. A field that is null without a constant is left
    out."""

    field: Annotated[str, Meta(max_length=24, pattern="^[a-z_]+$", extra={"max_bytes": 26}), PLAIN]
    column: OptionalColumn = ""
    value: Value = ""
    convert: Conversion = Conversion.TEXT
    words: Annotated[dict[Value, Value], Meta(max_length=MAX_WORDS)] = {}


class MigrationRule(State):
    """A rule: of which operations, under which conditions (all of them), what is made. `max_coins`: of an opening balance, the
    most that one person gets; a row that says more is put aside."""

    rule: RuleWord
    operations: Annotated[tuple[RowOperation, ...], Meta(min_length=1, max_length=len(RowOperation))]
    then: MigrationAction
    fields: Annotated[tuple[FieldSource, ...], Meta(max_length=MAX_SOURCES)]
    when: Annotated[tuple[RowCondition, ...], Meta(max_length=MAX_CONDITIONS)] = ()
    max_coins: Annotated[int, Meta(ge=0, le=MAX_COINS)] = 0


class FeedRules(Fields):
    """What a feed is of, and its rules. `version`: a column that rises with each change of a row; empty: the time at which
    Hasura has noted the change is what counts. `total_coins`: what all opening balances of this feed are together, at most."""

    table: Table
    key: Annotated[tuple[Column, ...], Meta(min_length=1, max_length=MAX_KEY_COLUMNS)]
    rules: Annotated[tuple[MigrationRule, ...], Meta(max_length=MAX_RULES)] = ()
    version_column: OptionalColumn = ""
    active: bool = True
    total_coins: Annotated[int, Meta(ge=0, le=MAX_COINS)] = 0


class Wrong(NamedTuple):
    """What is wrong, and where: `rules[0].fields.name`, `event.data.new.coins`."""

    where: str
    code: str
    what: str


def gives_coins(feed: FeedRules) -> bool:
    """Whether some rule opens balances."""
    return any(rule.then is MigrationAction.OPEN_BALANCE for rule in feed.rules)


def faults_of(feed: FeedRules) -> list[Wrong]:
    """What is wrong with rules that are to be published; nothing is, where the list is empty."""
    names = [rule.rule for rule in feed.rules]
    found = [Wrong("rules", "rule_twice", f"two rules are called {name}") for name in sorted({*names}) if names.count(name) > 1]
    for number, rule in enumerate(feed.rules):
        found += _faults_of(rule, f"rules[{number}]")
    if gives_coins(feed) and not feed.total_coins:
        found.append(Wrong("total_coins", "limit_missing", "rules that open balances take a limit of all of them together"))
    return found


def _faults_of(rule: MigrationRule, path: str) -> Iterator[Wrong]:
    takes, names = TAKES[rule.then], [source.field for source in rule.fields]
    for name in sorted(takes.required - set(names)):
        yield Wrong(f"{path}.fields", "field_missing", f"{rule.then} takes {name}")
    for name in sorted(set(names) - takes.all):
        yield Wrong(f"{path}.fields.{name}", "field_unknown", f"{rule.then} takes {', '.join(sorted(takes.all))}")
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Wrong(f"{path}.fields.{name}", "field_twice", "it is filled twice")
    for source in rule.fields:
        if not source.column and not source.value:
            yield Wrong(f"{path}.fields.{source.field}", "source_missing", "name a column, or a constant")
        if source.convert not in (fits := FILLED_BY.get(source.field, _TEXT)):
            yield Wrong(f"{path}.fields.{source.field}", "conversion_unfit", f"it is filled by {', '.join(fits)}")
        if source.field == "role" and source.value and source.value not in SIGNED_UP:
            yield Wrong(f"{path}.fields.role", "role_forbidden", f"a migration signs up: {', '.join(SIGNED_UP)}")
    for number, condition in enumerate(rule.when):
        if condition.value and condition.test not in (RowTest.EQUALS, RowTest.DIFFERS):
            yield Wrong(f"{path}.when[{number}]", "value_unused", f"{condition.test} takes no value")
    opens = rule.then is MigrationAction.OPEN_BALANCE
    if opens and not rule.max_coins:
        yield Wrong(f"{path}.max_coins", "limit_missing", "an opening balance takes a limit for one person")
    if rule.max_coins and not opens:
        yield Wrong(f"{path}.max_coins", "limit_unused", f"{rule.then} moves no coins")
