"""Native blocks as a client's protocol version wants them (`client_protocol_version`).

chDB writes them as version 0 does: columns, rows, and for each column its name, its type and its values. From version 51903 on
a block begins with its info, from 54454 on a byte behind a column's type says whether its values are stored in an uncommon way.
Where a column's values end follows from its type.
"""

from collections.abc import Iterator
from typing import Any, Final

from clickhouse_connect.datatypes.registry import get_from_name

BLOCK_INFO_SINCE: Final = 51_903
CUSTOM_SINCE: Final = 54_454
# Field 1: no overflow; field 2: bucket -1; no more fields.
BLOCK_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"
FIELD_BYTES: Final = {1: 1, 2: 4}


def framed(body: bytes, version: int) -> bytes:
    """The blocks as a client of this version reads them. Errors: ValueError for a type that cannot be read."""
    return body if version < BLOCK_INFO_SINCE else b"".join(_parts(body, version, inwards=False))


def unframed(body: bytes, version: int) -> bytes:
    """The blocks of a client of this version as chDB reads them. Errors: ValueError."""
    return body if version < BLOCK_INFO_SINCE else b"".join(_parts(body, version, inwards=True))


class _Place:
    """A place in blocks, which moves behind what is read."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0

    def take(self, size: int) -> bytes:
        """The next bytes. Errors: ValueError when there are fewer."""
        self.at += size
        if self.at > len(self._body):
            raise ValueError("Code: 32. DB::Exception: a Native block is cut off. (ATTEMPT_TO_READ_AFTER_EOF)")
        return self._body[self.at - size : self.at]

    def skip(self, size: int) -> None:
        """Pass by bytes without a copy of them."""
        self.at += size
        if self.at > len(self._body):
            self.take(0)

    def varint(self) -> int:
        """A number in seven bits a byte, the lowest first."""
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def number(self) -> int:
        """A UInt64."""
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        """A String."""
        return self.take(self.varint()).decode()


def _parts(body: bytes, version: int, *, inwards: bool) -> Iterator[bytes]:
    """What the other side reads, in pieces of what this side has written."""
    place, flags = _Place(body), version >= CUSTOM_SINCE
    while place.at < len(body):
        if inwards:
            _skip_info(place)
        start = place.at
        columns, rows = place.varint(), place.varint()
        yield (b"" if inwards else BLOCK_INFO) + body[start : place.at]
        for _ in range(columns):
            start = place.at
            place.text()
            type_ = get_from_name(place.text())
            yield body[start : place.at]
            if flags and inwards and place.take(1) != b"\x00":
                raise ValueError("Code: 48. DB::Exception: Sparse columns are not taken here. (NOT_IMPLEMENTED)")
            if flags and not inwards:
                yield b"\x00"
            start = place.at
            if rows:
                place.skip(8 * _dictionaries(type_))
                _skip(place, type_, rows)
            yield body[start : place.at]


def _skip_info(place: _Place) -> None:
    while field := place.varint():
        if field not in FIELD_BYTES:
            raise ValueError(f"Code: 48. DB::Exception: a block's info has no field {field} here. (NOT_IMPLEMENTED)")
        place.skip(FIELD_BYTES[field])


def _inner(type_: Any) -> list[Any]:
    """The types that a type is made of."""
    kind = type(type_).__name__
    if kind in ("Array", "SimpleAggregateFunction"):
        return [type_.element_type]
    if kind == "Map":
        return [type_.key_type, type_.value_type]
    return list(type_.element_types) if kind == "Tuple" else []


def _dictionaries(type_: Any) -> int:
    """How many LowCardinality types there are in it: the version of each stands before the column's values."""
    return int(type_.low_card) + sum(map(_dictionaries, _inner(type_)))


def _skip(place: _Place, type_: Any, rows: int) -> None:
    """Pass by so many values of a type. Errors: ValueError."""
    if type_.low_card:
        if rows:
            width = 1 << (place.number() & 0xFF)
            _skip_plain(place, type_, place.number())
            place.skip(width * place.number())
        return
    if type_.nullable:
        place.skip(rows)
    _skip_plain(place, type_, rows)


def _skip_plain(place: _Place, type_: Any, rows: int) -> None:
    kind = type(type_).__name__
    if kind == "String":
        for _ in range(rows):
            place.skip(place.varint())
    elif kind in ("Array", "Map"):
        place.skip(8 * max(0, rows - 1))
        inside = place.number() if rows else 0
        for inner in _inner(type_):
            _skip(place, inner, inside)
    elif inner_types := _inner(type_):
        for inner in inner_types:
            _skip(place, inner, rows)
    elif size := (1 if kind == "Nothing" else type_.byte_size):
        place.skip(size * rows)
    else:
        raise ValueError(f"Code: 48. DB::Exception: {type_.name} is not told at this protocol version. (NOT_IMPLEMENTED)")
