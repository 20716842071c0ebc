"""Parked entities: a record that cannot be decided is put aside, and its entity waits with all later records, in their order.

Both stand in the entity's changelog, under keys that no entity has: why the entity is parked (`Parked`), and each record that
waits for it, as it stood in the inbox. So they move with the states, and a release is one transaction like any other. The host
puts a `Release` into no inbox by itself: an operator does, with `olo dead-letters`."""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Struct, json

from schemas.log.base import Id, Message, Time
from schemas.log.dead_letters import DeadCause
from schemas.log.personal import PLAIN, WORDS
from schemas.log.positions import RESERVED

PARKED: Final = RESERVED + b"parked/"
HELD: Final = RESERVED + b"held/"
OFFSET_DIGITS: Final = 16


class Way(StrEnum):
    """How a parked entity goes on: with all of its records once more, without the first one, or without any of them."""

    REDRIVE = "redrive"
    SKIP = "skip"
    DROP = "drop"


class Release(Message):
    """An operator lets the parked entity `key` go on. Nothing happens to one that is not parked."""

    key: Id
    way: Way
    by: Annotated[str, PLAIN] = ""


class Parked(Struct, frozen=True):
    """Why an entity is parked: what was wrong with the record at `place`, and of which kind its message is."""

    cause: DeadCause
    error: Annotated[str, WORDS]
    place: Annotated[str, PLAIN]
    kind: Annotated[str, PLAIN]
    at: Time


def parked_key(key: bytes) -> bytes:
    """Where it stands in the changelog that the entity `key` is parked."""
    return PARKED + key


def held_prefix(key: bytes) -> bytes:
    """What the keys of all records that wait for the entity begin with."""
    return HELD + key + b"\x00"


def held_key(key: bytes, offset: int) -> bytes:
    """Where the record at `offset` of the inbox waits; these keys sort as the records were read."""
    return held_prefix(key) + b"%0*x" % (OFFSET_DIGITS, offset)


def offset_of(held: bytes) -> int:
    """Which record of the inbox waits there."""
    return int(held[-OFFSET_DIGITS:], 16)


read_parked = json.Decoder(Parked).decode
