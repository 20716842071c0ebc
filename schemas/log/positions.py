"""How far an inbox was decided, as a record of the changelog itself: it is written in the transaction that writes the states.

A changelog's partition holds one such record, under a key that no entity has. A group's offset is kept by the broker for a
while only (a week without members, by default), and can be reset by anybody; the changelog is kept for good, and a position
that stands in it cannot disagree with the states around it. Whoever reads a changelog for its states leaves this record out.
"""

from typing import Final

from msgspec import Struct, json

# No entity's key begins so: a record with such a key is put aside as a dead letter.
RESERVED: Final = b"\x00"
POSITION: Final = RESERVED + b"position"


def of_entity(key: bytes) -> bool:
    """Whether an entity's state may stand under a key of a changelog; keys are UTF-8."""
    return bool(key) and not key.startswith(RESERVED) and is_text(key)


def is_text(key: bytes) -> bool:
    """Whether these bytes are UTF-8, as all keys of Olo's own are; a stranger's need not be."""
    if key.isascii():
        return True
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


class Position(Struct, frozen=True):
    """`next`: the offset, in the inbox's partition of the same number, of the first record that has not been decided."""

    next: int


_decode = json.Decoder(Position).decode
_encode = json.Encoder().encode


def written(following: int) -> bytes:
    """The value of the record that says so."""
    return _encode(Position(following))


def read(value: bytes) -> int:
    """The offset that goes on. Errors: msgspec.DecodeError."""
    return _decode(value).next
