"""The feed's hub: server-sent events to everybody, as plain ASGI, without a task per connection.

Publishing appends to the connection's list; one `call_soon` flush a loop turn sends each connection what is pending, joined, by
driving the ASGI `send` coroutine itself: it ends at once unless the server wants back-pressure. Then the reader is slow, and is
cut; it resumes with its Last-Event-ID. (120k deliveries/s in one process, 5 times sse-starlette: `tests.lab.bench.sse`.)

What a record of the feed must not keep, such as a text that may be deleted, is put in as it is shown (`completes`): live, and
again when a phone resumes.

A cursor is "<partition>-<offset>" of the feed topic. A stream resumes from memory, which holds the recent past up to a number
of bytes, else from the log.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

from prometheus_client import Counter, Gauge

from schemas.log.entity import partition_of
from schemas.log.topics import FEED

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# The memory of a kept event beside its body.
EVENT_BYTES: Final = 200
# Mobile networks drop idle connections after 30 s and more.
PING_S: Final = 15.0

ENDED: Final = object()
# What ends a feed: it is shown, and nothing else is.
LAST_WORD: Final = b'{"type":"UserErased"'
CONNECTIONS = Gauge("olo_feed_connections", "Open SSE connections")
DELIVERED = Counter("olo_feed_delivered", "Events handed to connections")
CUT = Counter("olo_feed_cut", "Connections cut because their reader was too slow")


# One feed record, encoded once for all who see it: offset, user, body. Plain: a named tuple costs as much as the encoding.
Event = tuple[int, str, bytes]


def encode_event(partition: int, offset: int, value: bytes) -> bytes:
    """An SSE event around a record's JSON; its name is the message's type, which always stands first."""
    end = value.find(b'"', 9)
    return b"id: %d-%d\nevent: %b\ndata: %b\n\n" % (partition, offset, value[9:end], value)


class Connection:
    """One open stream. `after`: events up to this offset are known to the client; `devices`: how the phone is called."""

    __slots__ = ("after", "cut", "devices", "pending", "send")

    def __init__(self, send: Send, cut: Callable[[], None], after: int, devices: tuple[str, ...] = ("feed",)) -> None:
        self.send = send
        self.cut = cut
        self.after = after
        self.devices = devices
        self.pending: list[bytes] = []


class Hub:
    """All connections of this process, by user, and the recent past, of which `recent_bytes` are kept: at 400 bytes an event
    the default is a minute at 500 events/s, longer than a phone takes to change cells."""

    def __init__(self, recent_bytes: int = 16_000_000) -> None:
        self.positions = dict.fromkeys(range(FEED.partitions), 0)
        self.recent: dict[int, deque[Event]] = {p: deque() for p in range(FEED.partitions)}
        self._room = dict.fromkeys(self.recent, recent_bytes // FEED.partitions)
        self._users: dict[str, list[Connection]] = {}
        self._dirty: list[Connection] = []
        self._scheduled = False
        self.opened: Callable[[str, str], None] = lambda *_: None
        self.completes: dict[bytes, Callable[[bytes], bytes]] = {}

    def make_room(self, user: str, most: int) -> None:
        """So many streams a user has at most, with the one that comes: the oldest end. A phone that lost its connection comes
        again before the server has noticed, and is let in."""
        connections = self._users.get(user, [])
        for connection in connections[: max(0, len(connections) + 1 - most)]:
            connections.remove(connection)
            CONNECTIONS.dec()
            connection.cut()

    def add(self, user: str, connection: Connection) -> None:
        """From now on the connection gets the user's events."""
        self._users.setdefault(user, []).append(connection)
        CONNECTIONS.inc()
        self.opened(user, connection.devices[0])

    def remove(self, user: str, connection: Connection) -> None:
        """The connection has ended."""
        connections = self._users.get(user)
        if connections and connection in connections:
            connections.remove(connection)
            CONNECTIONS.dec()
            if not connections:
                del self._users[user]

    def publish(self, partition: int, offset: int, user: str, value: bytes) -> None:
        """One feed record has come, in order."""
        self.positions[partition] = offset + 1
        body = encode_event(partition, offset, value)
        self._keep(partition, (offset, user, body))
        connections = self._users.get(user, ())
        if connections:
            body = self.complete(body)
            for connection in connections:
                if offset > connection.after:
                    self.push(connection, body)
        if value.startswith(LAST_WORD):
            for connection in connections:
                asyncio.get_running_loop().call_soon(connection.cut)

    def _keep(self, partition: int, event: Event) -> None:
        recent = self.recent[partition]
        recent.append(event)
        room = self._room[partition] - len(event[2]) - EVENT_BYTES
        while room < 0:
            room += len(recent.popleft()[2]) + EVENT_BYTES
        self._room[partition] = room

    def complete(self, body: bytes) -> bytes:
        """An event as a phone is shown it now."""
        if not self.completes:
            return body
        name = body.find(b"event: ") + 7
        way = self.completes.get(body[name : body.find(b"\n", name)])
        if way is None:
            return body
        data = body.find(b"data: ", name) + 6
        return body[:data] + way(body[data:-2]) + b"\n\n"

    def show_now(self, user: str, name: str, data: bytes) -> None:
        """Show something that is kept nowhere, to the phones whose streams are open in this process."""
        for connection in self._users.get(user, ()):
            self.push(connection, b"event: %b\ndata: %b\n\n" % (name.encode(), data))

    def push(self, connection: Connection, body: bytes) -> None:
        """Send soon, together with whatever else comes in this turn of the loop."""
        if not connection.pending:
            self._dirty.append(connection)
        connection.pending.append(body)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        dirty, self._dirty, self._scheduled = self._dirty, [], False
        delivered = 0
        for connection in dirty:
            pending = connection.pending
            delivered += len(pending)
            body = pending[0] if len(pending) == 1 else b"".join(pending)
            pending.clear()
            if not send_now(connection.send, body):
                CUT.inc()
                connection.cut()
        DELIVERED.inc(delivered)  # a metric's lock costs a tenth of a delivery

    def recent_after(self, user: str, after: int) -> list[bytes] | None:
        """The user's events behind `after` that are in memory; None when memory does not reach back so far."""
        partition = partition_of(user.encode(), FEED.partitions)
        recent = self.recent[partition]
        first = recent[0][0] if recent else self.positions[partition]
        if after + 1 < first:
            return None
        return [body for offset, of, body in recent if offset > after and of == user]

    def cursor(self, user: str) -> str:
        """Where the user's feed stands in this process: every event up to here has been published."""
        partition = partition_of(user.encode(), FEED.partitions)
        return f"{partition}-{self.positions[partition] - 1}"

    async def ping(self) -> None:
        """Keep idle connections alive: one timer for all. Runs until cancelled."""
        while True:
            await asyncio.sleep(PING_S)
            for connection in list(self._all()):
                self.push(connection, b": ping\n\n")

    def phones(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        """Who has streams open here, and how the phones are called that they stand for."""
        return [(user, [one.devices for one in connections]) for user, connections in self._users.items()]

    def _all(self) -> Iterator[Connection]:
        for connections in self._users.values():
            yield from connections

    def close(self) -> None:
        """The process ends: let every client go and resume elsewhere."""
        for connection in list(self._all()):
            connection.cut()


def send_now(send: Send, body: bytes, *, last: bool = False) -> bool:
    """Drive an ASGI send to its end without waiting; False when the server wants the writer to wait, or the client is gone."""
    sending: Any = send({"type": "http.response.body", "body": body, "more_body": not last})
    try:
        # With a default a coroutine's end is a value, not an exception: `next` takes no coroutine, its iterator does.
        if next(sending.__await__(), ENDED) is ENDED:
            return True
    except Exception:  # the server's own error for a connection that is gone
        return False
    sending.close()
    return False
