"""What is personal is declared with a field's type, and whatever leaves the log drops it by that.

A text is either about a person (`SECRET`, `IDENTIFIER`, `CONTACT`, `WORDS`) or declared not to be (`PLAIN`: ids that
our entities are keyed by, names of things, codes): `email: Annotated[Line, CONTACT]`. `undeclared` tells what is neither,
and tests/test_personal.py walks all types of all topics, so that a new text needs a word.

`leaves_of` is the whole declaration of a type, for whoever has to find or erase what is personal; `blank` makes a record or a
state without it. `schemas.log.outward` is the way out of the log for records as bytes.

Ids are not dropped: our user ids, and AppsFlyer's id of the app on one phone, are keys; without them nothing can be counted.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cache
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from msgspec import Meta, Struct, inspect
from msgspec.json import encode
from msgspec.structs import replace


class Personal(StrEnum):
    """In which way a text is about a person; `NO`: it is not. `meaning`: in words."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """A member with its meaning."""
        member = str.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    NO = "no", "not about a person"
    SECRET = "secret", "whoever has it can act as somebody, or reach a phone: push tokens"
    IDENTIFIER = "identifier", "others know a person or a phone by it: advertising ids, a device"
    CONTACT = "contact", "who and where somebody is: names, e-mail, phone, addresses, also hashed; browsers' names"
    WORDS = "words", "what people or others' machines wrote, which may hold anything: texts, pictures, raw bodies"


def _meta(personal: Personal) -> Meta:
    shown = {} if personal is Personal.NO else {"x-personal": personal.value}
    return Meta(extra={"personal": personal}, extra_json_schema=shown)


PLAIN: Final = _meta(Personal.NO)
SECRET: Final = _meta(Personal.SECRET)
IDENTIFIER: Final = _meta(Personal.IDENTIFIER)
CONTACT: Final = _meta(Personal.CONTACT)
WORDS: Final = _meta(Personal.WORDS)


class Unreadable(Struct, frozen=True, tag=True, tag_field="type"):
    """What leaves of bytes that nobody can read: how many they are, and their SHA-256."""

    size: int
    sha256: str


def unreadable_of(value: bytes) -> Unreadable:
    """How many bytes, and which, without saying what."""
    return Unreadable(len(value), sha256(value).hexdigest())


_NO_TEXT: Final = (
    inspect.IntType, inspect.FloatType, inspect.BoolType, inspect.NoneType, inspect.DateTimeType, inspect.EnumType,
    inspect.LiteralType, inspect.StructType,
)  # fmt: skip


class Leaf(NamedTuple):
    """A text inside a type: `path` from it (`postback.identity.ip`, `photos[]`), and what it was declared; None: nothing."""

    path: str
    personal: Personal | None


@cache
def leaves_of(type_: type[Struct]) -> tuple[Leaf, ...]:
    """All texts, byte strings and raw JSON that a record of the type can hold, in the order of its fields."""
    return tuple(_leaves(inspect.type_info(type_), "", None, ()))


def personal_of(type_: type[Struct]) -> tuple[Leaf, ...]:
    """Those that are personal, or not declared."""
    return tuple(leaf for leaf in leaves_of(type_) if leaf.personal is not Personal.NO)


def undeclared(type_: type[Struct]) -> tuple[str, ...]:
    """The paths of those of which nobody has said whether they are personal."""
    return tuple(leaf.path for leaf in leaves_of(type_) if leaf.personal is None)


def _leaves(of: inspect.Type, path: str, declared: Personal | None, around: tuple[type, ...]) -> Iterator[Leaf]:
    match of:
        case inspect.Metadata():
            yield from _leaves(of.type, path, (of.extra or {}).get("personal", declared), around)
        case inspect.StructType() if of.cls not in around:
            for field in of.fields:
                yield from _leaves(field.type, f"{path}.{field.name}".lstrip("."), None, (*around, of.cls))
        case inspect.DictType():
            yield from _leaves(of.key_type, f"{path}{{}}", declared, around)
            yield from _leaves(of.value_type, f"{path}[]", declared, around)
        case inspect.CollectionType():
            yield from _leaves(of.item_type, f"{path}[]", declared, around)
        case inspect.TupleType() | inspect.UnionType():
            for part in of.item_types if isinstance(of, inspect.TupleType) else of.types:
                yield from _leaves(part, path, declared, around)
        case _ if not isinstance(of, _NO_TEXT):
            yield Leaf(path, declared)


# --- without what is personal -----------------------------------------------------------------------------------------------

Blank = Callable[[Any], Any]


@cache
def blank_of(type_: type[Struct]) -> Blank | None:
    """A function that makes a record of the type without what is personal, or not declared: each such text is empty, and the
    list or table that it stands in is as long as before. None: there is nothing of the kind. Errors: TypeError, for a place
    where nothing can be left out."""
    return _blank(inspect.type_info(type_), None, ())


def blank(record: Struct) -> Struct:
    """The record or state without what is personal."""
    way = blank_of(type(record))
    return record if way is None else way(record)


def _blank(of: inspect.Type, declared: Personal | None, around: tuple[type, ...]) -> Blank | None:
    match of:
        case inspect.Metadata():
            return _blank(of.type, (of.extra or {}).get("personal", declared), around)
        case inspect.StructType():
            return _of_struct(of, around)
        case inspect.DictType():
            if _blank(of.key_type, declared, around) is not None:
                raise TypeError("the keys of a table cannot be left out; declare them PLAIN, or make the table a list")
            return _of_table(_blank(of.value_type, declared, around))
        case inspect.CollectionType():
            return _of_list(_blank(of.item_type, declared, around))
        case inspect.TupleType() | inspect.UnionType():
            return _of_any(of, declared, around)
    return None if isinstance(of, _NO_TEXT) or declared is Personal.NO else _nothing


def _of_struct(of: inspect.StructType, around: tuple[type, ...]) -> Blank | None:
    if of.cls in around:
        return None if not personal_of(of.cls) else blank
    ways = {field.name: way for field in of.fields if (way := _blank(field.type, None, (*around, of.cls))) is not None}
    if not ways:
        return None
    return lambda record: replace(record, **{name: way(getattr(record, name)) for name, way in ways.items()})


def _of_table(way: Blank | None) -> Blank | None:
    return None if way is None else lambda table: {key: way(value) for key, value in table.items()}


def _of_list(way: Blank | None) -> Blank | None:
    return None if way is None else lambda items: type(items)(map(way, items))


def _of_any(of: inspect.TupleType | inspect.UnionType, declared: Personal | None, around: tuple[type, ...]) -> Blank | None:
    parts = of.item_types if isinstance(of, inspect.TupleType) else of.types
    if all(_blank(part, declared, around) is None for part in parts):
        return None
    if isinstance(of, inspect.TupleType) or any(isinstance(part, inspect.CollectionType | inspect.DictType) for part in parts):
        raise TypeError("what is personal cannot be left out of a pair, or a choice with lists; give it a field of its own")
    return lambda value: blank(value) if isinstance(value, Struct) else _nothing(value)


def _nothing(value: Any) -> Any:
    """What is left of a text: an empty one; of bytes: how many they were, and which."""
    if isinstance(value, str):
        return ""
    return encode(unreadable_of(value)) if isinstance(value, bytes) else None
