"""The listening socket: connections are taken by turns of their addresses, and whoever is not served costs next to nothing.

uvicorn's own takes all connections that wait in one turn of the loop, in the order in which they came, and makes a transport
and a parser of each: a thousand of one address hold up everybody else by what a thousand cost. Here those that wait are bare
sockets in a queue of their address. A turn of the loop makes AT_ONCE connections, of each address one, round and round; an
address that has just asked too often, or has too many, is told so by bytes that were made once.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

import uvicorn

from serving.runtime.connection import Bounded, Turned
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
# What has come of a request that is not served: unread, it would take back the answer.
UNREAD_BYTES: Final = 65_536


class Listener:
    """As much of `asyncio.Server` as uvicorn asks for."""

    def __init__(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol], bounded: type[Bounded]) -> None:
        self._listening, self._protocol = listening, protocol
        self._places, self._rates = bounded.places, bounded.rates
        self._loop = asyncio.get_running_loop()
        self._waiting = Queues[socket.socket]()
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._listen()

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        while self._waiting:
            name, connection = self._waiting.take()
            self._places.leave(name)
            connection.close()

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
                _tell(connection, turned)
                continue
            self._waiting.put(name, connection)
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        made = told = 0
        while self._waiting and made < AT_ONCE and told < TOLD_AT_ONCE:
            name, connection = self._waiting.take()
            if turned := self._places.shut(name):
                self._places.leave(name)
                _tell(connection, turned)
                told += 1
                continue
            made += 1
            connection.setblocking(False)
            task = self._loop.create_task(self._connected(name, connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            self._loop.call_soon(self._serve)

    async def _connected(self, name: str, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # whoever it was is gone
            self._places.leave(name)
            connection.close()


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
