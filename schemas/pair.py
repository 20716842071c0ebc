"""What is between two users: its key."""

from typing import Annotated

from msgspec import Meta

from schemas.log.personal import PLAIN

# Two users, see `pair_of`.
PairKey = Annotated[str, Meta(min_length=3, max_length=257), PLAIN]


def pair_of(one: str, other: str) -> str:
    """The key of what is between two users: both ids in order with "/" between them, which no user id holds."""
    return f"{min(one, other)}/{max(one, other)}"
