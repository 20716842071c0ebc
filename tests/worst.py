"""Valid messages of the worst kind, made from their types: texts as long and as wide as they may be, times at the calendar's
ends, lists that are empty or full."""

import random
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

# What the deciders do not see in one message, they see in the next: so many different ids there are.
IDS = 3_000
SHORT_IDS = ("ann", "bob", "sue", "c1", "g1")
LETTERS = ("\x00", '"', "\\", "a", "é", "\U0001f600")
MOMENTS = (
    datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC), datetime(2030, 1, 20, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), datetime(1969, 7, 20, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=14))),
)  # fmt: skip
OF_A_PATTERN = ("EUR", "7d", "30m", "3.12", "a", "sue/7", "sue/4095")
LONGEST_LIST = 300
DEEPEST = 6


@cache
def kind_of(type_: Any) -> inspect.Type:
    """What msgspec says of a type."""
    return inspect.type_info(type_)


def message_of(type_: Any, chance: random.Random) -> Any:
    """One message of the type, as the log would have it: written and read again."""
    made = _struct(kind_of(type_), chance, 0)
    # the ids of messages grow behind what decides on them
    made |= {name: made[name][:400] for name in ("id", "cause", "asked") if isinstance(made.get(name), str)}
    return msgspec.convert({"type": type_.__name__} | made, type_)


def _struct(type_: Any, chance: random.Random, depth: int) -> dict[str, Any]:
    made = {type_.tag_field: type_.tag} if type_.tag_field else {}
    for field in type_.fields:
        if field.required or chance.random() < 0.7:
            made[field.encode_name] = _value(field.type, chance, depth)
    return made


def _value(type_: Any, chance: random.Random, depth: int) -> Any:
    match type_:
        case inspect.Metadata():
            return _value(type_.type, chance, depth)
        case inspect.StructType():
            return _struct(type_, chance, depth + 1)
        case inspect.StrType():
            return _text(type_, chance)
        case inspect.EnumType():
            return chance.choice([member.value for member in type_.cls])
        case inspect.LiteralType():
            return chance.choice(type_.values)
        case inspect.BoolType():
            return chance.random() < 0.5
        case inspect.IntType() | inspect.FloatType():
            return _number(type_, chance)
        case inspect.DateTimeType():
            return chance.choice(MOMENTS[:3] if chance.random() < 0.6 else MOMENTS)
        case inspect.NoneType():
            return None
        case inspect.UnionType():
            return _value(chance.choice([one for one in type_.types if depth <= DEEPEST or not _nests(one)]), chance, depth)
        case inspect.VarTupleType() | inspect.ListType():
            return [_value(type_.item_type, chance, depth + 1) for _ in range(_several(type_, chance, depth))]
        case inspect.DictType():
            return {
                _value(type_.key_type, chance, depth): _value(type_.value_type, chance, depth)
                for _ in range(_several(type_, chance, depth))
            }
    raise NotImplementedError(type_)


def _nests(type_: Any) -> bool:
    """Whether a type holds others of its own kind, as rules do."""
    return isinstance(type_, inspect.StructType) and "of" in {field.name for field in type_.fields}


def _several(type_: Any, chance: random.Random, depth: int) -> int:
    most = min(LONGEST_LIST if depth < 2 else 3, type_.max_length if type_.max_length is not None else 3)
    return max(type_.min_length or 0, chance.choice((0, 1, min(2, most), most)))


def _number(type_: Any, chance: random.Random) -> float:
    low = next((limit for limit in (type_.ge, type_.gt) if limit is not None), -(2**63))
    high = next((limit for limit in (type_.le, type_.lt) if limit is not None), 2**63 - 1)
    low, high = low + (type_.gt is not None), high - (type_.lt is not None)
    if isinstance(type_, inspect.FloatType) and type_.le is None:
        high = 1e308
    return chance.choice([one for one in (low, high, 0, 1, 7, 60) if low <= one <= high])


def _text(type_: Any, chance: random.Random) -> str:
    most, least = type_.max_length if type_.max_length is not None else 5_000, type_.min_length or 0
    if type_.pattern is None and chance.random() < 0.4:
        text = chance.choice(LETTERS) * most
    elif chance.random() < 0.5:
        text = chance.choice(SHORT_IDS)
    else:
        text = f"{chance.randrange(IDS)}".ljust(128, "x")
    text = text[:most].ljust(least, "a")
    if type_.pattern is None or re.search(type_.pattern, text):
        return text
    return chance.choice(
        [one for one in ("EUR", "7d", "30m", "3.12", "a", "sue/7", "sue/4095") if re.search(type_.pattern, one)]
    )
