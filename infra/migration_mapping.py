"""How a delivery of Hasura's becomes a command by a feed's rules: pure; the same for the webhook, the preview and a redrive.

A delivery that cannot be read, or of which a rule that takes it makes no command, is wrong (`DeliveryError`), with the place of
each fault; the codes are stable. All else has an outcome (`schemas.migration.RowOutcome`).
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from infra.vendors.webhook import found_in, moment
from schemas.blocklist import BlockUser, UnblockUser
from schemas.favorites import AddFavorite, RemoveFavorite
from schemas.log.base import EPOCH, MessageId, UserId
from schemas.migration import (
    AHEAD,
    DELIVERED_WITHIN,
    MigrationFeed,
    Move,
    MoveRow,
    OpenBalance,
    RowOutcome,
)
from schemas.migration_rules import (
    SIGNED_UP,
    Conversion,
    FieldSource,
    MigrationAction,
    MigrationRule,
    RowCondition,
    RowOperation,
    RowSide,
    RowTest,
    Wrong,
)
from schemas.profile import PutPrivateProfile, PutProfile, unfit_fields
from schemas.user import SignUp, is_user_id

MADE: Final[Mapping[MigrationAction, Any]] = {
    MigrationAction.SIGN_UP: SignUp,
    MigrationAction.PUT_PROFILE: PutProfile,
    MigrationAction.PUT_PRIVATE_PROFILE: PutPrivateProfile,
    MigrationAction.BLOCK_USER: BlockUser,
    MigrationAction.UNBLOCK_USER: UnblockUser,
    MigrationAction.ADD_FAVORITE: AddFavorite,
    MigrationAction.REMOVE_FAVORITE: RemoveFavorite,
    MigrationAction.OPEN_BALANCE: OpenBalance,
}
NAME: Final = re.compile(r"[A-Za-z0-9_$-]{1,64}")
EVENT: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
FEED: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
LARGEST: Final = 2**63 - 1


class DeliveryError(ValueError):
    """No command can be made of a delivery; `wrongs`: why, each with its place."""

    def __init__(self, *wrongs: Wrong) -> None:
        super().__init__("; ".join(f"{one.where}: {one.code}: {one.what}" for one in wrongs))
        self.wrongs = wrongs


class Delivery(NamedTuple):
    """A change of a row, as Hasura tells it; `old` is None of an insertion, `new` of a deletion."""

    event: str
    feed: str
    table: str
    operation: RowOperation
    at: datetime
    old: dict[str, Any] | None
    new: dict[str, Any] | None

    @property
    def row(self) -> dict[str, Any]:
        """The row as it is now, or was when it was deleted."""
        return self.new if self.new is not None else self.old or {}

    @property
    def side(self) -> str:
        """Where that stands."""
        return "event.data.new" if self.new is not None else "event.data.old"


# --- reading ----------------------------------------------------------------------------------------------------------------


def feed_in(body: Any) -> str:
    """The feed of a delivery that may say nothing else; empty: it says none."""
    feed = found_in(body, "trigger", "name")
    return feed if isinstance(feed, str) and FEED.fullmatch(feed) else ""


def read_delivery(body: Any, now: datetime) -> Delivery:
    """A delivery of Hasura's, versions 1 and 2. Errors: DeliveryError."""
    event = _name(body, EVENT, "id")
    feed = _name(body, FEED, "trigger", "name")
    table = f"{_name(body, NAME, 'table', 'schema')}.{_name(body, NAME, 'table', 'name')}"
    word = found_in(body, "event", "op")
    if not isinstance(word, str) or word.lower() not in set(RowOperation):
        raise _wrong("event.op", "delivery_invalid", f"it is none of {', '.join(one.upper() for one in RowOperation)}")
    operation = RowOperation(word.lower())
    at = moment(found_in(body, "created_at"))
    if at is None:
        raise _wrong("created_at", "delivery_invalid", "it is no time")
    if at > now + AHEAD:
        raise _wrong("created_at", "delivery_ahead", f"it is {at:%Y-%m-%d %H:%M} UTC, which is to come; look at the clocks")
    if at < now - DELIVERED_WITHIN:
        raise _wrong(
            "created_at", "delivery_late", f"it is older than {DELIVERED_WITHIN.days} days; have the row told as it is"
        )
    old, new = (_row(body, side) for side in RowSide)
    if (old if operation is RowOperation.DELETE else new) is None:
        raise _wrong("event.data", "delivery_invalid", f"a delivery of {operation.upper()} has the row")
    return Delivery(event, feed, table, operation, at, old, None if operation is RowOperation.DELETE else new)


def _name(body: Any, pattern: re.Pattern[str], *path: str) -> str:
    found = found_in(body, *path)
    if not isinstance(found, str) or not pattern.fullmatch(found):
        raise _wrong(".".join(path), "delivery_invalid", f"it is missing, or no name of the form {pattern.pattern}")
    return found


def _row(body: Any, side: str) -> dict[str, Any] | None:
    found = found_in(body, "event", "data", side)
    if found is not None and not isinstance(found, dict):
        raise _wrong(f"event.data.{side}", "delivery_invalid", "it is no row")
    return found


def _wrong(where: str, code: str, what: str) -> DeliveryError:
    return DeliveryError(Wrong(where, code, what))


# --- by the rules -----------------------------------------------------------------------------------------------------------


def move_of(
    delivery: Delivery, feed: MigrationFeed | None, *, id_: str, at: datetime, erased: Callable[[str], bool]
) -> MoveRow:
    """The command for what was delivered; `id_`, `at`: its own; `erased`: whether somebody was. Errors: DeliveryError."""
    told: dict[str, Any] = {
        "event": delivery.event,
        "feed": delivery.feed,
        "table": delivery.table,
        "operation": delivery.operation,
    }
    told |= {"id": MessageId(id_), "at": at, "told_at": delivery.at}
    if feed is None:
        return MoveRow(**told, row=_hash(delivery.feed, [delivery.event]), outcome=RowOutcome.FEED_UNKNOWN)
    if feed.table != delivery.table:
        raise _wrong("table", "table_differs", f"the feed {delivery.feed} is of {feed.table}, and not of {delivery.table}")
    told |= {"row": _key(delivery, feed), "row_version": _version(delivery, feed), "feed_version": feed.version}
    if not feed.active:
        return MoveRow(**told, outcome=RowOutcome.FEED_INACTIVE)
    for number, rule in enumerate(feed.rules):
        if delivery.operation in rule.operations and all(_holds(one, delivery) for one in rule.when):
            move = built(rule, f"rules[{number}]", delivery, at)
            people = [name for name in (move.user, getattr(move, "peer", "")) if name]
            told |= {"rule": rule.rule, "action": rule.then, "user": move.user}
            if any(map(erased, people)):
                return MoveRow(**told, outcome=RowOutcome.USER_ERASED)
            return MoveRow(**told, outcome=RowOutcome.MOVED, move=move)
    return MoveRow(**told, outcome=RowOutcome.NO_RULE)


def _hash(feed: str, values: list[Any]) -> str:
    return sha256(json.dumps([feed, *values]).encode()).hexdigest()[:40]


def _key(delivery: Delivery, feed: MigrationFeed) -> str:
    values = [_key_value(delivery.row, column, delivery.side) for column in feed.key]
    if delivery.old is not None and delivery.new is not None:
        before = [_key_value(delivery.old, column, "event.data.old") for column in feed.key]
        if before != values:
            raise _wrong("key", "key_changed", f"the columns {', '.join(feed.key)} name a thing for good, and have changed")
    return _hash(delivery.feed, list(values))


def _key_value(row: Mapping[str, Any], column: str, side: str) -> str:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong(f"{side}.{column}", "key_missing", "a key's column is a text or a whole number, and there")
    return str(value)


def _version(delivery: Delivery, feed: MigrationFeed) -> int:
    if not feed.version_column:
        return 0
    value = delivery.row.get(feed.version_column)
    number = _whole(value)
    at = moment(value) if number is None else None
    if at is not None:
        since = at - EPOCH
        number = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if number is None or not 0 <= number <= LARGEST:
        where = f"{delivery.side}.{feed.version_column}"
        raise _wrong(where, "version_unreadable", "a version is a whole number, or a time, and there")
    return number


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value) else None


def _text(value: Any) -> str | None:
    """A column's value as rules see it; None: it is null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _holds(condition: RowCondition, delivery: Delivery) -> bool:
    old, new = (_text((side or {}).get(condition.column)) for side in (delivery.old, delivery.new))
    value = old if condition.side is RowSide.OLD else new
    match condition.test:
        case RowTest.EQUALS:
            return value == condition.value
        case RowTest.DIFFERS:
            return value != condition.value
        case RowTest.NULL:
            return value is None
        case RowTest.NOT_NULL:
            return value is not None
        case RowTest.CHANGED:
            return old != new


def built(rule: MigrationRule, path: str, delivery: Delivery, at: datetime) -> Move:
    """The command that a rule makes of a delivery. Errors: DeliveryError."""
    type_, wrongs, fields = MADE[rule.then], list[Wrong](), dict[str, Any]()
    for source in rule.fields:
        try:
            value = _field(source, delivery)
        except ValueError as error:
            wrongs.append(Wrong(f"{path}.fields.{source.field}", "value_unfit", str(error)))
            continue
        if value is not None:
            fields[source.field] = value
    if rule.then is MigrationAction.OPEN_BALANCE:
        fields["feed"] = delivery.feed
    wrongs += _strange(rule, path, fields)
    if wrongs:
        raise DeliveryError(*wrongs)
    envelope = {"type": type_.__name__, "id": f"{delivery.event}/move", "at": at}
    try:
        move: Move = msgspec.convert(envelope | fields, type_)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise _wrong(f"{path}.fields.{where.rstrip('`')}" if where else f"{path}.fields", "value_unfit", what) from None
    return move


def _strange(rule: MigrationRule, path: str, fields: Mapping[str, Any]) -> list[Wrong]:
    """What no command of this kind may say, whatever its types are."""
    found = [
        Wrong(f"{path}.fields.{name}", "user_invalid", "it is no id that a user of ours can have")
        for name in ("user", "peer")
        if name in fields and not is_user_id(str(fields[name]))
    ]
    found += [Wrong(f"{path}.fields.{name}", "value_unfit", why) for name, why in unfit_fields(fields)]
    if "role" in fields and fields["role"] not in SIGNED_UP:
        found.append(Wrong(f"{path}.fields.role", "role_forbidden", f"a migration signs up: {', '.join(SIGNED_UP)}"))
    coins = fields.get("coins")
    if isinstance(coins, int) and coins > rule.max_coins:
        found.append(Wrong(f"{path}.fields.coins", "coins_above_limit", f"{coins} coins; the rule's limit is {rule.max_coins}"))
    return found


def _field(source: FieldSource, delivery: Delivery) -> Any:
    """A field's value; None: it is left out. Errors: ValueError."""
    value: Any = source.value or None
    if source.column:
        if source.column not in delivery.row:
            raise ValueError(f"the row has no column {source.column}")
        found = delivery.row[source.column]
        value = value if found is None else found
    if value is None:
        return None
    if isinstance(value, list) and source.convert is Conversion.LIST:
        return [source.words.get(one, one) for one in map(_plain, value)]
    text = _plain(value)
    text = source.words.get(text, text)
    return CONVERTED[source.convert](text, delivery.at)


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        raise ValueError("its column holds a list or an object")
    return (_text(value) or "").strip()


def _integer(text: str, _: datetime) -> int:
    number = _whole(text)
    if number is None:
        raise ValueError("it is no whole number")
    return number


def _floor(text: str, _: datetime) -> int:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("it is no number") from None
    if not number.is_finite() or abs(number) > LARGEST:
        raise ValueError("it is no number that can be")
    return int(number // 1)


def _date(text: str, _: datetime) -> str:
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ValueError("it is no date") from None


def _age(text: str, at: datetime) -> int:
    born = date.fromisoformat(_date(text, at))
    return at.year - born.year - ((at.month, at.day) < (born.month, born.day))


def _list(text: str, _: datetime) -> list[str]:
    return [part for part in (one.strip() for one in text.split(",")) if part]


CONVERTED: Final[Mapping[Conversion, Callable[[str, datetime], Any]]] = {
    Conversion.TEXT: lambda text, _: text,
    Conversion.LOWER: lambda text, _: text.lower(),
    Conversion.UPPER: lambda text, _: text.upper(),
    Conversion.INTEGER: _integer,
    Conversion.FLOOR: _floor,
    Conversion.DATE: _date,
    Conversion.AGE: _age,
    Conversion.LIST: _list,
}


def users_of(move: Move | None) -> tuple[UserId, ...]:
    """Whom a command is about."""
    return () if move is None else tuple(UserId(one) for one in (move.user, getattr(move, "peer", "")) if one)
