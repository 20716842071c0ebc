"""What webhooks of several vendors have in common: a secret in a header, paths into JSON of any shape, times as texts."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

BEARER: Final = "bearer "


def carries(secret: str, given: str) -> bool:
    """Whether what was given is the secret, in a time that tells nothing of it; where none is set nothing is."""
    return bool(secret) and hmac.compare_digest(given.encode(errors="replace"), secret.encode())


def token_in(headers: Mapping[str, str], name: str) -> str:
    """The token in a header of the vendor's, or else in `Authorization`, bare or as Bearer, in letters of either case."""
    told = headers.get("authorization", "")
    return headers.get(name) or (told[len(BEARER) :].lstrip(" ") if told[: len(BEARER)].lower() == BEARER else told)


def found_in(body: Any, *path: str) -> Any:
    """What stands at a path of names; None: nothing does."""
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def moment(value: Any) -> datetime | None:
    """A time, UTC where it names no zone; None: it is none."""
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
