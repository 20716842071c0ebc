"""Types that requests of several domains share: ids, words and addresses in paths, headers and bodies, with their limits."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Header, Path
from pydantic import AfterValidator, AwareDatetime, Field

from schemas.user import USER_ID_PATTERN

ID_PATTERN: Final = r"^[A-Za-z0-9_.:-]+$"
URL_PATTERN: Final = r"https?://[^\s\x00-\x1f]+"


def _possible(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("this time is before the first or behind the last one that UTC can tell") from None


# A time with its zone, as UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_possible)]

# What the warehouse's DateTime64 holds, and no analyst's day lies outside of.
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def _storable(at: datetime) -> datetime:
    if not EARLIEST <= at < LATEST:
        raise ValueError("this time lies outside of the years 1970 to 2199")
    return at


# A time that is kept.
KeptMoment = Annotated[Moment, AfterValidator(_storable)]

Word = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f]*$")]
ItemId = Annotated[str, Field(min_length=1, max_length=64, pattern=ID_PATTERN)]
WebUrl = Annotated[str, Field(max_length=1024, pattern=f"^{URL_PATTERN}$")]
OptionalWebUrl = Annotated[str, Field(max_length=1024, pattern=f"^({URL_PATTERN})?$")]

IdInPath = Annotated[str, Path(min_length=1, max_length=64, pattern=ID_PATTERN)]
UserInPath = Annotated[str, Path(pattern=USER_ID_PATTERN)]

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Your own name for this request. The same key within a day: the same answer, and nothing more happens.",
    ),
]
OptionalIdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", max_length=128, pattern=r"^[\x21-\x7e]*$")]
