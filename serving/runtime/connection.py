"""A connection's bounds, below ASGI: uvicorn gives a request to the application when its head is whole, and waits for that
without an end and without a limit. Here a head has a time and a size, and connections a number, of all and of one address.

It builds on uvicorn's protocol over httptools. The listener (`listener.py`) takes a connection's place before there is one, and
the connection gives it back. The application's door (`door.py`) bounds what comes behind the head.
"""

import asyncio
import resource
import socket
import time
from collections import Counter
from typing import Any, Final, NamedTuple, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infra.config import Config
from serving.runtime.door import MAX_HEADERS
from serving.runtime.problems import MEDIA_TYPE, Problem
from serving.runtime.rates import TURNED_AWAY, Rates

# A response that was begun says `Connection: close` by itself; these are written where there is no application yet.
HEAD: Final = "HTTP/1.1 {status} {title}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{more}connection: close\r\n\r\n"
# Each connection is an open file. Without any left nobody is answered, not even with 429, and neither store nor log is opened.
FILES_OF_OURS: Final = 2_048


# A phone that is gone without a word (no battery, no network) answers nothing; the kernel would wait a quarter of an hour, and
# the stream would go on beating for its call.
ASK_AFTER_S: Final = 10
ASK_EVERY_S: Final = 5
GONE_AFTER_S: Final = 15


def notice_death(connection: Any) -> None:
    """The connection ends when its other side has answered nothing for GONE_AFTER_S; asked it is when nothing else is said."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    limits = {"TCP_KEEPIDLE": ASK_AFTER_S, "TCP_KEEPINTVL": ASK_EVERY_S, "TCP_KEEPCNT": GONE_AFTER_S // ASK_EVERY_S}
    for name, limit in (limits | {"TCP_USER_TIMEOUT": GONE_AFTER_S * 1_000}).items():
        if hasattr(socket, name):  # macOS lacks some
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), limit)


class Turned(NamedTuple):
    """Why somebody is turned away, and the whole answer."""

    code: str
    answer: bytes


class Places:
    """The connections that there are, of those that there may be: of all, and of one address (as `Rates.counted_as` says)."""

    def __init__(self, config: Config, rates: Rates) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = config.connections if files == resource.RLIM_INFINITY else files - min(FILES_OF_OURS, files // 2)
        self.most, self._most_of_one = min(config.connections, free), config.address_connections
        self._rates = rates
        self._all, self._of_one = 0, Counter[str]()

    def take(self, address: str) -> Turned | None:
        """One connection more of an address; or why there is none."""
        if self._all >= self.most or (address and self._of_one[address] >= self._most_of_one):
            return TOO_MANY
        if turned := self.shut(address):
            return turned
        self._all += 1
        self._of_one[address] += 1
        return None

    def leave(self, address: str) -> None:
        """One connection less."""
        self._all -= 1
        self._of_one[address] -= 1
        if not self._of_one[address]:
            del self._of_one[address]

    def shut(self, address: str) -> Turned | None:
        """Why an address gets no connection now: it has just asked too often."""
        return TOO_OFTEN if self._rates.is_shut(address) else None


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol with bounds; `bounded` makes the class for a process's settings."""

    bounds: Config
    places: Places
    rates: Rates
    # When the listener has taken the connection: the time of the first head runs from there.
    came_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there, and has to say what they want."""
        super().connection_made(transport)
        notice_death(transport.get_extra_info("socket"))
        self._late: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._address = self.rates.counted_as(self.client[0] if self.client else "")
        self._wait(since=self.came_at or time.monotonic())

    def data_received(self, data: bytes) -> None:
        """Bytes: counted while they belong to a head that is not whole."""
        if self.transport.is_closing():
            return
        goes_on = self._in_head
        super().data_received(data)
        if goes_on and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._in_head and self._head_bytes > self.bounds.head_bytes:
                self._refuse(_too_large(self.bounds))

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        if not self._in_head:
            self._in_head, self._head_bytes = True, 0
            self._wait(since=time.monotonic())

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or, behind the body, of a trailer: of that, too, there may be so much."""
        if not self._in_head:
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > self.bounds.head_bytes:
                raise ValueError("the trailer is too large")  # it comes back as `send_400_response`
            return
        if len(self.headers) <= MAX_HEADERS:  # one more than there may be, so that the door refuses it
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone, or was let go of."""
        self._stop_waiting()
        self.places.leave(self._address)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._refuse(Problem(400, "bad_request", f"{msg} Look at how the request is written."))

    def _wait(self, *, since: float) -> None:
        self._stop_waiting()
        left_s = since + self.bounds.head_s - time.monotonic()
        self._late = self.loop.call_later(max(0.0, left_s), self._head_late)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_late(self) -> None:
        if not self.transport.is_closing():
            self._refuse(_too_slow(self.bounds))

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, and hang up; behind an answer that has begun: only hang up."""
        self._stop_waiting()
        TURNED_AWAY.labels(problem.code).inc()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_turned(problem).answer)
        self.transport.close()


def bounded(config: Config, rates: Rates) -> type[Bounded]:
    """The protocol for the settings of this process, and the files that it may have open. `rates`: those of the door."""
    bounds = {"bounds": config, "places": Places(config, rates), "rates": rates}
    return cast(type[Bounded], type("BoundedHere", (Bounded,), bounds))


def _turned(problem: Problem) -> Turned:
    """A problem as it is answered without the application; the connection ends behind it."""
    body = bytes(problem.response().body)
    more = "".join(f"{name}: {value}\r\n" for name, value in (problem.headers or {}).items())
    head = HEAD.format(status=problem.status, title=problem.title, kind=MEDIA_TYPE, length=len(body), more=more)
    return Turned(problem.code, head.encode() + body)


RETRY: Final = {"retry-after": "1"}
TOO_MANY: Final = _turned(
    Problem(429, "too_many_connections", "more connections are open than are served; close some", headers=RETRY)
)
TOO_OFTEN: Final = _turned(Problem(429, "too_many_requests", "this address asks too often; wait a second", headers=RETRY))


def too_slow(config: Config) -> Turned:
    """What is told where no head has come."""
    return _turned(_too_slow(config))


def _too_slow(config: Config) -> Problem:
    detail = f"the head of the request did not come within {config.head_s:g} seconds"
    return Problem(408, "request_too_slow", detail)


def _too_large(config: Config) -> Problem:
    return Problem(431, "head_too_large", f"the head of a request may have {config.head_bytes} bytes")
