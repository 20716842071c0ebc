"""How large a state can become, worked out from its types: no state grows without a bound by what people do.

A state's worst size is that of its JSON when every text is as long as its type lets it be and full of control characters (six
bytes each), every number has all its digits, and every list is full. Where a type cannot say it, the annotation
`Meta(extra={"max_bytes": ...})` claims it, and whoever fills the field keeps the claim: a decider refuses what has no room, or
the ids in a list came by a command whose pattern takes no character that JSON writes longer. tests/test_sizes.py holds all
states against LARGEST, and plays valid messages of the worst kind to every decider, which must keep the claims.
"""

from functools import cache
from typing import Any, Final, NamedTuple

from msgspec import inspect

from schemas.log.base import Message, State

# The aim for every state, and what none exceeds. A record of the log has at most a million bytes, and each change of a state
# writes all of it.
AIM: Final = 64 * 1024
LARGEST: Final = 256 * 1024
# What a broker takes of one record, by default, less the key and what frames it.
LARGEST_MESSAGE: Final = 1_000_000

# "\u0000", the longest that JSON writes one character.
CHARACTER: Final = 6
FLOAT: Final = len("-1.7976931348623157e+308")
TIME: Final = len('"9999-12-31T23:59:59.999999+14:00"')
INTEGER: Final = len("-9223372036854775808")


class Size(NamedTuple):
    """At most so many bytes, but for the parts that have no bound: a line for each, with what to do about it."""

    bytes: int
    unbounded: tuple[str, ...] = ()


def worst_size(state: type[State | Message]) -> Size:
    """The largest that a state can become, or a message, as JSON."""
    return _struct(inspect.type_info(state), state.__name__, ())


def _of(type_: inspect.Type, where: str, around: tuple[Any, ...]) -> Size:  # noqa: PLR0912 - a row a type
    match type_:
        case inspect.Metadata(extra={"max_bytes": int() as claimed}):
            return Size(claimed)
        case inspect.Metadata():
            return _of(type_.type, where, around)
        case inspect.StructType():
            return _struct(type_, where, around)
        case inspect.StrType(max_length=None):
            return Size(0, (f"{where}: a text without max_length; use Id, Short or another type with a limit",))
        case inspect.StrType(max_length=int() as length):
            return Size(2 + CHARACTER * length)
        case inspect.EnumType():
            return Size(max(_length(member.value) for member in type_.cls))
        case inspect.LiteralType():
            return Size(max(_length(value) for value in type_.values))
        case inspect.IntType():
            limits = [limit for limit in (type_.gt, type_.ge, type_.lt, type_.le) if limit is not None]
            return Size(max(len(str(limit)) for limit in limits) if len(limits) > 1 else INTEGER)
        case inspect.FloatType():
            return Size(FLOAT)
        case inspect.BoolType() | inspect.NoneType():
            return Size(5)
        case inspect.DateTimeType():
            return Size(TIME)
        case inspect.UnionType():
            found = [_of(one, where, around) for one in type_.types]
            return Size(max(one.bytes for one in found), tuple(line for one in found for line in one.unbounded))
        case inspect.VarTupleType() | inspect.ListType():
            return _list(type_, where, around)
        case inspect.DictType():
            return _table(type_, where, around)
    why = "a type whose size nobody knows; claim it: Meta(extra={'max_bytes': ...}), and keep the claim in the decider"
    return Size(0, (f"{where}: {why}",))


def _length(value: Any) -> int:
    return len(value) + 2 if isinstance(value, str) else len(str(value))


def _struct(type_: Any, where: str, around: tuple[Any, ...]) -> Size:
    if type_.cls in around:
        return Size(0, (f"{where}: holds another {type_.cls.__name__} inside; claim the size of the outermost: max_bytes",))
    found = [_of(field.type, f"{where}.{field.name}", (*around, type_.cls)) for field in type_.fields]
    names = sum(len(field.encode_name) + 4 for field in type_.fields)
    tag = len(type_.tag_field) + 4 + _length(type_.tag) if type_.tag_field else 0
    return Size(2 + names + tag + sum(one.bytes for one in found), tuple(line for one in found for line in one.unbounded))


def _list(type_: Any, where: str, around: tuple[Any, ...]) -> Size:
    one = _of(type_.item_type, f"{where}[]", around)
    if type_.max_length is None:
        why = f"{where}: a list without max_length; bound it, or make what others can add an entity of its own"
        return Size(0, (why, *one.unbounded))
    return Size(2 + type_.max_length * (one.bytes + 1), one.unbounded)


def _table(type_: Any, where: str, around: tuple[Any, ...]) -> Size:
    key, value = _of(type_.key_type, f"{where} (keys)", around), _of(type_.value_type, f"{where}[]", around)
    several = type_.max_length
    if several is None and isinstance(type_.key_type, inspect.EnumType):
        several = len(type_.key_type.cls)
    unbounded = (*key.unbounded, *value.unbounded)
    if several is None:
        return Size(0, (f"{where}: a table without max_length; bound it, or make each row an entity of its own", *unbounded))
    return Size(2 + several * (key.bytes + 2 + value.bytes + 2), unbounded)


@cache
def sizes_of(states: tuple[tuple[str, type[State]], ...]) -> tuple[tuple[str, Size], ...]:
    """The sizes of several entities' states, by the entity's name, the largest first."""
    return tuple(sorted(((name, worst_size(state)) for name, state in states), key=lambda row: (-row[1].bytes, row[0])))
