"""SSE fan-out: the feed's hub against sse-starlette, 2,000 connections, the same client, the same events.

`all`: one event to every connection, again and again; `turn`: one event to one user after the other. Deliveries are counted by
the client; the server's own processor time a delivery is the firmer figure, since client and server share the machine.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, cast

import httpx
import psutil

from infra.ports import free_port

CONNECTIONS = 2_000
VALUE: Final = (
    b'{"type":"EntryRecorded","id":"01a2093f-d9c7-72e7-b010-298e5a6f94b3/credit/0","at":"2026-11-23T16:31:49.191807Z",'
    b'"account":"ann/coins","seq":2,"kind":"credit","balance_coins":500,"coins":500,"counterparty":"@p","reason":"grant"}'
)
AIM = 3.0


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print deliveries a second and processor time a delivery of both, and their ratios."""
    connections = max(50, int(CONNECTIONS * scale))
    events = 40 * connections
    tell(f"SSE: {connections:,} connections, one server process (uvicorn), {events:,} deliveries a measurement, medians of 3")
    found = {name: asyncio.run(_measure(name, connections, events)) for name in ("hub", "sse-starlette")}
    for name, rows in found.items():
        for way, (each_s, cpu_us) in rows.items():
            tell(f"  {name:<14} {'to all' if way == 'all' else 'in turn':<8} {each_s:>9,.0f}/s   {cpu_us:6.1f} us of CPU each")
    for way in ("all", "turn"):
        ratio = found["hub"][way][0] / found["sse-starlette"][way][0]
        cpu = found["sse-starlette"][way][1] / found["hub"][way][1]
        label = "to all" if way == "all" else "in turn"
        reached = "reached" if ratio >= AIM else "NOT reached"
        tell(f"  hub / sse-starlette {label:<8} {ratio:5.2f}, per processor time {cpu:5.2f} (aim {AIM}: {reached})")


class _Client(asyncio.Protocol):
    """One connection that counts events."""

    def __init__(self, request: bytes, counter: list[int]) -> None:
        self._request = request
        self._counter = counter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._counter[0] += data.count(b"event: ")


async def _measure(name: str, connections: int, events: int) -> dict[str, tuple[float, float]]:
    port = free_port(set())
    command = [sys.executable, "-m", "tests.lab.bench.sse", name, str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    counter = [0]
    loop = asyncio.get_running_loop()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as client:
            await _up(client)
            for number in range(connections):
                request = f"GET /feed?user=u{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                await loop.create_connection(partial(_Client, request, counter), "127.0.0.1", port)
            while counter[0] < connections:  # each stream begins with an event
                await asyncio.sleep(0.05)
            process = psutil.Process(server.pid)
            return {way: await _way(client, process, counter, way, events) for way in ("all", "turn")}
    finally:
        server.kill()
        server.wait()


async def _up(client: httpx.AsyncClient) -> None:
    for _ in range(200):
        try:
            await client.get("/publish", params={"way": "all", "events": 0})
            return
        except httpx.HTTPError:
            await asyncio.sleep(0.1)


async def _way(
    client: httpx.AsyncClient, process: psutil.Process, counter: list[int], way: str, events: int
) -> tuple[float, float]:
    rows = []
    for _ in range(3):
        goal, used, began = counter[0] + events, sum(process.cpu_times()[:2]), time.perf_counter()
        await client.get("/publish", params={"way": way, "events": events})
        while counter[0] < goal:
            await asyncio.sleep(0.001)
        took = time.perf_counter() - began
        rows.append((events / took, (sum(process.cpu_times()[:2]) - used) / events * 1e6))
    return sorted(rows)[1]


# --- the two servers --------------------------------------------------------------------------------------------------------


async def _publish(hub_publish: Callable[[str, int], Any], users: list[str], way: str, events: int) -> None:
    """`all`: rounds over all users, a turn of the loop each; `turn`: likewise, a turn of the loop every few users."""
    for number in range(events):
        hub_publish(users[number % len(users)], number)
        if number % (len(users) if way == "all" else 10) == 0:
            await asyncio.sleep(0)


def _hub_app() -> Any:
    from serving.runtime.feed import Connection, Hub, send_now

    hub = Hub()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        query = dict(part.split("=") for part in scope["query_string"].decode().split("&") if part)
        if scope["path"] == "/publish":
            await _publish(lambda user, n: hub.publish(0, n, user, VALUE), list(hub._users), query["way"], int(query["events"]))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        connection = Connection(send, lambda: None, -1)
        send_now(send, b"event: ready\n\n")
        hub.add(query["user"], connection)
        while (await receive())["type"] != "http.disconnect":
            pass
        hub.remove(query["user"], connection)

    return app


def _sse_starlette_app() -> Any:
    from sse_starlette import EventSourceResponse, ServerSentEvent
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    queues: dict[str, asyncio.Queue[int]] = {}
    text = VALUE.decode()

    async def feed(request: Request) -> EventSourceResponse:
        queue = queues.setdefault(request.query_params["user"], asyncio.Queue())

        async def events() -> AsyncIterator[ServerSentEvent]:
            yield ServerSentEvent("", event="ready")
            while True:
                number = await queue.get()
                yield ServerSentEvent(text, event="EntryRecorded", id=f"0-{number}")

        return EventSourceResponse(events())

    async def publish(request: Request) -> Response:
        way, events = request.query_params["way"], int(request.query_params["events"])
        await _publish(lambda user, n: queues[user].put_nowait(n), list(queues), way, events)
        return Response()

    return Starlette(routes=[Route("/feed", feed), Route("/publish", publish)])


if __name__ == "__main__":
    import gc

    import uvicorn

    gc.set_threshold(100_000, 50, 100)  # as serving has it; for both servers
    made = _hub_app() if sys.argv[1] == "hub" else _sse_starlette_app()
    uvicorn.run(made, port=int(sys.argv[2]), log_level="error", backlog=4096)
