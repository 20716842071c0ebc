"""Who may ask the embedded warehouse: two users with a password each, and no page of another origin.

People ask as `olo`, whose URL `olo up` prints; the platform's own processes ask as `platform`, in lanes of their own. The
passwords are made once and stay in `$OLO_HOME/passwords.json`, which only its owner reads. They come as ClickHouse has it: by
basic authentication, by `X-ClickHouse-User` and `X-ClickHouse-Key`, or as `user` and `password` in the query.
"""

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.ports import replace

PEOPLE: Final = "olo"
PLATFORM: Final = "platform"
# What a browser says of a request that another page has made.
FOREIGN: Final = {"cross-site", "same-site"}


class RefusedError(Exception):
    """The request may not come in; the text says why, as ClickHouse's does. `status`: 401 without credentials, else 403."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def passwords(file: Path) -> dict[str, str]:
    """The users' passwords; made at the first call."""
    known: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    if missing := {PEOPLE, PLATFORM} - known.keys():
        known |= {user: secrets.token_urlsafe(24) for user in missing}
        replace(file, known)
        file.chmod(0o600)
    return known


def url(user: str, password: str, port: int) -> str:
    """The warehouse's URL for a user."""
    return f"http://{user}:{password}@127.0.0.1:{port}"


def user_of(headers: Mapping[str, str], parameters: Mapping[str, str], known: Mapping[str, str]) -> str:
    """The user who asks. Errors: RefusedError."""
    user, password = _offered(headers, parameters)
    # An unknown user costs as long as a known one.
    expected = known.get(user, secrets.token_urlsafe(24))
    if hmac.compare_digest(password.encode(), expected.encode()):
        return user
    nothing = not user and not password
    text = (
        f"Code: 516. DB::Exception: {user or 'nobody'}: Authentication failed: password is incorrect, or there is no user with"
        " such name; `olo up` prints the URL with both. (AUTHENTICATION_FAILED)"
    )
    raise RefusedError(401 if nothing else 403, text)


def _offered(headers: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[str, str]:
    """User and password as the request has them. Errors: RefusedError for two ways at once, which ClickHouse refuses, too."""
    basic = headers.get("authorization", "")
    by_header = "x-clickhouse-user" in headers or "x-clickhouse-key" in headers
    by_query = "user" in parameters or "password" in parameters
    if bool(basic) + by_header + by_query > 1:
        raise RefusedError(403, "Code: 516. DB::Exception: Credentials come by one way at a time. (AUTHENTICATION_FAILED)")
    if by_header:
        return headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")
    if by_query:
        return parameters.get("user", ""), parameters.get("password", "")
    kind, _, packed = basic.partition(" ")
    if kind.lower() != "basic":
        return "", packed
    try:
        user, _, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", packed
    return user, password


def check_origin(headers: Mapping[str, str], allowed: frozenset[str]) -> None:
    """Turn away what a page of another origin asks: a browser sends a password that it knows along. Errors: RefusedError."""
    origin = headers.get("origin")
    if origin is None:
        if headers.get("sec-fetch-site") in FOREIGN:
            raise RefusedError(403, "Code: 516. DB::Exception: Pages of other sites may not ask here. (AUTHENTICATION_FAILED)")
        return
    if origin not in allowed and origin != f"http://{headers.get('host', '')}":
        text = f"Code: 516. DB::Exception: Pages of {origin} may not ask here; OLO_CLICKHOUSE_ORIGINS names those that may."
        raise RefusedError(403, f"{text} (AUTHENTICATION_FAILED)")
