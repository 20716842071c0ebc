"""`olo city`, and `olo up --city`: a population on a running platform, a live table of how it fares, its books at the end."""

import asyncio
import contextlib
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table

from infra import tokens
from infra.config import Config
from infra.endpoints import endpoints_of
from infra.exposition import total
from tests.lab.city.books import MARGIN, Books
from tests.lab.city.campaigns import Campaigns
from tests.lab.city.life import GIFTS, Person, Streamer, User
from tests.lab.city.memory import Memory
from tests.lab.city.phone import Phone, Sights
from tests.lab.city.talk import Talk
from tests.lab.city.talk_books import TalkBooks
from tests.lab.city.trade import Trade
from tests.lab.percentiles import percentile

# Of three people two pay: what keeps streamers busy.
STREAMERS: Final = 0.4
SIGN_UPS_AT_ONCE: Final = 10
TABLE_EVERY_S: Final = 1.0
LINE_EVERY_S: Final = 10.0
# Coins a second are those of so many looks.
COINS_OVER: Final = 15
# A broker that has just been started is still being compiled; what people feel day by day begins behind that.
WARM_S: Final = 180.0
# What a block must do: out of the call on both phones before a person can say a word more.
BLOCK_P99_MS: Final = 300.0
SHOWN: Final = 10
# A flow that is so many records behind at the end, or at any look for longer than a moment, does not keep up.
LAG_RECORDS: Final = 1_000
# The store gathers three seconds' records at most, and writes them in another.
STORE_LAG_RECORDS: Final = 10_000


class Plan(NamedTuple):
    """How many people, for how long (0: until told to stop), which ones, how long they try what gets no answer, and whether
    they write to each other."""

    people: int
    minutes: float
    seed: int
    patience_s: float = 0.0
    talks: bool = True


class City:
    """A population of phones against the platform at `url`. `vendors`: the stand-ins' URL, where `olo up --city` has not
    started them; without any, nobody comes by a campaign. `market`: that of the market, where it is another one; without any,
    coins are granted, and nobody is paid."""

    def __init__(  # noqa: PLR0917 - what a city stands on
        self, url: str, config: Config, plan: Plan, console: Console, vendors: str = "", market: str = ""
    ) -> None:
        self.url = url
        self.sights = Sights(plan.patience_s)
        self.moved_in = asyncio.Event()
        self.campaigns: Campaigns | None = None
        self.trade: Trade | None = None
        self.talk = Talk(self.sights)
        self.talk_sums: Counter[str] = Counter()
        self._config = config
        self._plan = plan
        self._console = console
        self._vendors, self._market = vendors, market
        self._name = f"city{int(time.time()) % 10_000_000}"
        self.people: list[Person] = []
        self._coins_at: deque[tuple[float, int]] = deque(maxlen=COINS_OVER)
        self._lags: list[dict[str, float]] = []
        self._memory = Memory()
        self._devices = contextlib.AsyncExitStack()
        self._tls = httpx.create_ssl_context()
        self._began = 0.0
        # How many latencies of each kind were measured while everything was cold; None: still is.
        self._cold: dict[str, int] | None = None

    async def run(self, stop: asyncio.Event) -> Books:
        """Live until the time is over or `stop` is set, then close the books. What is wrong: theirs, and `sights.errors`."""
        async with self._devices:
            client = await self._device()
            await self._move_in(client)
            self._began = time.monotonic()
            self.moved_in.set()
            asyncio.get_running_loop().call_later(WARM_S, self._note_warm)
            lives = [asyncio.create_task(person.live()) for person in self.people]
            watching = asyncio.create_task(self._watch(client))
            if self.trade is not None:
                self.trade.open()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._plan.minutes * 60 or None)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self._console.print("people go home; waiting until nothing is under way, then the books ...")
            await asyncio.gather(*(person.go_home(life) for person, life in zip(self.people, lives, strict=True)))
            books = Books(self.people, self.sights, await self.trade.close() if self.trade is not None else None)
            await asyncio.gather(self.talk.evening(), books.close())
            books.broken += await self._close_others(client)
            await asyncio.gather(*(person.phone.disconnect() for person in self.people))
            if self.trade is not None:
                await self.trade.end()
        return books

    async def _close_others(self, client: httpx.AsyncClient) -> list[str]:
        """The books of campaigns and of talk; what is broken."""
        running = endpoints_of(self._config.home)
        told = TalkBooks(self.talk, self._name, running.get("clickhouse", self._config.clickhouse_url), client, self._vendors)
        await asyncio.gather(told.close(), *([self.campaigns.close()] if self.campaigns is not None else []))
        self.talk_sums = told.sums
        return told.broken + (self.campaigns.broken if self.campaigns is not None else [])

    def _note_warm(self) -> None:
        self._cold = {kind: len(values) for kind, values in self.sights.latencies.items()}

    async def _move_in(self, client: httpx.AsyncClient) -> None:
        admin = await self._phone("admin", "admin")
        running = endpoints_of(self._config.home)
        started = (child["url"] for child in running.get("children", ()) if child["role"] == "vendors")
        self._vendors = self._vendors or next(started, "")
        if self._vendors:
            self.campaigns = Campaigns(self._vendors, running["clickhouse"], client, self.sights)
            await self.campaigns.begin(admin)
            self.talk.kill = self.campaigns.kill
        if market := self._market or self._vendors:
            self.trade = Trade(market, running["clickhouse"], client, self.sights, str(self._plan.seed))
        for gift, (price, share) in GIFTS.items():
            await admin.ask("PUT", f"/v1/admin/gifts/{gift}", {"price_coins": price, "share_coins": share})
        streamers = round(self._plan.people * STREAMERS)
        for number in range(self._plan.people):
            role, kind = ("streamer", Streamer) if number < streamers else ("user", User)
            phone = await self._phone(f"{role}{number}", role)
            self.people.append(kind(phone, admin, f"{self._plan.seed}/{number}"))
        gate = asyncio.Semaphore(SIGN_UPS_AT_ONCE)

        async def arrive(person: Person) -> None:
            async with gate:
                while not await self._arrives(person):
                    await asyncio.sleep(0.5)
                if self._plan.talks:
                    person.talker = self.talk.join(person.phone, f"{self._plan.seed}/{person.phone.user}")
                    await person.talker.register()
                person.phone.connect()

        await asyncio.gather(*map(arrive, self.people))
        for person in self.people:
            person.streamers = [one.phone for one in self.people[:streamers]]
        if self.trade is not None:
            await self.trade.begin(self.people, admin, self._phone)

    async def _arrives(self, person: Person) -> bool:
        if self.campaigns is None:
            return await person.phone.sign_up()
        return await self.campaigns.arrive(person.phone, person.chance)

    async def _device(self) -> httpx.AsyncClient:
        """What has connections of its own: a pool for all of them looks through all at each request, a fifth of the time."""
        return await self._devices.enter_async_context(
            httpx.AsyncClient(base_url=self.url, timeout=20, trust_env=False, verify=self._tls)
        )

    async def _phone(self, name: str, role: str) -> Phone:
        user = f"{self._name}-{name}"
        return Phone(user, tokens.token(self._config.firebase_project, user, role), await self._device(), self.sights)

    # --- watching ----------------------------------------------------------------------------------------------------------

    async def _watch(self, client: httpx.AsyncClient) -> None:
        """The live table, or a line now and then where nobody watches a terminal."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                self._console.print("  ".join(f"{what} {value}" for what, value in (await self._figures(client)).items()))
        with Live(console=self._console, refresh_per_second=2) as live:
            while True:
                table = Table(title=f"the city, {time.monotonic() - self._began:.0f} s", title_justify="left")
                for column in ("what", "now"):
                    table.add_column(column)
                for what, value in (await self._figures(client)).items():
                    table.add_row(what, value)
                live.update(table)
                await asyncio.sleep(TABLE_EVERY_S)

    async def _figures(self, client: httpx.AsyncClient) -> dict[str, str]:
        sights = self.sights
        phones = [person.phone for person in self.people]
        self._coins_at.append((time.monotonic(), sights.spent_coins))
        since, spent = self._coins_at[0]
        each_s = (sights.spent_coins - spent) / max(0.001, time.monotonic() - since)
        lag = await self.lag(client)
        self._lags.append(lag)
        children = endpoints_of(self._config.home).get("children", ())
        self._memory.look(children, (time.monotonic() - self._began) / 60)
        recent = sorted(sights.recent)
        return {
            "online": f"{sum(phone.online.is_set() for phone in phones)}",
            "in calls": f"{sum(phone.talking for phone in phones)}",
            "calls": f"{len(sights.calls):,}",
            "gifts": f"{len(sights.gifts):,}",
            "messages": f"{self.talk.counts['messages']:,}",
            "coins/s": f"{each_s:,.0f}",
            "action -> SSE p50, p99": f"{percentile(recent, 50):.0f}, {percentile(recent, 99):.0f} ms",
            "block -> call ended p99": f"{percentile(sorted(sights.latencies['block']), 99):.0f} ms",
            "lag": ", ".join(f"{flow} {records:.0f}" for flow, records in lag.items()) or "unknown",
            "errors": f"{len(sights.errors)}",
        }

    async def lag(self, client: httpx.AsyncClient) -> dict[str, float]:
        """Records that each flow is behind, as its processes say."""
        found: dict[str, float] = {}
        for child in endpoints_of(self._config.home).get("children", ()):
            if not child["url"].endswith("/metrics"):
                continue
            try:
                text = (await client.get(child["url"])).text
            except httpx.HTTPError:
                continue
            flow = child["role"].rpartition("-")[0]
            found[flow] = found.get(flow, 0.0) + total(text, "olo_lag_records")
        return found

    # --- the end -----------------------------------------------------------------------------------------------------------

    def tell(self, books: Books) -> int:
        """Print how it went; the number of broken laws."""
        tell: Callable[[str], None] = lambda line: self._console.print(line, soft_wrap=True)  # noqa: E731
        sights, sums = self.sights, books.sums
        minutes = (time.monotonic() - self._began) / 60
        tell(f"{self._plan.people} people, {minutes:.1f} minutes: {sums['calls']:,} calls, {sums['gifts']:,} gifts, "
             f"{sums['entries seen']:,} entries seen on feeds, answers {dict(sights.statuses.most_common())}")  # fmt: skip
        tell(f"calls ended: {dict(sights.ended.most_common())}; refusals: {dict(sights.refusals.most_common())}")
        for kind, values in sorted(sights.latencies.items()):
            found = sorted(values)
            tell(f"  {kind:<8} -> SSE of the other phone  {len(found):>6,} times  p50 {percentile(found, 50):4.0f} ms  "
                 f"p99 {percentile(found, 99):4.0f} ms")  # fmt: skip
        for kind, does in (("block", "a block ends the call"), ("block, feed", "a block takes the card out of the gallery")):
            tell(f"{does}: {_verdict(sights.latencies[kind])}")
            warm = [] if self._cold is None else sights.latencies[kind][self._cold.get(kind, 0) :]
            if warm:
                tell(f"  behind the first {WARM_S / 60:.0f} minutes, {len(warm)} times: {_verdict(warm)}")
        flows = sorted({flow for lag in self._lags for flow in lag})
        ends = {flow: [lag.get(flow, 0.0) for lag in self._lags] for flow in flows}
        for flow, lags in ends.items():
            half = len(lags) // 2
            tell(f"  lag of {flow:<6} highest {max(lags):.0f} records, means of both halves "
                 f"{sum(lags[:half]) / max(1, half):.0f} and {sum(lags[half:]) / max(1, len(lags) - half):.0f}")  # fmt: skip
            if lags[-1] > (STORE_LAG_RECORDS if flow == "store" else LAG_RECORDS):
                books.broken.append(f"{flow} was {lags[-1]:.0f} records behind at the end")
        for line in self._memory.lines():
            tell(f"  {line}")
        tell(f"coins: {sights.granted_coins:,} granted + {sums['coins bought']:,} bought = {sums['on accounts']:,} on accounts "
             f"- {sums['owed']:,} owed + {sums[MARGIN]:,} platform (calls {sums['calls paid']:,} paid, "
             f"{sums['calls earned']:,} earned; gifts {sums['gifts paid']:,} paid, {sums['gifts shared']:,} shared) "
             f"+ {sums['coins paid out']:,} paid out")  # fmt: skip
        if self.trade is not None:
            self.trade.tell(tell, sums)
        if self.campaigns is not None:
            self._tell_campaigns(tell, self.campaigns.sums)
        if self._plan.talks:
            self._tell_talk(tell, self.talk_sums)
        broken, unfinished = [*sights.errors, *books.broken], sights.unfinished
        for kind, lines in (("BROKEN    ", broken), ("UNFINISHED", unfinished)):
            for line in lines[:SHOWN]:
                tell(f"  {kind} {line}")
        told = f"{len(broken)} broken, {len(unfinished)} requests were given up"
        tell(told if broken or unfinished else "every coin is accounted for; no error")
        return len(broken) + len(unfinished)

    @staticmethod
    def _tell_talk(tell: Callable[[str], None], sums: "Counter[str]") -> None:
        tell(f"talk: {sums['messages']:,} messages, {sums['sent again']} of them twice; {sums['items seen']:,} items seen; "
             f"{sums['notifications']:,} notifications, {sums['pushes']:,} pushed ({sums['offline']} offline, "
             f"{sums['no_ack']} without an acknowledgement)")  # fmt: skip
        tell(f"  pushes with silent ones: {sums['PushAccepted']:,} accepted, {sums['PushRefused']:,} refused, "
             f"{sums['PushTokenDead']:,} to dead tokens ({sums['died']} died); vendors took {sums['taken']:,}, of which "
             f"{sums['unheard']:,} without an answer")  # fmt: skip

    @staticmethod
    def _tell_campaigns(tell: Callable[[str], None], sums: "Counter[str]") -> None:
        ended = f"{sums['accepted']:,} accepted + {sums['refused']:,} refused"
        tell(f"campaigns: {sums['installs']} installs became sign-ups; {sums['owed']:,} postbacks owed = {ended}")
        tell(f"  in {sums['attempts']:,} attempts; {sums['taken more than once']:,} were taken more than once, under one id")


def _verdict(latencies: list[float]) -> str:
    took = percentile(sorted(latencies), 99)
    return f"p99 {took:.0f} ms (aim {BLOCK_P99_MS:.0f} ms: {'reached' if took < BLOCK_P99_MS else 'NOT reached'})"


def main(url: str, config: Config, plan: Plan, console: Console) -> int:
    """Run a city until its time is over, or SIGINT or SIGTERM; the number of broken laws."""

    async def run() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        city = City(url, config, plan, console)
        return city.tell(await city.run(stop))

    return asyncio.run(run())
