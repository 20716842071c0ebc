"""Connections whose first request has not come yet: bare sockets in an epoll of their own, until its head is whole.

A transport and a parser cost some 0.2 ms, and a connection that asks nothing, or a word a minute, needs neither. What has come
is looked at and left where it is (MSG_PEEK). A head that is whole, or none, or long is the business of the protocol,
with its limits; one that does not come in time is told so by bytes that were made once. Where there is no epoll (macOS), all
goes to the protocol at once.
"""

import asyncio
import contextlib
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

# As much of a head is looked at; a longer one is the protocol's.
LOOKED_AT_BYTES: Final = 8_192
# In one turn of the loop so many are looked at, some 0.01 ms each, and so many told that they are late.
AT_ONCE: Final = 128
WHOLE: Final = (b"\n\r\n", b"\n\n")


class Waiting(NamedTuple):
    """A connection, whose it is, and when it came."""

    name: str
    connection: socket.socket
    came_at: float


class Heads:
    """Those that wait. `ready` is told of each that is the protocol's; `late` of each whose head did not come within `head_s`;
    `gone` of each that has hung up. Whoever is told has the connection."""

    def __init__(
        self, head_s: float, ready: Callable[[Waiting], None], late: Callable[[Waiting], None], gone: Callable[[Waiting], None]
    ) -> None:
        self._head_s, self._ready, self._late, self._gone = head_s, ready, late, gone
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, Waiting] = {}
        self._in_order: deque[Waiting] = deque()
        self._timer: asyncio.Handle | None = None
        if sys.platform == "linux":
            self._events = select.epoll()
            self._loop.add_reader(self._events.fileno(), self._look)

    def put(self, one: Waiting) -> None:
        """A new connection."""
        if sys.platform != "linux":
            self._ready(one)
            return
        file = one.connection.fileno()
        self._waiting[file] = one
        self._in_order.append(one)
        # Edge-triggered: told of once for whatever has come since, so that half a head is not looked at again and again.
        self._events.register(file, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        if self._timer is None:
            self._timer = self._loop.call_later(self._head_s, self._expire)

    def close(self) -> None:
        """Hang up on all of them."""
        if sys.platform == "linux" and not self._events.closed:
            self._loop.remove_reader(self._events.fileno())
            self._events.close()
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._gone(self._waiting.popitem()[1])

    def _look(self) -> None:
        if sys.platform == "linux":
            for file, events in self._events.poll(0, AT_ONCE):
                if one := self._waiting.get(file):
                    self._look_at(one, events)

    def _look_at(self, one: Waiting, events: int) -> None:
        try:
            head = one.connection.recv(LOOKED_AT_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            head = b""
        if is_protocols(head):
            self._ready(self._taken(one))
        elif not head or events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            self._gone(self._taken(one))

    def _taken(self, one: Waiting) -> Waiting:
        file = one.connection.fileno()
        del self._waiting[file]
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._events.unregister(file)
        return one

    def _expire(self) -> None:
        """Tell the first of those that are late; the rest in the next turn."""
        due_at = time.monotonic() - self._head_s
        for _ in range(AT_ONCE):
            if not self._in_order or self._in_order[0].came_at > due_at:
                break
            one = self._in_order.popleft()
            if self._waiting.get(one.connection.fileno()) is one:
                self._late(self._taken(one))
        self._timer = None
        if self._in_order:
            self._timer = self._loop.call_later(max(0.0, self._in_order[0].came_at - due_at), self._expire)


def is_protocols(head: bytes) -> bool:
    """Whether the parser has something to say of it: a head that is whole, that is none, or that is long."""
    if not head:
        return False
    is_none = not (head[:1].isupper() or head[:1] in b"\r\n")
    return is_none or len(head) >= LOOKED_AT_BYTES or any(end in head for end in WHOLE)
