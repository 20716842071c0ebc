"""A connection's bounds, on a real socket of the loopback and in front of an application that says hello."""

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from infra.config import Config
from serving.__main__ import options
from serving.runtime import connection
from serving.runtime.connection import Places
from serving.runtime.listener import ListeningServer
from serving.runtime.problems import Problem
from serving.runtime.rates import Rates


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})


async def whose(scope: Any, receive: Any, send: Any) -> None:
    client = scope["client"][0].encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": client})


def configured(**settings: Any) -> Config:
    """Settings under which this machine's addresses count, too."""
    return Config(**{"unlimited_networks": "", **settings})


@contextmanager
def served(app: Any = hello, rates: Rates | None = None, **settings: Any) -> Iterator[int]:
    """The port of a server with these settings."""
    config = configured(**settings)
    listening = socket.create_server(("127.0.0.1", 0))
    server = ListeningServer(uvicorn.Config(app, **options(config, rates or Rates(config)), lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def said(port: int, *parts: bytes, wait_s: float = 0.0) -> bytes:
    """What comes back for these bytes, until the other side hangs up."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(wait_s)
            while chunk := connection.recv(65_536):
                found += chunk
        except (ConnectionError, BrokenPipeError):
            pass
    return found


GET = b"GET / HTTP/1.1\r\nHost: olo\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("files", "most"), [(256, 128), (1_024, 512), (20_000, 17_952), (1 << 20, 20_000), (resource.RLIM_INFINITY, 20_000)]
)
def test_connections_leave_files_for_ourselves(files: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert Places(configured(), Rates(configured())).most == most


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"), ("", ""),
        ("2001:db8::ffff:0:0:1", "2001:db8::/64"), ("10.1.2.3", ""), ("::ffff:10.1.2.3", ""), ("@socket", ""),
    ],
)  # fmt: skip
def test_who_counts_as_one_address(address: str, counted: str) -> None:
    assert Rates(configured(unlimited_networks="10.0.0.0/8")).counted_as(address) == counted


FORWARDED = GET + b"X-Forwarded-For: 198.51.100.7, 203.0.113.9\r\n\r\n"


@pytest.mark.parametrize(
    ("trusted", "client"),
    [
        ("", b"127.0.0.1"), ("10.0.0.0/8", b"127.0.0.1"), ("127.0.0.1", b"203.0.113.9"),
        ("127.0.0.1,203.0.113.0/24", b"198.51.100.7"),
    ],
)  # fmt: skip
def test_who_asks_is_who_connects_unless_a_proxy_is_trusted(
    trusted: str, client: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own word counts for nothing
    with served(whose, trusted_proxies=trusted) as port:
        assert b"\r\n%b\r\n" % client in said(port, FORWARDED)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((GET + b"\r\n",), b"200"),
        ((GET, b"X: ", b"1\r\n", b"\r\n"), b"200"),
        ((GET + b"X: ", *[b"a" * 18_000] * 2), b"431"),
        ((b"GET /", *[b"a" * 18_000] * 2), b"431"),
        ((b"\x16\x03\x01nonsense\r\n\r\n",), b"400"),
        ((GET,), b"408"),
        ((), b"408"),
    ],
)
def test_a_head_has_a_size_and_a_time(parts: tuple[bytes, ...], status: bytes) -> None:
    with served(head_s=0.5) as port:
        found = said(port, *parts, wait_s=0.02)
    assert found[9:12] == status, found[:200]


def test_of_one_address_so_many_connections_and_they_are_let_go() -> None:
    with served(head_s=0.5, address_connections=5) as port:
        idle = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(5)]
        time.sleep(0.1)
        assert b"too_many_connections" in said(port)
        for connection in idle:
            while connection.recv(1_000):
                pass
            connection.close()
        assert said(port, GET + b"\r\n")[9:12] == b"200"


def test_a_side_that_is_gone_without_a_word_is_noticed_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A phone without a battery says nothing; its stream must not beat for its call until the kernel gives up by itself."""
    found: list[tuple[int, ...]] = []
    real = connection.notice_death

    def noted(of: Any) -> None:
        real(of)
        asked = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
        found.append(tuple(of.getsockopt(socket.IPPROTO_TCP, name) for name in asked))
        found.append((of.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),))

    monkeypatch.setattr(connection, "notice_death", noted)
    with served() as port:
        assert b"hi" in said(port, b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert found == [(10, 5, 15_000), (1,)]


def test_an_address_that_asks_too_often_gets_no_connection_for_a_second() -> None:
    rates = Rates(configured(rate_address="1/minute"))

    async def ask(address: str) -> None:
        await rates.address(address)

    asyncio.run(ask("192.0.2.1"))
    assert not rates.is_shut("192.0.2.1")
    with pytest.raises(Problem):
        asyncio.run(ask("192.0.2.1"))
    assert rates.is_shut("192.0.2.1")
    assert not rates.is_shut("192.0.2.2")
    rates._shut["127.0.0.1"] = time.monotonic() + 60
    with served(rates=rates) as port:
        found = said(port)
    assert b" 429 " in found
    assert b"retry-after: 1\r\n" in found
    assert b"too_many_requests" in found


def test_who_asks_once_is_answered_before_all_of_whom_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that has stood still finds 60 connections of one address, and then one of another."""
    order: list[str] = []

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        order.append(scope["client"][0])
        await hello(scope, receive, send)

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        config = configured()
        server = ListeningServer(uvicorn.Config(noted, **options(config, Rates(config)), lifespan="off"))
        many = [socket.create_connection(listening.getsockname(), source_address=("127.0.0.2", 0)) for _ in range(60)]
        one = socket.create_connection(listening.getsockname(), source_address=("127.0.0.3", 0))
        for phone in (*many, one):
            phone.sendall(GET + b"\r\n")
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while len(order) < 61:
            await asyncio.sleep(0.01)
        server.should_exit = True
        await serving
        assert all(phone.recv(12) == b"HTTP/1.1 200" for phone in (*many, one))
        for phone in (*many, one):
            phone.close()

    asyncio.run(run())
    assert order.index("127.0.0.3") < 20, "the last to come waits for a turn or two"


def test_places_are_taken_and_given_back() -> None:
    rates = Rates(configured())
    places = Places(configured(address_connections=2), rates)
    assert [places.take("192.0.2.1") for _ in range(2)] == [None, None]
    many = places.take("192.0.2.1")
    assert many is not None
    assert (many.code, many.answer[:12]) == ("too_many_connections", b"HTTP/1.1 429")
    assert places.take("192.0.2.2") is None
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        places.leave(address)
    assert places.take("192.0.2.1") is None


def test_an_answer_comes_though_the_request_was_not_read() -> None:
    """Who is turned away has sent a request already: unread bytes would make the kernel take the answer back."""
    with served(address_connections=1) as port, socket.create_connection(("127.0.0.1", port), timeout=20):
        time.sleep(0.1)
        for _ in range(5):
            assert b"too_many_connections" in said(port, GET + b"\r\n" + b"x" * 2_000)
