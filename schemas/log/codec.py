"""JSON in and out. The type stands in the payload (`type`, always first): no record headers, which cost more than decoding.

`UnreadableError` tells how bytes can be wrong: they are not JSON, of an unknown type, or of a known type with wrong contents.
"""

import re
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Any, Final, TypeVar

import msgspec

from schemas.log.base import Message, State, Wake
from schemas.log.dead_letters import DeadCause

S = TypeVar("S", bound=State)

# From the first quote to the last one: what is quoted may have quotes, too.
QUOTED: Final = re.compile(r"'.*'", re.DOTALL)

encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


class UnreadableError(ValueError):
    """Bytes that are no message of the expected kinds; `cause` names the way in which they are wrong."""

    def __init__(self, cause: DeadCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


def decoder_of(types: tuple[type[Message], ...]) -> Callable[[bytes], Message]:
    """A fast decoder for a tagged union of `types`; raises msgspec.DecodeError (see `unreadable`). Without any, whatever comes
    is of an unknown type."""
    return msgspec.json.Decoder(reduce(or_, types) if types else Wake).decode


def state_decoder(state: type[S]) -> Callable[[bytes], S]:
    """A decoder for the states of one entity."""
    return msgspec.json.Decoder(state).decode


def wording(error: Exception) -> str:
    """What msgspec complains of, without the value: it repeats one that is none of those that it knows."""
    text = str(error)
    return QUOTED.sub("...", text) if text.startswith("Invalid ") else text


def unreadable(error: Exception) -> UnreadableError:
    """Sort msgspec's (or UTF-8's) complaint into one of the three causes; its words without what the record said."""
    text = wording(error)
    if not isinstance(error, msgspec.ValidationError):
        return UnreadableError(DeadCause.BROKEN_JSON, text)
    if "$.type" in text or "required field `type`" in text:
        return UnreadableError(DeadCause.UNKNOWN_TYPE, text)
    return UnreadableError(DeadCause.INVALID, text)
