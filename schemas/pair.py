"""What is between two users: its key."""

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta

from schemas.log.personal import PLAIN

# Two users, see `pair_of`.
PairKey = Annotated[str, Meta(min_length=3, max_length=257), PLAIN]


def pair_of(one: str, other: str) -> str:
    """The key of what is between two users: both ids in order with "/" between them, which no user id holds."""
    return f"{min(one, other)}/{max(one, other)}"


def pair_by(one: str, other: str) -> Callable[[Any], str]:
    """The key of what is between the two users whom a message names in these fields, as a function of the message."""
    return lambda message: pair_of(getattr(message, one), getattr(message, other))
