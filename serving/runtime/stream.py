"""`GET /v1/feed`: one client's stream, as a plain ASGI endpoint in front of the hub.

The first line says after how long a client comes again (`retry:`). A `ready` event, with the cursor, says that the client is up
to date; live events follow. With `Last-Event-ID` (or `?cursor=`) it resumes behind that cursor, without a gap and without a
repeat, from any serving process; if the log does not reach back so far, a `gap` event says so. A stream lasts until its token
expires, at most an hour; clients reconnect by themselves.
"""

import asyncio
import re
import time
from typing import Any, Final

from confluent_kafka import TopicPartition
from starlette.datastructures import Headers, QueryParams

from infra.config import Config
from infra.kafka import read_to_end, reader
from schemas.log.entity import partition_of
from schemas.log.topics import FEED
from serving.runtime.auth import Authenticator, Caller, caller_of
from serving.runtime.devices import DEVICE, devices_of_feed
from serving.runtime.feed import Connection, Hub, encode_event, send_now
from serving.runtime.problems import Problem, unavailable

# Long enough to be cheap, short enough that a revoked token or an old process is let go of.
LIFETIME_S: Final = 3600.0
CURSOR: Final = re.compile(r"([0-9]{1,6})-(-1|[0-9]{1,18})")
# What every stream begins with, so that a client knows it however the stream ends.
RETRY: Final = b"retry: 1000\n\n"
HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Resume:
    """Where a client wants to go on: `after` an offset of its partition; `gap`: what lay before is gone; `devices`: how its
    phone is called."""

    def __init__(self, partition: int, after: int) -> None:
        self.partition = partition
        self.after = after
        self.gap = False
        self.devices: tuple[str, ...] = ("feed",)


class FeedEndpoint:
    """The ASGI endpoint."""

    def __init__(self, hub: Hub, authenticator: Authenticator, config: Config) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._config = config

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = Headers(scope=scope)
        try:
            if scope["method"] != "GET":
                raise Problem(405, "method_not_allowed", "the feed is read with GET", headers={"Allow": "GET"})
            caller = await caller_of(scope, self._authenticator)
            cursor = headers.get("last-event-id") or QueryParams(scope["query_string"]).get("cursor")
            resume = await self._resume(caller.user, cursor)
            resume.devices = _devices(caller, headers, QueryParams(scope["query_string"]))
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        lifetime = min(LIFETIME_S, caller.expires_at + 5 - time.time())
        await self._stream(caller.user, resume, lifetime, receive, send)

    async def _resume(self, user: str, cursor: str | None) -> Resume:
        partition = partition_of(user.encode(), FEED.partitions)
        if not cursor:
            return Resume(partition, self._hub.positions[partition] - 1)
        found = CURSOR.fullmatch(cursor)
        if not found:
            raise Problem(400, "cursor_invalid", "a cursor is what an event's id or an answer's cursor says, such as 3-1287")
        resume = Resume(partition, int(found[2]))
        if int(found[1]) != partition:  # the topic was given other partitions: what was missed cannot be told
            resume.after, resume.gap = self._hub.positions[partition] - 1, True
            return resume
        if resume.after >= self._hub.positions[partition]:
            _, end = await self._bounds(partition)
            if resume.after >= end:
                raise Problem(400, "cursor_ahead", f"the feed ends at {partition}-{end - 1}; begin again without a cursor")
        return resume

    async def _bounds(self, partition: int) -> tuple[int, int]:
        def ask() -> tuple[int, int]:
            consumer = reader(self._config)
            try:
                return consumer.get_watermark_offsets(TopicPartition(FEED.name, partition), 3)
            finally:
                consumer.close()

        try:
            return await asyncio.to_thread(ask)
        except Exception as error:
            raise unavailable("log_unreachable", "the log cannot be reached; try again soon") from error

    async def _stream(self, user: str, resume: Resume, lifetime: float, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        try:
            missed = await self._missed(user, resume)
        except Problem:  # the head is out: end the stream, the client comes again
            await send({"type": "http.response.body", "body": RETRY, "more_body": False})
            return
        hub = self._hub
        try:
            async with asyncio.timeout(max(0.0, lifetime)) as timeout:
                # Between here and `add` nothing is awaited: nothing can be published in between.
                after = max(resume.after, hub.positions[resume.partition] - 1)
                connection = Connection(send, lambda: timeout.reschedule(0), after, resume.devices)
                gap = [b'event: gap\ndata: {"code":"past_gone"}\n\n'] if resume.gap else []
                cursor = b"%d-%d" % (resume.partition, after)
                ready = b'id: %b\nevent: ready\ndata: {"cursor":"%b"}\n\n' % (cursor, cursor)
                if not send_now(send, b"".join([RETRY, *gap, *missed, ready])):
                    return
                hub.make_room(user, self._config.streams)
                hub.add(user, connection)
                try:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                finally:
                    hub.remove(user, connection)
        except TimeoutError:
            send_now(send, b"", last=True)

    async def _missed(self, user: str, resume: Resume) -> list[bytes]:
        """What the client has not seen yet, as far as the hub has got."""
        old: list[bytes] = []
        after = resume.after
        while (recent := self._hub.recent_after(user, after)) is None:
            low, _ = await self._bounds(resume.partition)
            resume.gap |= after + 1 < low
            start, end = max(after + 1, low), self._hub.positions[resume.partition]
            old += await asyncio.to_thread(self._read, user, resume.partition, start, end)
            after = end - 1
        return [self._hub.complete(body) for body in old + recent]

    def _read(self, user: str, partition: int, start: int, end: int) -> list[bytes]:
        ends = {(FEED.name, partition): end}
        return [
            encode_event(partition, record.offset(), record.value() or b"")
            for record in read_to_end(self._config, [TopicPartition(FEED.name, partition, start)], ends)
            if record.key() == user.encode() and record.offset() < end
        ]


def _devices(caller: Caller, headers: Headers, query: QueryParams) -> tuple[str, ...]:
    try:
        return devices_of_feed(caller, headers, query)
    except ValueError:
        raise Problem(400, "device_invalid", f"{DEVICE} (or ?device=) has up to 64 printable characters") from None
