"""Who was erased: the mark that stays of a user, and the users whom a partition was told of by broadcast.

An entity under the user's key keeps `erased_at` for a day, so that what comes late is refused or ignored. Entities under other
keys are decided under the `erased` of their partition's broadcast key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import REMEMBERED_FOR, UserId, later
from schemas.user import UserInList

MAX_ERASED: Final = 1_000
ErasedUsers = Annotated[tuple[UserInList, ...], Meta(max_length=MAX_ERASED)]


def mark_ends(erased_at: datetime | None) -> datetime | None:
    """When the mark of an erasure is forgotten; None where nobody was erased."""
    return None if erased_at is None else later(erased_at, REMEMBERED_FOR)


def with_erased(users: Sequence[str], user: UserId) -> tuple[str, ...]:
    """The users whom a partition was told of, with one more, who stands last; beyond MAX_ERASED the first one gives way."""
    return (*(one for one in users if one != user), user)[-MAX_ERASED:]
