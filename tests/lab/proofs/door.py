"""`olo prove door`: a platform of its own with its ordinary limits, two phones in a paid call, and an attacker beside them.

The attacker (`attacker.py`) has a process and addresses of its own, and tries one thing behind the other. Meanwhile a process
of its own (`watcher.py`) asks `/healthz` on new connections, and the sessions of the caller and of some friends beat. A
bystander (`bystander.py`), a server that nobody attacks, is asked in the same moments: it tells what the machine takes by
itself, with the attacker and all others who work on it.

Laws: of 100 answers 99 come within LIMIT_S more than the bystander's, or, on a machine that is busy with others, within TIMES
as long as they took in the same run beside a busy loop instead of the attacker (an attack by which they come later is tried
again, and broken is what is late TRIES times); the attacker is told what the attack calls for, never 5xx, and no more often
than an address may ask; serving takes no more memory than its limits leave to one address, and its log stays short; all that
was opened is let go of, though the attacker holds on to it; the call costs and earns what was talked, to the second and coin.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import psutil

from infra import tokens
from infra.config import Config
from infra.exposition import total
from infra.machine import launch
from tests.lab.city.phone import Phone, Sights
from tests.lab.percentiles import percentile
from tests.lab.proofs.attacker import ATTACKS, CROOKS, CUT, Attack
from tests.lab.proofs.calls import naive_price
from tests.lab.proofs.overload import busy
from tests.lab.proofs.verdict import verdict
from tests.lab.proofs.watcher import BEAT, BYSTANDER, HEALTHZ, QUESTIONS
from tests.lab.stage import Stage

Tell = Callable[[str], None]
Attackers = subprocess.Popen[bytes]
LIMIT_S: Final = 0.1
TIMES: Final = 5.0
LOOK_S: Final = 0.1
PATIENCE_S: Final = 30.0
# A machine's own hiccup takes longer than a law allows, but not so many times in the same attack.
TRIES: Final = 4
# The end of an attack is not yet that of what it has left to do.
BREATH_S: Final = 0.3
# A log may grow by so much in a run: some lines, but none for each request.
LOG_BYTES: Final = 100_000
# Behind the limits for heads and bodies all is let go of within so many seconds.
LET_GO_S: Final = 5.0
# As fine as a price may be: so many coins each five seconds that are begun.
TARIFF: Final[dict[str, Any]] = {
    "rule": {"kind": "direct"}, "payer": {"checkpoints": [{"after_s": 0, "coins": 2}], "step_s": 5, "step_coins": 2},
    "earner": {"step_s": 5, "step_coins": 1},
}  # fmt: skip
COINS: Final = 1_000
# Whose sessions beat, too: more answers than one user may ask for.
FRIENDS: Final = tuple(f"friend{number}" for number in range(9))
# A rate that a slow machine reaches, too.
RATE: Final = 100
# The phones are where nobody is counted; the attacker is elsewhere on the loopback, and is.
SETTINGS: Final = {
    f"OLO_{name.upper()}": str(Config.model_fields[name].default)
    for name in ("rate_user", "rate_write", "rate_staff", "open_requests")
} | {
    "OLO_RATE_ADDRESS": f"{RATE}/second;12000/minute",
    "OLO_UNLIMITED_NETWORKS": "127.0.0.1/32",
    "OLO_TWILIO_AUTH_TOKEN": "secret",
    "OLO_AGORA_WEBHOOK_SECRET": "secret",
    "OLO_APPSFLYER_PUSH_TOKEN": "secret",
    "OLO_METRICS_TOKEN": "the-token-of-prometheus",
}


class Plan(NamedTuple):
    """How long each attack lasts, which ones there are, and for how long a request's head and body may come."""

    seconds: float = 5.0
    attacks: tuple[str, ...] = tuple(ATTACKS)
    slow_s: float = 10.0


Waits = dict[str, list[float]]


class Watch:
    """What is asked all along, by the watcher: waits in seconds, by question; and what serving holds."""

    def __init__(self, stage: Stage, beats: list[tuple[str, str]]) -> None:
        self.broken: list[str] = []
        self.serving = psutil.Process(stage.child("serving-0")["pid"])
        self.log = Path(stage.child("serving-0")["log"])
        self.most_bytes = 0
        self._url, self._beats = stage.http, beats

    async def begin(self) -> Waits:
        """What was measured since the last time, sorted; from now on anew."""
        seen = json.loads(await asyncio.to_thread(self._say, ""))
        self.broken += seen["wrong"]
        return {name: sorted(seen["waits"].get(name, [])) for name in QUESTIONS}

    def _say(self, line: str) -> bytes:
        assert self._watcher.stdin is not None
        assert self._watcher.stdout is not None
        self._watcher.stdin.write(f"{line}\n".encode())
        self._watcher.stdin.flush()
        return self._watcher.stdout.readline()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask and look, meanwhile."""
        bystander = launch([sys.executable, "-m", "tests.lab.proofs.bystander"], stdout=subprocess.PIPE)
        command = [sys.executable, "-m", "tests.lab.proofs.watcher"]
        self._watcher = launch(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        looking = asyncio.create_task(self._looking())
        try:
            assert bystander.stdout is not None
            port = int(await asyncio.to_thread(bystander.stdout.readline))
            what = {"url": self._url, "bystander": f"http://127.0.0.1:{port}", "beats": self._beats}
            await asyncio.to_thread(self._say, json.dumps(what) + "\n")
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            _end([self._watcher, bystander])

    async def _looking(self) -> None:
        while True:
            self.most_bytes = max(self.most_bytes, self.serving.memory_info().rss)
            await asyncio.sleep(LOOK_S)


class Call:
    """Bob calls Sue, and they talk until `end`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.sights = Sights(PATIENCE_S)
        people = (("bob", "user"), ("sue", "streamer"), ("root", "admin"), *((user, "user") for user in (*FRIENDS, *CROOKS)))
        self._tokens = {user: tokens.token("demo-olo", user, role) for user, role in people}
        phones = [Phone(user, token, client, self.sights) for user, token in self._tokens.items()]
        self.bob, self.sue, self._root, *self._others = phones

    async def begin(self) -> list[tuple[str, str]]:
        """Everybody signs up, and the call connects; tokens and sessions of Bob and his friends."""
        await self._root.ask("PUT", "/v1/admin/tariffs/talk", TARIFF)
        await asyncio.gather(*(phone.sign_up() for phone in (self.bob, self.sue)))
        for other in self._others:
            await other.ask("POST", "/v1/users", {}, key="up")
        await self._root.ask("POST", "/v1/admin/grants", {"account": "bob/coins", "coins": COINS}, key="grant")
        for phone in (self.bob, self.sue):
            phone.connect()
            await phone.online.wait()
        beating = [self.bob, *self._others[: len(FRIENDS)]]
        sessions = [await self._said(phone, "POST", "/v1/sessions", {"device": "proof"}) for phone in beating]
        self.call = (await self._said(self.bob, "POST", "/v1/calls", {"to": "sue"}, key="call"))["call"]
        await self._said(self.sue, "POST", f"/v1/calls/{self.call}/accept")
        self._began = time.monotonic()
        return [(self._tokens[phone.user], one["session"]) for phone, one in zip(beating, sessions, strict=True)]

    async def end(self) -> list[str]:
        """Hang up; what is wrong with the bill, and with what the phones were shown."""
        talked_s = time.monotonic() - self._began
        ended = await self._said(self.bob, "POST", f"/v1/calls/{self.call}/hang-up")
        deadline = time.monotonic() + PATIENCE_S
        while not (bill := await self._said(self.bob, "GET", f"/v1/calls/{self.call}/receipt"))["closed"]:
            if time.monotonic() > deadline:
                return [f"the bill stays open: {bill}"]
            await asyncio.sleep(0.2)
        broken = list(self.sights.errors)
        found = await self._said(self.bob, "GET", f"/v1/calls/{self.call}")
        seconds = _seconds(found["ended_at"]) - _seconds(found["connected_at"])
        if ended.get("reason") != "hung_up" or abs(seconds - talked_s) > 1:
            broken.append(f"the call ended ({ended.get('reason')}) after {seconds:.1f} s, they talked for {talked_s:.1f} s")
        due = [naive_price(TARIFF[side], seconds) for side in ("payer", "earner")]
        balances = [
            (await self._said(phone, "GET", f"/v1/balance?book={book}"))["balance_coins"]
            for phone, book in ((self.bob, "coins"), (self.sue, "earnings"))
        ]
        said = [bill["paid_coins"], bill["earned_coins"]]
        if said != due or balances != [COINS - due[0], due[1]]:
            broken.append(f"of {seconds:.1f} s {due} are due, the bill says {said}, the balances {balances}")
        await asyncio.gather(*(phone.disconnect() for phone in (self.bob, self.sue)))
        self.told = f"{seconds:.1f} s talked, {said[0]} coins paid, {said[1]} earned"
        return broken

    async def _said(self, phone: Phone, method: str, path: str, body: Any = None, key: str = "") -> dict[str, Any]:
        answer = await phone.ask(method, path, body, key)
        if answer is None:
            raise RuntimeError(f"{method} {path}: {self.sights.errors or dict(self.sights.refusals)}")
        found: dict[str, Any] = answer.json()
        return found


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def _attacked(name: str, number: int, url: str, seconds: float, watch: Watch) -> tuple[Attackers, dict[str, int]]:
    command = [sys.executable, "-m", "tests.lab.proofs.attacker", name, url, f"127.0.0.{10 + number}", str(seconds)]
    process = launch(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    await watch.begin()
    came = json.loads(await asyncio.to_thread(process.stdout.readline) or "{}")
    return process, came


def _end(held: list[Attackers]) -> None:
    for one in held:
        one.kill()
    for one in held:
        one.wait()


def _row(name: str, waits: Waits, more: str) -> str:
    texts = []
    for question in QUESTIONS:
        found = waits.get(question, [])
        p50, p99, worst = percentile(found, 50), percentile(found, 99), found[-1] if found else 0.0
        texts.append(f"{p50 * 1000:5.0f} {p99 * 1000:5.0f} {worst * 1000:5.0f}")
    return f"{name:<12} {' | '.join(texts)} | {more}"


def _late(waits: Waits, calm: Waits) -> list[str]:
    """Questions that were answered too late; `calm`: beside a busy loop instead of an attacker."""
    broken = []
    for question in (HEALTHZ, BEAT):
        found, usual, machine = (
            percentile(of, 99) if of else None for of in (waits[question], calm[question], waits[BYSTANDER])
        )
        limit_s = max(LIMIT_S + (machine or 0.0), TIMES * (usual or 0.0))
        if found is None or found > limit_s:
            told = "no answer" if found is None else f"p99 {found * 1000:.0f} ms"
            broken.append(f"{question}: {told}, at most {limit_s * 1000:.0f} ms")
    return broken


def _unlike(name: str, attack: Attack, came: dict[str, int], seconds: float) -> list[str]:
    """What came back that should not have, or too often."""
    other = {status: number for status, number in came.items() if status not in attack.may}
    broken = [f"{name}: {other} came back"] if other else []
    answered = sum(number for status, number in came.items() if status not in (CUT, "429"))
    if attack.rated and answered > RATE * (seconds + 2):
        broken.append(f"{name}: {answered} answers in {seconds:g} s, {RATE} a second are due")
    return broken


def _strangers(watch: Watch) -> int:
    """Connections of serving to others than the phones."""
    found = watch.serving.net_connections(kind="tcp")
    return sum(1 for one in found if one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr.ip != "127.0.0.1")


async def _run(stage: Stage, plan: Plan, tell: Tell) -> list[str]:
    async with httpx.AsyncClient(base_url=stage.http, timeout=PATIENCE_S, trust_env=False) as client:
        call = Call(client)
        watch = Watch(stage, await call.begin())
        log_bytes = watch.log.stat().st_size
        held: list[Attackers] = []
        try:
            async with watch.running():
                broken = await _attacks(stage, plan, watch, held, tell)
                broken += await _let_go(plan, watch, tell)
        finally:
            _end(held)
        broken += [*watch.broken[:5], *await call.end()]
        headers = {"Authorization": f"Bearer {SETTINGS['OLO_METRICS_TOKEN']}"}
        feeds = total((await client.get("/metrics", headers=headers)).text, "olo_feed_connections")
    if feeds > 2:
        broken.append(f"{feeds:.0f} feeds are open, two are the phones'")
    grown = watch.log.stat().st_size - log_bytes
    if grown > LOG_BYTES:
        broken.append(f"serving has written {grown:,} bytes of log")
    tell(f"the call: {call.told}; serving's log grew by {grown:,} bytes")
    return broken


async def _attacks(stage: Stage, plan: Plan, watch: Watch, held: list[Attackers], tell: Tell) -> list[str]:
    tell(f"{'ms':<12}  p50   p99  worst | likewise a beat   | and a bystander   | memory of serving; what came back")
    await asyncio.sleep(1.0)
    await watch.begin()
    await asyncio.sleep(plan.seconds)
    tell(_row("nobody", await watch.begin(), ""))
    with busy(1):
        await asyncio.sleep(plan.seconds)
    calm = await watch.begin()
    tell(_row("a busy loop", calm, f"{watch.most_bytes >> 20} MB"))
    before = watch.most_bytes
    config = stage.config
    bytes_s = before + config.address_connections * (config.head_bytes + config.body_bytes)
    broken: list[str] = []

    async def attempt(number: int, name: str) -> list[str]:
        """One attack; which questions were answered too late."""
        watch.most_bytes = 0
        began = time.monotonic()
        one, came = await _attacked(name, number, stage.http, plan.seconds, watch)
        held.append(one)
        broken.extend(_unlike(name, ATTACKS[name], came, time.monotonic() - began))
        waits = await watch.begin()
        tell(_row(name, waits, f"{watch.most_bytes >> 20} MB; {came}"))
        if not ATTACKS[name].holds:
            _end([held.pop()])
        await asyncio.sleep(BREATH_S)
        return _late(waits, calm)

    for number, name in enumerate(plan.attacks):
        late: list[str] = []
        for _ in range(TRIES):
            late = await attempt(number, name)
            if watch.most_bytes > bytes_s:
                broken.append(f"{name}: serving takes {watch.most_bytes:,} bytes, at most {bytes_s:,}")
            if not late:
                break
        broken += [f"{name}: {one}, {TRIES} times" for one in late]
    return broken


async def _let_go(plan: Plan, watch: Watch, tell: Tell) -> list[str]:
    """Wait until nothing of the attackers' is open, though they hold on to it."""
    began, first = time.monotonic(), _strangers(watch)
    while (left := _strangers(watch)) and time.monotonic() < began + plan.slow_s + LET_GO_S:
        await asyncio.sleep(LOOK_S)
    tell(f"let go of {first:,} connections within {time.monotonic() - began:.1f} s")
    return [f"{left} connections are still held, {plan.slow_s + LET_GO_S:.0f} s behind the attacks"] if left else []


def prove(plan: Plan, tell: Tell) -> int:
    """Run the proof; the number of broken laws."""
    folder = Path(tempfile.mkdtemp(prefix="olo-proof-"))
    tell("starting a platform of its own ...")
    stage = Stage(folder, **SETTINGS, OLO_HEAD_S=str(plan.slow_s), OLO_BODY_S=str(plan.slow_s))
    try:
        tell(f"a call, and {len(plan.attacks)} attacks of {plan.seconds:g} s")
        broken = asyncio.run(_run(stage, plan, tell))
    except RuntimeError as error:
        broken = [str(error)]
    finally:
        stage.stop()
    return verdict(broken, folder, "whoever has a call goes on with it, whatever others send", tell)
