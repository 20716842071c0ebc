"""Chats: messages a second that one process decides, what a message takes to its answer and to the other's phone, and a page.

Decided in memory, by the host's core without a broker, in processor time; the peer of the same run is a transfer between two
accounts, decided the same way. On a whole platform at a steady rate: in the flow, from the command to its committed item,
behind four transactions (message, both lines, message, chat), beside a credit, which takes one; and over HTTP, by few phones,
each with lines of its own, beside a grant, which takes three. A page of 50 items inside the process, anywhere in a long chat;
the peer looks at every page of the chat, which is what there would be without numbers.
"""

import asyncio
import contextlib
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import httpx

from infra import tokens
from pipelines.flows.deciders import deciders
from pipelines.runtime.core import Output
from pipelines.runtime.simulator import EPOCH, Log, Simulation
from schemas.balance import Reason
from schemas.chat import CHAT, CHAT_MESSAGE, CHAT_PAGE, KEPT, PAGE_ITEMS, Chat, ChatItem, ChatPage, page_key
from schemas.chat_message import ChatMessage, SendMessage
from schemas.log.base import AccountId, Message, TransferId, UserId, now
from schemas.log.entity import DEFAULT_PARTITIONS, Flow
from schemas.pair import pair_of
from schemas.transfer import PlaceTransfer
from schemas.user import Role, SignUp
from serving.chat import list_items
from serving.runtime.feed import Hub
from serving.runtime.views import Views
from tests.lab.bench.ground import percentiles
from tests.lab.bench.latency import Asked, credits_ms, outcomes_ms, verdict
from tests.lab.percentiles import percentile
from tests.lab.simulated_money import output_of
from tests.lab.stage import Stage

PEOPLE: Final = 40
# Over HTTP few phones talk: a feed takes a share of the cores that the platform has to do with.
PHONES: Final = 8
# A broker that has just been started is still being compiled.
WARM_S, WARM_EACH_S = 30.0, 150
DECIDED: Final = 20_000
RATES: Final = ((100, 20.0), (1_000, 3.0))
ITEMS: Final = 500_000
PAGES: Final = 2_000
NAIVE_PAGES: Final = 5
PAGE: Final = 50
AIM_MS: Final = 5.0
AIMS_MS: Final = {"answer": 15.0, "seen": 60.0}
TEXT: Final = "hello, how are you today?"


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print all figures."""
    _decided(tell, max(500, int(DECIDED * scale)))
    _pages(tell, max(2_000, int(ITEMS * scale)), max(100, int(PAGES * scale)))
    with tempfile.TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder))
        try:
            tell("chat on a platform: broker, warehouse, all flows, HTTP and the phones share the machine's cores")
            with httpx.Client(base_url=stage.http, trust_env=False) as client:
                for number in range(PEOPLE):
                    client.post("/v1/users", headers=_who(f"u{number}")).raise_for_status()
            _sent(stage, WARM_EACH_S, max(2.0, WARM_S * scale))
            for each_s, seconds in RATES:
                _in_the_flow(tell, stage, each_s, max(1.0, seconds * scale))
            for each_s, seconds in RATES:
                asyncio.run(_http(tell, stage, each_s, max(1.0, seconds * scale)))
        finally:
            stage.stop()


# --- decisions --------------------------------------------------------------------------------------------------------------


def _decided(tell: Callable[[str], None], count: int) -> None:
    people = [UserId(f"u{number}") for number in range(PEOPLE)]
    messages = _rate(count, lambda n: SendMessage(
        id=f"s{n}", at=EPOCH, message=f"m{n}", sender=people[n % PEOPLE], receiver=people[(n + 1 + n // PEOPLE % 7) % PEOPLE],
        text=TEXT,
    ))  # fmt: skip
    transfers = _rate(count, lambda n: PlaceTransfer(
        id=f"t{n}", at=EPOCH, transfer=TransferId(str(uuid.UUID(int=n))), payer=AccountId("@promotions"),
        payee=AccountId(f"{people[n % PEOPLE]}/coins"), coins=1, reason=Reason.GRANT,
    ))  # fmt: skip
    tell(f"chat, decided by one process in memory, {count:,} of each")
    tell(f"  messages  {messages:>9,.0f} a second (nine decisions each: lines, chat, page, badge)")
    tell(f"  transfers {transfers:>9,.0f} a second; message / transfer {messages / transfers:.2f}")


def _rate(count: int, made: Callable[[int], Message]) -> float:
    """How many a second of processor time, in batches as a worker takes them."""
    hosted = (*deciders(Flow.MONEY), *deciders(Flow.LIVE))
    simulation = Simulation(hosted, Log(), DEFAULT_PARTITIONS)
    simulation.log.append([_signed_up(number) for number in range(PEOPLE)])
    simulation.settle()
    began = time.process_time()
    for first in range(0, count, 500):
        simulation.log.append([output_of(made(n)) for n in range(first, min(count, first + 500))])
        simulation.settle()
    return count / (time.process_time() - began)


def _signed_up(number: int) -> Output:
    return output_of(SignUp(id=f"u{number}", at=EPOCH, user=UserId(f"u{number}"), role=Role.USER))


# --- pages ------------------------------------------------------------------------------------------------------------------


def _pages(tell: Callable[[str], None], items: int, pages: int) -> None:
    views, pair = Views(Hub()), pair_of("ann", "bob")
    views.ready = True
    for first in range(1, items + 1, PAGE_ITEMS):
        some = tuple(ChatItem(EPOCH, seq=seq, ref=f"m{seq}") for seq in range(first, min(items + 1, first + PAGE_ITEMS)))
        views.of(CHAT_PAGE)[page_key(pair, first)] = ChatPage(some)
        for item in some:
            known = ChatMessage(UserId("ann"), UserId("bob"), "a", EPOCH, text=TEXT, seq=item.seq)
            views.of(CHAT_MESSAGE)[item.ref] = known
    views.of(CHAT)[pair] = Chat(items, tuple(ChatItem(EPOCH, seq=n, ref=f"m{n}") for n in range(items - KEPT + 1, items + 1)))
    request: Any = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(views=views)))
    caller: Any = SimpleNamespace(user="ann")
    chance = random.Random(1)

    async def page_ms(before: int) -> float:
        began = time.process_time()
        assert len((await list_items("bob", caller, request, before, PAGE)).items) == PAGE
        return (time.process_time() - began) * 1000

    def naive_ms(before: int) -> float:
        began = time.process_time()
        found = [
            item for first in range(1, items + 1, PAGE_ITEMS) for item in views.of(CHAT_PAGE).get(page_key(pair, first)).items
        ]
        assert len([item for item in found if item.seq < before][-PAGE:]) == PAGE
        return (time.process_time() - began) * 1000

    async def all_ms() -> list[float]:
        return sorted([await page_ms(chance.randrange(PAGE + 1, items)) for _ in range(pages)])

    times = asyncio.run(all_ms())
    naive = statistics.median(naive_ms(chance.randrange(PAGE + 1, items)) for _ in range(NAIVE_PAGES))
    p50, p99 = percentile(times, 50), percentile(times, 99)
    reached = "reached" if p99 <= AIM_MS else "NOT reached"
    tell(f"chat: a page of {PAGE} with its texts, anywhere among {items:,} items, inside the process, in its time")
    tell(f"  p50 {p50:.2f} ms, p99 {p99:.2f} ms (aim {AIM_MS:.0f}: {reached}); reading every page: {naive / p50:.1f} x")


# --- in the flow ------------------------------------------------------------------------------------------------------------


def _sent(stage: Stage, each_s: int, seconds: float) -> list[float]:
    """Milliseconds from a message's command to its item."""

    def made(number: int) -> Asked:
        sender, receiver = UserId(f"u{number % PEOPLE}"), UserId(f"u{(number + 1) % PEOPLE}")
        name = uuid.uuid4().hex
        sent = SendMessage(id=f"s{name}", at=now(), message=name, sender=sender, receiver=receiver, text=TEXT)
        return Asked(CHAT_MESSAGE, name, sent)

    return outcomes_ms(stage.config, CHAT.events, made, each_s, seconds)


def _in_the_flow(tell: Callable[[str], None], stage: Stage, each_s: int, seconds: float) -> None:
    messages, credits_ = _sent(stage, each_s, seconds), credits_ms(stage.config, each_s, seconds)
    ratio = statistics.median(messages) / statistics.median(credits_)
    tell(f"  message -> committed item,   {each_s:>5}/s {percentiles(messages)}   {verdict(messages)}")
    tell(f"  credit -> committed outcome, {each_s:>5}/s {percentiles(credits_)}   message / credit, medians: {ratio:.2f}")


# --- over HTTP --------------------------------------------------------------------------------------------------------------


class Talk(NamedTuple):
    """What was measured, in milliseconds, and what went wrong."""

    answers: list[float]
    seen: list[float]
    refused: list[int]


class Phone(NamedTuple):
    """A user, and the lines of the user's phone: a pool for all phones looks through all of its lines at each request."""

    user: str
    client: httpx.AsyncClient


@cache
def _who(user: str, role: str = "user") -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.token('demo-olo', user, role)}"}


async def _http(tell: Callable[[str], None], stage: Stage, each_s: int, seconds: float) -> None:
    tls = httpx.create_ssl_context()
    async with contextlib.AsyncExitStack() as devices:
        run = uuid.uuid4().hex[:6]
        phones = [
            Phone(f"c{run}-{number}", await devices.enter_async_context(
                httpx.AsyncClient(base_url=stage.http, timeout=30, trust_env=False, verify=tls)
            ))
            for number in range(PHONES)
        ]  # fmt: skip
        await asyncio.gather(*(phone.client.post("/v1/users", headers=_who(phone.user)) for phone in phones))
        await _steady(each_s, 1.0, lambda n: _grant(phones, n, []))
        began: dict[str, float] = {}
        talk, ready = Talk([], [], []), [asyncio.Event() for _ in phones]
        watching = [
            asyncio.create_task(_watch(phone, began, talk.seen, event)) for phone, event in zip(phones, ready, strict=True)
        ]
        await asyncio.gather(*(event.wait() for event in ready))
        await _steady(each_s, seconds, lambda n: _write(phones, n, began, talk))
        grants: list[float] = []
        await _steady(each_s, seconds, lambda n: _grant(phones, n, grants))
        await asyncio.sleep(1)
        for one in watching:
            one.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    sent = len(talk.answers) + len(talk.refused)
    if not (talk.answers and talk.seen and grants):
        tell(f"  {each_s}/s is more than this machine decides in time: {len(talk.answers)} of {sent} messages were answered")
        return
    tell(f"  message -> answer, {each_s:>5}/s {percentiles(talk.answers)}   {_verdict('answer', talk.answers)}")
    tell(f"  message -> seen,   {each_s:>5}/s {percentiles(talk.seen)}   {_verdict('seen', talk.seen)}")
    ratio = statistics.median(talk.answers) / statistics.median(grants)
    tell(f"  grant -> answer,   {each_s:>5}/s {percentiles(grants)}   message / grant, medians: {ratio:.2f}")
    if talk.refused or len(talk.seen) < sent:
        put_off = f"{len(talk.refused)} of {sent} were put off, with {sorted(set(talk.refused))} (0: the line was cut)"
        tell(f"  {put_off}; {len(talk.seen)} were seen so far")


async def _steady(each_s: int, seconds: float, act: Callable[[int], Any]) -> None:
    """Begin `each_s` acts a second, whether or not those before are done."""
    began, acts = time.perf_counter(), []
    for number in range(int(each_s * seconds)):
        await asyncio.sleep(max(0.0, began + number / each_s - time.perf_counter()))
        acts.append(asyncio.create_task(act(number)))
    await asyncio.gather(*acts)


async def _write(phones: list[Phone], number: int, began: dict[str, float], talk: Talk) -> None:
    sender, receiver = phones[number % PHONES], phones[(number + 1) % PHONES]
    text = f"{TEXT} {uuid.uuid4().hex}"
    began[text] = time.perf_counter()
    headers = _who(sender.user) | {"Idempotency-Key": text[-32:]}
    status = await _post(sender.client, f"/v1/chats/{receiver.user}/messages", {"text": text}, headers)
    if status == 201:
        talk.answers.append((time.perf_counter() - began[text]) * 1000)
    else:
        talk.refused.append(status)


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str]) -> int:
    """The answer's status; 0: the line was cut."""
    try:
        return (await client.post(path, json=body, headers=headers)).status_code
    except httpx.TransportError:
        return 0


async def _grant(phones: list[Phone], number: int, found: list[float]) -> None:
    began, phone = time.perf_counter(), phones[number % PHONES]
    body = {"account": f"{phone.user}/coins", "coins": 1, "ref": "bench"}
    headers = _who("bench", "admin") | {"Idempotency-Key": uuid.uuid4().hex}
    if await _post(phone.client, "/v1/admin/grants", body, headers) == 201:
        found.append((time.perf_counter() - began) * 1000)


async def _watch(phone: Phone, began: dict[str, float], seen: list[float], ready: asyncio.Event) -> None:
    """The other's phone: a message is seen when its text, or its item without one, is there."""
    try:
        async with phone.client.stream("GET", "/v1/feed", headers=_who(phone.user)) as answer:
            async for line in answer.aiter_lines():
                ready.set()
                for text in _texts(line):
                    if text in began and f'"peer":"{phone.user}"' in line:
                        seen.append((time.perf_counter() - began[text]) * 1000)
    finally:
        ready.set()


def _texts(line: str) -> Iterator[str]:
    if line.startswith("data: ") and '"text":"' in line:
        yield line.split('"text":"', 1)[1].split('"', 1)[0]


def _verdict(name: str, values: list[float]) -> str:
    p99 = percentile(sorted(values), 99)
    return f"p99 aim {AIMS_MS[name]:.0f}: {'reached' if p99 <= AIMS_MS[name] else 'NOT reached'}"
