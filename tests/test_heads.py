"""Connections whose first request has not come: nothing is made for them until it has, and each is answered or given back."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from serving.__main__ import options
from serving.runtime.connection import Bounded
from serving.runtime.heads import LOOKED_AT_BYTES, is_protocols
from serving.runtime.listener import ListeningServer
from serving.runtime.rates import Rates
from tests.test_connection import GET, configured, hello

HEAD = GET + b"\r\n"


@pytest.mark.parametrize(
    ("head", "is_"),
    [
        (b"", False), (b"G", False), (b"GET / HTTP/1.1\r\n", False), (b"GET / HTTP/1.1\r\nHost: olo\r\n\r", False),
        (HEAD, True), (HEAD.replace(b"\r", b""), True), (HEAD + b"more", True), (b"\r\n", False), (b"\r\n\r\n", True),
        (b"\x16\x03\x01\x02", True), (b"get / HTTP/1.1\r\n", True), (b"\0", True), (b" GET", True), (b"\xff", True),
        (b"A" * (LOOKED_AT_BYTES - 1), False), (b"A" * LOOKED_AT_BYTES, True),
    ],
)  # fmt: skip
def test_what_the_parser_has_something_to_say_of(head: bytes, is_: bool) -> None:
    assert is_protocols(head) == is_


@given(st.integers(1, len(HEAD) - 1))
def test_no_beginning_of_a_head_is_the_parsers(cut: int) -> None:
    assert not is_protocols(HEAD[:cut])


def run(play: Callable[[ListeningServer, tuple[str, int], Bounded], Awaitable[None]], **settings: float) -> None:
    """Play against a server in this loop."""
    config = configured(**settings)

    async def serve() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        server = ListeningServer(uvicorn.Config(hello, **options(config, Rates(config)), lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        await play(server, listening.getsockname(), server.config.http_protocol_class)  # type: ignore[arg-type]
        server.should_exit = True
        await serving

    asyncio.run(serve())


def test_nothing_is_made_for_who_asks_nothing() -> None:
    """Silent, half a head, a head by single bytes: only the last has a transport, once it is whole; all places come back."""

    async def play(server: ListeningServer, address: tuple[str, int], kind: Bounded) -> None:
        silent = [await asyncio.open_connection(*address) for _ in range(20)]
        half = [await asyncio.open_connection(*address) for _ in range(20)]
        for _, writer in half:
            writer.write(HEAD[:20])
        reader, writer = await asyncio.open_connection(*address)
        for number in range(len(HEAD)):
            assert len(server.server_state.connections) == 0
            writer.write(HEAD[number : number + 1])
            await asyncio.sleep(0.001)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        for _, writer in (*silent, *half[:10]):
            writer.close()
        for reader, writer in half[10:]:
            writer.write(HEAD[20:])
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
        while kind.places._all:
            await asyncio.sleep(0.01)

    run(play)


def test_who_is_late_is_told_once_and_the_time_is_not_begun_anew() -> None:
    """Also of a head so long that the protocol has it already."""

    async def play(server: ListeningServer, address: tuple[str, int], kind: Bounded) -> None:
        began = asyncio.get_running_loop().time()
        for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nX: " + b"a" * LOOKED_AT_BYTES):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(begun)
            found = await reader.read()
            assert found.startswith(b"HTTP/1.1 408")
            assert found.count(b"request_too_slow") == 1
            assert found.endswith(b"}")
            writer.close()
        assert asyncio.get_running_loop().time() - began >= 3 * 0.2
        assert kind.places._all == 0

    run(play, head_s=0.2)


def test_the_end_of_the_server_is_the_end_of_all_who_wait() -> None:
    async def play(server: ListeningServer, address: tuple[str, int], kind: Bounded) -> None:
        waiting = [await asyncio.open_connection(*address) for _ in range(5)]
        await asyncio.sleep(0.05)
        server.servers[0].close()
        for reader, writer in waiting:
            assert await reader.read() == b""
            writer.close()
        assert kind.places._all == 0

    run(play)


def test_half_a_head_of_who_says_no_more_ends_without_a_reset() -> None:
    async def play(server: ListeningServer, address: tuple[str, int], kind: Bounded) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(HEAD[:20])
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert kind.places._all == 0

    run(play)


@pytest.mark.parametrize("size", [LOOKED_AT_BYTES - 1, LOOKED_AT_BYTES, LOOKED_AT_BYTES + 1])
def test_a_head_around_what_is_looked_at_is_answered(size: int) -> None:
    async def play(server: ListeningServer, address: tuple[str, int], kind: Bounded) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET + b"X: " + b"a" * (size - len(GET) - 7) + b"\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()

    run(play)
