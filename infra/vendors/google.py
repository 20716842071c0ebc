"""Service accounts of Google Cloud: the key file says where tokens are had, and each scope has tokens of its own."""

import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from google.auth import exceptions, transport
from google.oauth2.service_account import Credentials

from infra.vendors import push as pushes


class _Answer(transport.Response):
    """What google-auth wants to know of an answer."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    @property
    def data(self) -> bytes:
        return self._answer.content


class _Transport(transport.Request):
    """How google-auth asks for a token: by our client."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(
        self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **_: Any
    ) -> _Answer:
        del method, timeout
        try:
            named = {name.lower(): value for name, value in (headers or {}).items()}
            return _Answer(pushes.post(self._client, pushes.Request(url, named, body or b"")))
        except httpx.HTTPError as error:
            raise exceptions.TransportError(error) from error


class Account:
    """A service account: its project, and the token for one scope that it has at the moment."""

    def __init__(self, key_file: str, scope: str) -> None:
        self._credentials = Credentials.from_service_account_file(key_file, scopes=[scope])  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self.project: str = self._credentials.project_id

    def bearer(self, client: httpx.Client, *, instead_of: str = "") -> str:
        """A token that is good for some minutes, and another one than that which was not taken. Errors: GoogleAuthError."""
        with self._lock:
            if not self._credentials.valid or self._credentials.token == instead_of:
                self._credentials.refresh(_Transport(client))
            token: str = self._credentials.token
            return token


def ask(
    account: Account, client: httpx.Client, send: Callable[[str], httpx.Response], taken: Callable[[httpx.Response], bool]
) -> httpx.Response:
    """The answer to what is sent with a bearer; one that is not taken is renewed once. Errors: GoogleAuthError."""
    bearer = account.bearer(client)
    answer = send(bearer)
    return answer if taken(answer) else send(account.bearer(client, instead_of=bearer))


def is_taken(answer: httpx.Response) -> bool:
    """Whether the bearer was good."""
    return answer.status_code != 401


def account_of(key_file: str, scope: str) -> Account:
    """The service account of a key file. Errors: ValueError, where the file is none, or no account's."""
    try:
        return _account(key_file, scope, Path(key_file).stat().st_mtime_ns)
    except (OSError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


@cache
def _account(key_file: str, scope: str, changed_at_ns: int) -> Account:
    del changed_at_ns  # a key that was changed is read again
    return Account(key_file, scope)
