"""The door: an ASGI application in front of all others. What comes from outside is bounded before anything is made of it.

In this order: the size of the head, how often the address asks, who it is (by the token alone), how often the user asks and how
many requests of theirs are open, the size of the body, in how much time it comes, and its shape. A request that is turned away
before its body was read ends its connection, for else the server would go on to read the rest of it. Webhooks have no token;
their signatures are over the body, so that is read, bounded, and then asked about by their routes before it is parsed.

Errors: Problem 400 (`shape`), 401, 403, 408, 413, 429, 431, 503; `Caller` behind the door is `scope["state"]["caller"]`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from starlette.datastructures import Headers

from infra.config import Config
from serving.runtime import shape
from serving.runtime.auth import CALLER, Authenticator, Caller
from serving.runtime.problems import Problem
from serving.runtime.rates import TURNED_AWAY, Rates
from serving.runtime.turns import Turns

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

WEBHOOKS: Final = "/v1/webhooks/"
# Everything else below /v1 takes a token; the app asks for its settings before it has one.
OPEN: Final = frozenset({("GET", "/v1/settings")})
WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_HEADERS: Final = 100


class Door:
    """The ASGI application in front of `app`."""

    def __init__(self, app: App, authenticator: Authenticator, config: Config) -> None:
        self._app = app
        self._authenticator = authenticator
        self._config = config
        self.rates = Rates(config)
        self._turns = Turns()
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._known(scope)
            body = _Body(receive, self._limit_of(scope, caller))
            body.declared(Headers(scope=scope).get("content-length"))
            with _Place(self._open, caller, self._config.open_requests):
                if scope["method"] not in WITHOUT_BODY:
                    if not await body.read(self._config.body_s):
                        return  # nobody is there any more to be answered
                    await self._turns.mine(_address_of(scope))
                    if problem := _shape_of(scope, body.content, caller):
                        raise problem
                await self._app(scope, body.again, send)
        except Problem as problem:
            TURNED_AWAY.labels(problem.code).inc()
            problem.headers = {**(problem.headers or {}), "Connection": "close"}
            await problem.response()(scope, receive, send)

    async def _known(self, scope: Scope) -> Caller | None:
        """Who asks, and that they may; None: whoever it is may ask this. Errors: Problem."""
        _head_fits(scope, self._config.head_bytes)
        await self._turns.mine(_address_of(scope))
        await self.rates.address(_address_of(scope))
        method, path = scope["method"], scope["path"]
        if not path.startswith("/v1/") or path.startswith(WEBHOOKS) or (method, path) in OPEN:
            return None
        caller = await self._authenticator.caller(Headers(scope=scope).get("authorization"))
        scope.setdefault("state", {})[CALLER] = caller
        await self.rates.user(caller.user, staff=caller.is_staff)
        if method not in WITHOUT_BODY and not caller.is_staff:
            # Up to the first id: "calls", "users/me".
            await self.rates.write(caller.user, f"{method} {path[:40].split('/')[2]}")
        return caller

    def _limit_of(self, scope: Scope, caller: Caller | None) -> int:
        """How many bytes a request's body may have."""
        if scope["method"] in WITHOUT_BODY:
            return 0
        if scope["path"].startswith(WEBHOOKS):
            return self._config.webhook_body_bytes
        return self._config.staff_body_bytes if caller and caller.is_staff else self._config.body_bytes


class _Place:
    """A place among the open requests of a user. Errors: Problem 429, when there is none left."""

    def __init__(self, taken: Counter[str], caller: Caller | None, places: int) -> None:
        self._taken, self._user, self._places = taken, caller.user if caller else "", places

    def __enter__(self) -> None:
        if not self._user:
            return
        if self._taken[self._user] >= self._places:
            self._user = ""
            detail = f"more than {self._places} requests of yours are open; close streams that nobody reads"
            raise Problem(429, "too_many_open", detail, headers={"Retry-After": "5"})
        self._taken[self._user] += 1

    def __exit__(self, *_: object) -> None:
        if not self._user:
            return
        self._taken[self._user] -= 1
        if not self._taken[self._user]:
            del self._taken[self._user]


class _Body:
    """A request's body, up to a limit; `again` gives the application what was read, and then what the server tells."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit = receive, limit
        self.content = b""
        self._read = False
        self._seen = 0

    def declared(self, length: str | None) -> None:
        """What the head says of the length. Errors: Problem 400, 413."""
        if length is None:
            return
        if not (length.isascii() and length.isdigit()):
            raise Problem(400, "bad_request", "Content-Length is a number of bytes")
        if len(length) > 18 or int(length) > self._limit:
            raise self._too_large()

    async def read(self, limit_s: float) -> bool:
        """Read all of it; False: its sender has gone. Errors: Problem 408, 413."""
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        return False
                    parts.append(self._counted(message))
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise Problem(408, "request_too_slow", f"the body did not come within {limit_s:g} seconds") from None
        self.content, self._read = b"".join(parts), True
        return True

    async def again(self) -> Message:
        """The application's `receive`."""
        if self._read:
            self._read = False
            return {"type": "http.request", "body": self.content, "more_body": False}
        message = await self._receive()
        try:
            self._counted(message)
        except Problem:  # a stream's client that sends and sends
            return {"type": "http.disconnect"}
        return message

    def _counted(self, message: Message) -> bytes:
        part: bytes = message.get("body", b"")
        self._seen += len(part)
        if self._seen > self._limit:
            raise self._too_large()
        return part

    def _too_large(self) -> Problem:
        return Problem(413, "body_too_large", f"the body of this request may have {self._limit} bytes")


def _address_of(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _head_fits(scope: Scope, limit: int) -> None:
    headers = scope["headers"]
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"]) + sum(len(name) + len(of) for name, of in headers)
    if size > limit or len(headers) > MAX_HEADERS:
        detail = f"the head of a request may have {limit} bytes and {MAX_HEADERS} fields"
        raise Problem(431, "head_too_large", detail)


def _shape_of(scope: Scope, body: bytes, caller: Caller | None) -> Problem | None:
    """What is wrong with a body's shape. Webhooks ask for themselves, behind their signatures."""
    if scope["path"].startswith(WEBHOOKS) or not body:
        return None
    return shape.problem_of(body, shape.MAX_VALUES if caller and caller.is_staff else shape.FEW_VALUES)
