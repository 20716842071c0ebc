"""The attacker of `olo prove door`: a process of its own, at an address of its own, that asks as nobody should.

`python -m tests.lab.proofs.attacker NAME URL ADDRESS SECONDS` says "begun", and behind the seconds what came back, as JSON.
Then it is silent, and holds whatever is still open until its standard input ends.
"""

import asyncio
import gzip
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from infra import tokens
from infra.machine import allow_open_files

MIB: Final = 1 << 20
PIECE: Final = b"[]," * 21_845
# Nothing came but the connection's end: who is refused while still sending may see no more of it.
CUT: Final = "cut"
WEBHOOKS: Final = ("twilio", "agora", "appsflyer")
# Who has tokens: people who have signed up, which is cheap.
CROOKS: Final = tuple(f"crook{number}" for number in range(20))
TOKENS: Final = {crook: tokens.token("demo-olo", crook, "user") for crook in CROOKS}
# So many addresses of the loopback, which has more of them than an attacker.
CROWD: Final = 200


class Attacker:
    """Connections from one address, and what came back: status -> how often."""

    def __init__(self, url: str, address: str) -> None:
        found = urlsplit(url)
        self.host, self.port, self.address = found.hostname or "", found.port or 0, address
        self.came: Counter[str] = Counter()
        self.over = False

    async def send(self, head: bytes, body: Iterable[bytes] = (), *, pause_s: float = 0.0, address: str = "") -> None:
        """One connection: the bytes until there is an answer, then all that comes until the other side hangs up."""
        status = CUT
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=(address or self.address, 0))
        except OSError:
            self.came["not connected"] += 1
            return
        answer = asyncio.create_task(reader.read(MIB))
        try:
            for part in itertools.chain((head,), body):
                if answer.done() or self.over:
                    break
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            status = (await answer)[9:12].decode() or CUT
            self.came[status] += 1
            while await reader.read(MIB):
                pass
        except OSError:
            self.came[CUT] += status == CUT
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            writer.close()


One = Callable[[Attacker, int], Awaitable[None]]


class Attack(NamedTuple):
    """What is done by so many at once, again and again; `may`: the statuses that may come back (and the connection's end
    without one). `rated`: each question is for the address's rate. `holds`: the platform has to let go of what is open."""

    what: str
    one: One
    workers: int
    may: frozenset[str]
    rated: bool = False
    holds: bool = True


def _head(method: str, path: str, *fields: str, length: int | None = None) -> bytes:
    """A request's head; without a length the body comes in chunks."""
    lines = [f"{method} {path} HTTP/1.1", "Host: olo", *fields]
    if method == "POST":
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def _token_of(number: int) -> str:
    return f"Authorization: Bearer {TOKENS[CROOKS[number % len(CROOKS)]]}"


def _chunked(pieces: Iterable[bytes]) -> Iterable[bytes]:
    return (b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


JSON: Final = "Content-Type: application/json"
FORM: Final = "Content-Type: application/x-www-form-urlencoded"
SHAPES: Final = [
    b"[" * 65_000, b"[],".ljust(3) * 21_000, b'{"a":' * 13_000, b"[" * 32_000 + b"]" * 32_000, b"[]" * 32_000, b'"\\' * 32_000,
    b'{"country":"\\ud800' + b"\\u0041" * 10_000 + b'"}', b"1e9" * 21_000, b"[" + b"{}" * 30_000 + b"]", b'""' * 32_000,
]  # fmt: skip
BOMB: Final = gzip.compress(b"[" + b"[]," * (10 * MIB) + b"1]")


async def _bodies(me: Attacker, number: int) -> None:
    fields = (JSON, _token_of(number)) if number % 3 == 2 else (JSON,)
    if number % 2:
        await me.send(_head("POST", "/v1/users", *fields, length=102 * MIB), itertools.repeat(PIECE, 1_632))
    else:
        await me.send(_head("POST", "/v1/users", *fields), _chunked(itertools.repeat(PIECE, 1_632)))


async def _shapes(me: Attacker, number: int) -> None:
    body = SHAPES[number % len(SHAPES)]
    await me.send(_head("POST", "/v1/users", "Connection: close", JSON, _token_of(number), length=len(body)), [body])


async def _endless(me: Attacker, number: int) -> None:
    path = f"/v1/webhooks/{WEBHOOKS[number % 3]}" if number % 2 else "/v1/gifts"
    piece = PIECE if number % 4 < 2 else b"x"
    await me.send(_head("POST", path, JSON, _token_of(number)), _chunked(itertools.repeat(piece)))


async def _bombs(me: Attacker, number: int) -> None:
    path = "/v1/users" if number % 2 else f"/v1/webhooks/{WEBHOOKS[number % 3]}"
    packed = ("Connection: close", JSON, "Content-Encoding: gzip", _token_of(number))
    await me.send(_head("POST", path, *packed, length=len(BOMB)), [BOMB])


async def _forms(me: Attacker, number: int) -> None:
    fields = b"a=1&" * (MIB if number % 2 else 16_000)
    await me.send(_head("POST", "/v1/webhooks/twilio", "Connection: close", FORM, length=len(fields)), [fields])


async def _heads(me: Attacker, number: int) -> None:
    long = itertools.repeat(b"a" * 65_536, 320)
    if number % 3 == 0:
        await me.send(b"GET /healthz HTTP/1.1\r\nX-Long: ", long)
    elif number % 3 == 1:
        await me.send(b"GET /", long)
    else:
        await me.send(b"GET /healthz HTTP/1.1\r\n", itertools.repeat(b"a:b\r\n" * 6_000, 320))


async def _unfinished(me: Attacker, number: int) -> None:
    if number % 2:
        await me.send(b"GET /healthz HTTP/1.1\r\nHost: olo\r\n")
    else:
        await me.send(_head("POST", "/v1/webhooks/agora", JSON, length=100) + b"{")


async def _crowd(me: Attacker, number: int) -> None:
    await me.send(b"GET /", address=f"127.0.200.{1 + number % CROWD}")


async def _feeds(me: Attacker, _: int) -> None:
    await me.send(_head("GET", "/v1/feed", _token_of(0)))


async def _slowly(me: Attacker, number: int) -> None:
    whole = _head("POST", "/v1/webhooks/agora", JSON, length=1_000)
    if number % 2:
        await me.send(b"", (whole[n : n + 1] for n in range(len(whole))), pause_s=1.0)
    else:
        await me.send(whole, itertools.repeat(b"x", 1_000), pause_s=1.0)


CHEAP: Final = ("/healthz", "/v1/gallery", "/v1/none", "/docs", "/v1/balance", "/openapi.json", "/metrics")


async def _flood(me: Attacker, number: int) -> None:
    await me.send(_head("GET", CHEAP[number % len(CHEAP)], "Connection: close", _token_of(number)))


async def _pipelined(me: Attacker, number: int) -> None:
    await me.send(_head("GET", CHEAP[number % len(CHEAP)], _token_of(number)) * 60)


async def _forged(me: Attacker, number: int) -> None:
    address = f"X-Forwarded-For: 10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    await me.send(_head("GET", "/healthz", "Connection: close", address))


async def _strangers(me: Attacker, number: int) -> None:
    bad = f"Authorization: Bearer {'e30.' * 2_000 if number % 2 else TOKENS[CROOKS[0]][:-40]}"
    await me.send(_head("GET", "/v1/balance", "Connection: close", bad))


NONSENSE: Final = [b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03" + b"\0" * 500, b"\r\n\r\n\r\n \0", b"GET\x00 / HTTP/9.9\r\n\r\n"]
UPGRADE: Final = _head("GET", "/healthz", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")


async def _nonsense(me: Attacker, number: int) -> None:
    await me.send([*NONSENSE, UPGRADE, _head("POST", "/healthz", "Content-Length: 1", length=2) + b"xx"][number % 5])


def _may(*statuses: str) -> frozenset[str]:
    return frozenset({*statuses, "429", "408", CUT})


# Whoever is too slow is told 408, whoever asks too often 429, in all of them.
ATTACKS: Final = {
    "bodies": Attack("102 MiB of [], without a token and with one", _bodies, 8, _may("401", "413")),
    "shapes": Attack("JSON that is deep, wide or broken, of twenty users", _shapes, 20, _may("400")),
    "endless": Attack("chunks without an end, large and small", _endless, 40, _may("401", "413")),
    "bombs": Attack("30 KB that unpack to 30 MB", _bombs, 20, _may("400", "401")),
    "forms": Attack("a million fields without a signature", _forms, 20, _may("400", "401", "413")),
    "heads": Attack("heads of 20 MB", _heads, 10, _may("400", "431")),
    "unfinished": Attack("1,500 requests that do not go on", _unfinished, 1_500, _may()),
    "crowd": Attack("3,000 heads that do not go on, of 200 addresses", _crowd, 3_000, _may()),
    "slow": Attack("500 requests, a byte a second", _slowly, 500, _may()),
    "feeds": Attack("1,000 feeds of one user", _feeds, 1_000, _may("200"), holds=False),
    "flood": Attack("cheap requests, as many as there can be", _flood, 64, _may("200", "401", "404"), rated=True),
    "pipelined": Attack("60 requests in one go, again and again", _pipelined, 8, _may("200", "401", "404"), rated=True),
    "forged": Attack("the same, each said to be for another address", _forged, 64, _may("200"), rated=True),
    "strangers": Attack("tokens that are none", _strangers, 64, _may("401", "431"), rated=True),
    "nonsense": Attack("what is no HTTP", _nonsense, 32, _may("200", "400", "405")),
}


async def attack(one: Attack, url: str, address: str, seconds: float) -> None:
    """Attack for so long, say what came back, and hold what is open until standard input ends."""
    me, numbers = Attacker(url, address), itertools.count()

    async def work() -> None:
        while not me.over:
            await one.one(me, next(numbers))

    working = [asyncio.create_task(work()) for _ in range(one.workers)]
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    me.over = True
    print(json.dumps(me.came), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    del working
    os._exit(0)  # the sockets end with the process


if __name__ == "__main__":
    allow_open_files()
    asyncio.run(attack(ATTACKS[sys.argv[1]], sys.argv[2], sys.argv[3], float(sys.argv[4])))
