"""Types that requests of several domains share: ids, words and addresses in paths, headers and bodies, with their limits."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Header, Path
from pydantic import AfterValidator, AwareDatetime, Field

from schemas.user import USER_ID_PATTERN

ID_PATTERN: Final = r"^[A-Za-z0-9_.:-]+$"
URL_PATTERN: Final = r"https?://[^\s\x00-\x1f]+"

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def _possible(at: datetime) -> datetime:
    # compared as it is: the first and the last years cannot be told in another time zone
    if not EARLIEST <= at < LATEST:
        raise ValueError(f"a time is from {EARLIEST:%Y} on and before {LATEST:%Y}")
    return at.astimezone(UTC)


# A time with its zone, as UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_possible)]

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
