"""The way out of the log: what of a record may be seen by others than the flows, phones and vendors that it is for.

The warehouse, log lines, terminals: whoever shows a record's bytes takes them from here. It fails closed: what is personal is
empty, as its type declares it (`schemas.log.personal`), fields that the type does not have are gone, and of what cannot be read
as a record of its topic only the size and a digest are left. Of a record without anything personal the bytes are those that the
log has, as long as a process of Olo wrote them.

Facts whose topic has nothing personal are not decoded, which would cost the store a tenth of its rate: only the flows write
them, from types whose every text is declared. Their type is looked at.
"""

from collections.abc import Callable, Iterable
from functools import cache, reduce
from operator import or_
from typing import Final

from msgspec import Struct
from msgspec.json import Decoder

from schemas.log.base import Wake
from schemas.log.codec import encode
from schemas.log.personal import Blank, blank_of, personal_of, unreadable_of
from schemas.log.topics import topics

SHOWN: Final = 300
UNREADABLE: Final = b'{"type":"Unreadable",'


def outward(topic: str, value: bytes | None) -> bytes | None:
    """A record of the topic as others may see it; a deletion stays one."""
    return None if value is None else _reader(topic)(value)


def outward_key(key: bytes | None, seen: bytes | None) -> bytes | None:
    """The key of a record, by what others may see of it: of what nobody can read it may be anything, and is left out."""
    return b"" if seen is not None and seen.startswith(UNREADABLE) else key


def keeps_all(types: Iterable[type[Struct]]) -> bool:
    """Whether nothing is left out of records of these types."""
    return not any(map(personal_of, types))


def line_of(topic: str, value: bytes | None) -> str:
    """The beginning of what others may see of a record, as text, for a line on a terminal or in a log."""
    seen = outward(topic, value)
    if seen is None:
        return "nothing"
    return seen[:SHOWN].decode(errors="replace") + ("..." if len(seen) > SHOWN else "")


@cache
def _reader(topic: str) -> Callable[[bytes], bytes]:
    """Reads records of one topic; what is declared was looked up once."""
    types = next((one.messages for one in topics() if one.name == topic), ())
    decode: Callable[[bytes], Struct] = Decoder(reduce(or_, types) if types else Wake).decode
    ways: dict[type[Struct], Blank] = {type_: way for type_ in types if (way := blank_of(type_)) is not None}
    known = tuple(f'{{"type":"{type_.__name__}"'.encode() for type_ in types if topic.endswith(".events") and not ways)

    def read(value: bytes) -> bytes:
        if value.startswith(known):
            return value
        try:
            record = decode(value)
            way = ways.get(type(record))
            return encode(record if way is None else way(record))
        except Exception:
            return encode(unreadable_of(value))

    return read
