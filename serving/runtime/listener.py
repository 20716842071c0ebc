"""The listening socket: connections are taken by turns of their addresses, and whoever is not served costs next to nothing.

uvicorn's own takes all connections that wait in one turn of the loop, in the order in which they came, and makes a transport
and a parser of each: a thousand of one address hold up everybody else by what a thousand cost. Here those that wait are bare
sockets: until their first head has come (`heads.py`), and then in a queue of their address. A turn of the loop makes AT_ONCE
connections, of each address one, round and round; an address that has just asked too often, or has too many, is told so by
bytes that were made once.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import uvicorn

from serving.runtime.connection import Bounded, Turned, too_slow
from serving.runtime.heads import Heads, Waiting
from serving.runtime.rates import TURNED_AWAY
from serving.runtime.turns import Queues

# In one turn of the loop: so long connections are taken from the kernel, whose queue is in order of coming (some 0.04 ms each);
# so many are made, some 0.2 ms each; and so many are told why not.
TAKE_S: Final = 0.008
AT_ONCE: Final = 8
TOLD_AT_ONCE: Final = 32
# So many may wait in the kernel until they are taken.
BACKLOG: Final = 4_096
# When there is no file left for a connection, nor for anything else: look again behind so long.
NO_FILES_S: Final = 1.0
# Whoever is turned away is told so behind a moment, and asks again that much later; of more than so many, the rest at once.
HELD_S: Final = 0.5
HELD: Final = 1_024
# What has come of a request that is not served: unread, it would take back the answer.
UNREAD_BYTES: Final = 65_536


class Listener:
    """As much of `asyncio.Server` as uvicorn asks for."""

    def __init__(self, listening: socket.socket, protocol: Callable[[], Bounded], bounded: type[Bounded]) -> None:
        self._listening, self._protocol = listening, protocol
        self._places, self._rates = bounded.places, bounded.rates
        self._slow = too_slow(bounded.bounds)
        self._loop = asyncio.get_running_loop()
        self._heads = Heads(bounded.bounds.head_s, self._ready, self._late, self._gone)
        self._waiting = Queues[Waiting]()
        self._held: deque[tuple[float, socket.socket, Turned]] = deque()
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._listen()

    def close(self) -> None:
        """Take no more, and hang up on those that wait."""
        if self._listening.fileno() < 0:
            return
        self._loop.remove_reader(self._listening)
        self._listening.close()
        self._heads.close()
        while self._waiting:
            self._gone(self._waiting.take()[1])
        for _, connection, _ in self._held:
            connection.close()
        self._held.clear()

    async def wait_closed(self) -> None:
        """It is closed at once."""

    def _listen(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._take)

    def _take(self) -> None:
        """Somebody is there."""
        until = time.monotonic() + TAKE_S
        while time.monotonic() < until:
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError:
                self._loop.remove_reader(self._listening)
                self._loop.call_later(NO_FILES_S, self._listen)
                break
            name = self._rates.counted_as(str(address[0]) if address else "")
            if turned := self._places.take(name):
                self._hold(connection, turned)
                continue
            connection.setblocking(False)
            self._heads.put(Waiting(name, connection, time.monotonic()))

    def _ready(self, one: Waiting) -> None:
        """Its first request is there: it gets a transport and a parser when it is its address's turn."""
        self._waiting.put(one.name, one)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._serve)

    def _hold(self, connection: socket.socket, turned: Turned) -> None:
        """Turn somebody away, in a moment."""
        if len(self._held) >= HELD:
            _tell(connection, turned)
            return
        if not self._held:
            self._loop.call_later(HELD_S, self._tell_held)
        self._held.append((self._loop.time() + HELD_S, connection, turned))

    def _tell_held(self) -> None:
        for _ in range(TOLD_AT_ONCE):
            if not self._held or self._held[0][0] > self._loop.time():
                break
            _, connection, turned = self._held.popleft()
            _tell(connection, turned)
        if self._held:
            self._loop.call_at(self._held[0][0], self._tell_held)

    def _late(self, one: Waiting) -> None:
        self._places.leave(one.name)
        _tell(one.connection, self._slow)

    def _gone(self, one: Waiting) -> None:
        self._places.leave(one.name)
        with suppress(OSError):  # unread bytes would make the end a reset
            one.connection.recv(UNREAD_BYTES, socket.MSG_DONTWAIT)
        one.connection.close()

    def _serve(self) -> None:
        made = held = 0
        while self._waiting and made < AT_ONCE and held < TOLD_AT_ONCE:
            name, one = self._waiting.take()
            if turned := self._places.shut(name):
                self._places.leave(name)
                self._hold(one.connection, turned)
                held += 1
                continue
            made += 1
            task = self._loop.create_task(self._connected(one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            self._loop.call_soon(self._serve)

    async def _connected(self, one: Waiting) -> None:
        def made() -> asyncio.Protocol:
            protocol = self._protocol()
            protocol.came_at = one.came_at
            return protocol

        try:
            await self._loop.connect_accepted_socket(made, one.connection)
        except OSError:  # whoever it was is gone
            self._gone(one)


def _tell(connection: socket.socket, turned: Turned) -> None:
    """Say why not, and hang up."""
    TURNED_AWAY.labels(turned.code).inc()
    with suppress(OSError):
        connection.recv(UNREAD_BYTES, socket.MSG_DONTWAIT)
    with suppress(OSError):
        connection.send(turned.answer, socket.MSG_DONTWAIT)
    connection.close()


class ListeningServer(uvicorn.Server):
    """uvicorn's server behind this listener; its protocol is one of `connection.bounded`."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the given sockets, or where the settings say."""
        listening = sockets or [self.config.bind_socket()]
        await super().startup(sockets=[])
        bounded = cast(type[Bounded], self.config.http_protocol_class)
        protocol: Callable[[], Any] = partial(
            bounded, config=self.config, server_state=self.server_state, app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )  # fmt: skip
        self.servers: list[Any] = [Listener(one, protocol, bounded) for one in listening]
