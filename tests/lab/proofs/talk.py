"""`olo prove talk`: phones write, read, ring and are pushed while live, dispatch and serving are killed and vendors stumble.

Each phone sends under ids of its own and again until it has an answer, resumes its feed by Last-Event-ID, acknowledges what it
is told, or is in the background, or off. Laws: those of the city's books (`tests.lab.city.talk_books`): gapless items on both
phones, in the order of the pages, each message once, unread a recount; those of the simulator, of what the log says: each push
names offline or no acknowledgement, truly, none behind an acknowledgement, none for a call that does not ring; an effect is
taken once; and all inboxes, decided once more, lead to what was written, and tell no vendor anything.
"""

import asyncio
import random
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from infra import tokens
from infra.config import Config
from infra.dead_letters import letters
from infra.kafka import read_topic
from pipelines.flows.replay import check
from schemas.chat import CHAT, ItemPosted
from schemas.log.codec import decoder_of
from schemas.outbox import OUTBOX
from schemas.push import PushAccepted, push_id
from tests.lab.city.phone import Phone, Sights
from tests.lab.city.push_vendors import SLOW_S
from tests.lab.city.talk import Talk, Talker
from tests.lab.city.talk_books import TalkBooks
from tests.lab.city.vendors import KINDS, AdVendors, environment, serve
from tests.lab.proofs.money import PROCESSES, Recovery, kill
from tests.lab.proofs.replay import judge
from tests.lab.proofs.verdict import verdict
from tests.lab.simulated_notifications import laws_of_facts
from tests.lab.stage import Stage

Tell = Callable[[str], None]
VICTIMS: Final = ("live-0", "dispatch-0", "serving-0")
PATIENCE_S: Final = 60.0
TROUBLE: Final = 1 / 3
# Of the phones so many are in the background: they are shown everything, and acknowledge nothing.
BACKGROUND: Final = 4
REST_S: Final = 0.5
RINGS_S: Final = 4.0
CALLS_EVERY_S: Final = 2.0
# Behind the last kill people talk on for a moment.
AFTER_S: Final = 2.0
# So many attempts of a dispatch are under way at once that dies: their answers come to nobody.
UNDER_WAY: Final = 8
# The oldest session gives way to these.
SESSIONS: Final = 8


class Plan(NamedTuple):
    """How many kills, how many people talk, how many have closed their apps, and who is killed when."""

    kills: int = 15
    people: int = 8
    closed: int = 2
    seed: int = 1


class Town:
    """The phones: who writes, and who is only written to, with the app closed."""

    def __init__(self, stage: Stage, plan: Plan, vendors: str, client: httpx.AsyncClient) -> None:
        self.sights = Sights(PATIENCE_S)
        self.name = f"talk{uuid.uuid4().hex[:6]}"
        self.over = asyncio.Event()
        self.calls: Counter[str] = Counter()
        self._stage, self._plan, self._vendors, self._client = stage, plan, vendors, client
        self._chance = random.Random(plan.seed)
        self.talk = Talk(self.sights, self._die)
        self.admin = self._phone("root", "admin")
        self.open = [self._talker(number, background=number < BACKGROUND) for number in range(plan.people)]
        self.closed = [self._talker(plan.people + number, background=True) for number in range(plan.closed)]

    def _phone(self, user: str, role: str) -> Phone:
        return Phone(user, tokens.token("demo-olo", user, role), self._client, self.sights)

    def _talker(self, number: int, *, background: bool) -> Talker:
        phone = self._phone(f"{self.name}-{number}", "streamer" if number % 2 else "user")
        talker = self.talk.join(phone, f"{self._plan.seed}/{number}", background=background)
        talker.apple = talker.apple or background
        phone.on_event = talker.heard
        return talker

    async def trouble(self, share: float, *dead: str) -> None:
        """So many of the vendors' answers fail from now on; these tokens are none."""
        body = {"share": share, "kinds": KINDS, "dead": dead}
        await self._client.post(f"{self._vendors}/trouble", json=body)

    async def _die(self, token: str) -> None:
        await self.trouble(TROUBLE, token)

    async def move_in(self) -> None:
        """Everybody signs up and registers; those who are to be offline close their apps."""
        await self.admin.ask("PUT", "/v1/admin/gifts/rose", {"price_coins": 10, "share_coins": 4})
        everybody = [*self.open, *self.closed]
        await asyncio.gather(*map(self._arrive, everybody))
        for talker in self.open:
            talker.friends = [one.phone for one in everybody if one is not talker]
            talker.phone.connect()
        await asyncio.gather(*map(self._go_offline, self.closed))
        await self.trouble(TROUBLE)

    async def _arrive(self, talker: Talker) -> None:
        while not await talker.phone.sign_up():
            await asyncio.sleep(0.5)
        await talker.register()
        body = {"account": f"{talker.phone.user}/coins", "coins": 5_000}
        await self.admin.ask("POST", "/v1/admin/grants", body, f"start-{talker.phone.user}")

    @staticmethod
    async def _go_offline(talker: Talker) -> None:
        """The phone's session gives way to others, which log out: nobody waits until it is found silent."""
        sessions: list[str] = []
        for number in range(SESSIONS):
            opened = await talker.phone.ask("POST", "/v1/sessions", {"device": f"other {number}"})
            if opened is not None:
                sessions.append(opened.json()["session"])
        for session in sessions:
            await talker.phone.ask("DELETE", f"/v1/sessions/{session}")

    async def live(self) -> None:
        """Talk until it is over."""
        await asyncio.gather(*map(self._talk, self.open), self._ring())

    async def _talk(self, talker: Talker) -> None:
        while not self.over.is_set():
            await talker.act()
            if self._chance.random() < 0.05:
                gift = {"to": self._chance.choice(talker.friends).user, "gift": "rose", "call": ""}
                await talker.phone.ask("POST", "/v1/gifts", gift, uuid.uuid4().hex)
            await asyncio.sleep(self._chance.expovariate(1 / REST_S))

    async def _ring(self) -> None:
        """Phones in the background are called, ring by a push, and are taken or not."""
        callers, callees = self.open[::2], self.open[1:BACKGROUND:2]
        while not self.over.is_set():
            caller, callee = self._chance.choice(callers), self._chance.choice(callees)
            answer = await caller.phone.ask("POST", "/v1/calls", {"to": callee.phone.user}, uuid.uuid4().hex)
            if answer is not None:
                path = f"/v1/calls/{answer.json()['call']}"
                await asyncio.sleep(RINGS_S)
                word = self._chance.choice(("accept", "decline", "hang-up"))
                self.calls[word] += 1
                await (caller if word == "hang-up" else callee).phone.ask("POST", f"{path}/{word}")
                await asyncio.sleep(0.5)
                await caller.phone.ask("POST", f"{path}/hang-up")
            await asyncio.sleep(CALLS_EVERY_S)

    async def go_home(self) -> None:
        """Nobody writes any more; all apps are opened."""
        self.over.set()
        for talker in self.closed:
            talker.phone.connect()
        await self.talk.evening()
        await self.trouble(0.0)


async def _fire(stage: Stage, plan: Plan, town: Town, tell: Tell) -> list[Recovery]:
    chance = random.Random(plan.seed)
    recoveries: list[Recovery] = []
    for number in range(plan.kills):
        await asyncio.sleep(0.4 + chance.random() * 0.8)
        role = VICTIMS[number % len(VICTIMS)]
        recovery = await kill(stage, role)
        recoveries.append(recovery)
        tell(f"  kill {number + 1:2}/{plan.kills}  {role:<10} works again after {recovery.seconds:5.2f} s, "
             f"{town.talk.counts['messages']:,} messages written")  # fmt: skip
    await asyncio.sleep(AFTER_S)
    return recoveries


async def _run(stage: Stage, plan: Plan, vendors: str, tell: Tell) -> tuple[Town, TalkBooks, list[Recovery]]:
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=stage.http, timeout=10, trust_env=False, limits=limits) as client:
        town = Town(stage, plan, vendors, client)
        await town.move_in()
        living = asyncio.create_task(town.live())
        recoveries = await _fire(stage, plan, town, tell)
        town.over.set()
        await living
        await town.go_home()
        unheard = UNDER_WAY * sum(one.role == "dispatch-0" for one in recoveries)
        books = TalkBooks(town.talk, town.name, stage.clickhouse, client, vendors, unheard=unheard)
        await books.close()
        await asyncio.gather(*(talker.phone.disconnect() for talker in (*town.open, *town.closed)))
    return town, books, recoveries


# --- the log ----------------------------------------------------------------------------------------------------------------


def log_laws(config: Config, town: Town) -> list[str]:
    """What is broken by what the log says."""

    def read(topic: str) -> Iterator[tuple[bytes, bytes | None]]:
        for record in read_topic(config, topic):
            yield record.key() or b"", record.value()

    people = list(town.talk.talkers)
    broken = [*laws_of_facts(read, people), *_items(read), *_once(read)]
    return broken + [f"there is a dead letter: {letter.id}" for letter in letters(config)][:1]


def _items(read: Callable[[str], Iterator[tuple[bytes, bytes | None]]]) -> list[str]:
    """The items of each chat are numbered without a gap, and each stands there once."""
    seqs: Counter[str] = Counter()
    refs: Counter[tuple[str, str, str]] = Counter()
    broken = []
    decode = decoder_of(CHAT.facts)
    for _, value in read(CHAT.events):
        if isinstance(fact := decode(value or b""), ItemPosted):
            if fact.seq != seqs[fact.pair] + 1:
                broken.append(f"item {fact.seq} of {fact.pair} follows {seqs[fact.pair]}")
            seqs[fact.pair] = fact.seq
            refs[fact.pair, fact.kind, fact.ref] += 1
    return broken + [f"{what} stands {n} times" for what, n in refs.items() if n > 1]


def _once(read: Callable[[str], Iterator[tuple[bytes, bytes | None]]]) -> list[str]:
    """A phone takes an occurrence once, as far as the log says."""
    accepted: Counter[str] = Counter()
    decode = decoder_of(OUTBOX.facts)
    for _, value in read(OUTBOX.events):
        if isinstance(fact := decode(value or b""), PushAccepted):
            accepted[push_id(fact.occurrence, fact.device)] += 1
    return [f"{effect} was accepted {times} times" for effect, times in accepted.items() if times > 1]


def ring_laws(town: Town, taken: list[dict[str, Any]]) -> list[str]:
    """Apple rings phones for calls that ring."""
    told = {name: event for talker in town.talk.talkers.values() for name, event in talker.notified.items()}
    broken = []
    for push in (one for one in taken if one["provider"] == "apns"):
        event = told.get(push["occurrence"], {})
        if event.get("kind") != "call_incoming":
            broken.append(f"Apple rings for {push['occurrence']}, a {event.get('kind', 'message')}")
        elif push["at"] > _seconds(event["ends_at"]) + SLOW_S:
            broken.append(f"Apple rings {push['at'] - _seconds(event['ends_at']):.1f} s behind the call's end")
    return broken


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def prove(plan: Plan, tell: Tell) -> int:
    """Run the proof; the number of broken laws."""
    folder = Path(tempfile.mkdtemp(prefix="olo-proof-"))
    server = serve(AdVendors(), keys=folder / "stand-ins")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    vendors = f"http://127.0.0.1:{server.server_port}"
    tell("starting a platform of its own ...")
    stage = Stage(folder, **environment(vendors, folder / "stand-ins"))
    try:
        tell(
            f"{plan.people} people talk, {plan.closed} have closed their apps; {plan.kills} kills -9 of live, dispatch, serving"
        )
        began = time.monotonic()
        town, books, recoveries = asyncio.run(_run(stage, plan, vendors, tell))
        tell(f"{time.monotonic() - began:.0f} s under fire and for the books; auditing the log ...")
        received = httpx.get(f"{vendors}/pushes/received").json()
        broken = [*town.sights.errors, *books.broken, *log_laws(stage.config, town), *ring_laws(town, received["taken"])]
        tell("deciding all recorded inboxes once more ...")
        began = time.monotonic()
        if differ := judge(sorted(check(stage.config, PROCESSES)), time.monotonic() - began, tell):
            broken.append(f"replay is not live: {differ} partitions differ")
        if httpx.get(f"{vendors}/pushes/received").json()["requests"] != received["requests"]:
            broken.append("a replay has told vendors something")
    finally:
        stage.stop()
        server.shutdown()
    _report(town, books.sums, recoveries, received["taken"], tell)
    return verdict(broken, folder, "nothing was lost, doubled or reordered; each push was due, and a replay told nobody", tell)


def _report(
    town: Town, sums: "Counter[str]", recoveries: list[Recovery], taken: list[dict[str, Any]], tell: Tell
) -> None:  # fmt: skip
    tell(f"answers {dict(town.sights.statuses.most_common())}, put off {dict(town.sights.put_off)}, "
         f"refusals {dict(town.sights.refusals.most_common())}, calls {dict(town.calls)}")  # fmt: skip
    by = Counter(one["provider"] for one in taken)
    tell(f"taken by {dict(by)}, of which {sum('/over/' in one['occurrence'] for one in taken)} take something away")
    tell("counts: " + ", ".join(f"{name} {number:,}" for name, number in sums.items()))
    for role in VICTIMS:
        if times := sorted(one.seconds for one in recoveries if one.role == role):
            tell(f"recovery of {role:<10} {len(times):2} kills, median {times[len(times) // 2]:.2f} s, worst {times[-1]:.2f} s")
