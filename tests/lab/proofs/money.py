"""`olo prove money`: a platform of its own under load, killed at random, then audited to the coin.

At least two money processes and one serving process under concurrent HTTP clients with retries, buyers at a store that takes
back, in part, and gives back, in any order and more than once, streamers who are paid out by two of finance and a bank, and a
small city whose people call each other, give gifts and block, buy at both stores, subscribe, belong to agencies, and are paid
by a bank and by a provider that stumbles; kill -9 of money, live, dispatch, store and serving processes, and one of the broker;
then all flows stand still for a while, in the middle of calls. The states on disk of a killed flow are kept, deleted, cut off,
or put back from an older copy. Afterwards the log, the views, ClickHouse, the books of stores, provider and bank, what clients
were told and what phones saw must agree, and all recorded inboxes, decided once more, must lead to what was written, byte for
byte."""

import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from rich.console import Console

from infra.exposition import total
from pipelines.flows.replay import check
from tests.lab.city.books import Books
from tests.lab.city.market import Market, MarketServer
from tests.lab.city.town import City
from tests.lab.city.town import Plan as People
from tests.lab.proofs.agreement import agree, reader_of
from tests.lab.proofs.buyers import Buyers
from tests.lab.proofs.harm import Harm
from tests.lab.proofs.load import Load
from tests.lab.proofs.payees import SETTINGS, Payees
from tests.lab.proofs.payouts import PayoutAudit, broken_payments, broken_steps
from tests.lab.proofs.purchases import broken_consumptions, broken_purchases
from tests.lab.proofs.replay import judge
from tests.lab.proofs.shares import broken_shares
from tests.lab.proofs.subscriptions import broken_subscriptions
from tests.lab.proofs.verdict import verdict
from tests.lab.stage import Stage

Tell = Callable[[str], None]
VICTIMS = ("money", "money", "live", "live", "growth", "dispatch", "store", "serving")
FLOWS = ("money", "live", "growth", "store", "dispatch")
# Partitions that are decided once more side by side.
PROCESSES = 2
# What the store was told is noted, moves its coins behind that: the streams end when all of it is there.
SETTLED_S = 15.0
# A phone tries so long; longer than the flows stand still.
PATIENCE_S = 300.0


class Plan(NamedTuple):
    """How hard: kills (one more for the broker), clients at once, watching streams, users, money processes, which victims when,
    people in the city, users who buy, how long all flows stand still."""

    kills: int = 18
    clients: int = 24
    streams: int = 40
    users: int = 60
    money: int = 2
    seed: int = 1
    people: int = 14
    buyers: int = 8
    outage_s: float = 120.0


class Recovery(NamedTuple):
    """One kill: which role, how long until its next process worked again, and what had happened to its states meanwhile."""

    role: str
    seconds: float
    harm: str = ""


async def kill(stage: Stage, role: str, harm: Callable[[], str] = lambda: "") -> Recovery:
    """kill -9 a child; before it is started again, do harm; wait until its next process works: decides, stores, answers, or
    takes connections. A child that has ended by itself, and is about to be started again, is waited for."""
    victim = await _alive(stage, role)
    began = time.time()
    stage.process.send_signal(signal.SIGSTOP)  # nobody starts it again yet
    try:
        os.kill(victim["pid"], signal.SIGKILL)
        harmed = harm()
    finally:
        stage.process.send_signal(signal.SIGCONT)
    deadline = began + 60
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        while time.time() < deadline:
            await asyncio.sleep(0.02)
            now = stage.child(role)
            if now["pid"] in (victim["pid"], None):
                continue
            at = await _working_since(client, role, now["url"])
            if at is not None:
                return Recovery(role, at - began, harmed)
    return Recovery(role, float("inf"), harmed)


async def _alive(stage: Stage, role: str) -> dict[str, Any]:
    for _ in range(600):
        if stage.child(role)["pid"] is not None:
            break
        await asyncio.sleep(0.1)
    return stage.child(role)


async def _working_since(client: httpx.AsyncClient, role: str, url: str) -> float | None:
    """Unix time since when a process works, None while it does not."""
    try:
        if role == "broker":
            host, _, port = url.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return time.time()
        if role.startswith("serving"):
            return time.time() if (await client.get(f"{url}/readyz")).status_code == 200 else None
        return total((await client.get(url)).text, "olo_working_since_seconds") or None
    except (httpx.HTTPError, OSError):
        pass
    return None


async def _fire(stage: Stage, plan: Plan, load: Load, tell: Tell) -> list[Recovery]:
    """Kill at random while the load runs; the broker once, halfway."""
    chance = random.Random(plan.seed)
    slots = {"money": plan.money, "live": 1, "growth": 1, "dispatch": 1, "store": 1, "serving": 1}
    recoveries: list[Recovery] = []
    harm = Harm(stage.home, plan.seed)
    for number in range(plan.kills + 1):
        await asyncio.sleep(0.5 + chance.random() * 1.5)
        if number == plan.kills // 4:
            await asyncio.to_thread(harm.copy)
        name = chance.choice(VICTIMS)
        role = "broker" if number == plan.kills // 2 else f"{name}-{chance.randrange(slots[name])}"
        recovery = await kill(stage, role, lambda name=name: harm.do(name))  # type: ignore[misc]
        recoveries.append(recovery)
        harmed = f", {recovery.harm}" if recovery.harm else ""
        tell(f"  kill {number + 1:2}/{plan.kills + 1}  {role:<10} works again after {recovery.seconds:5.2f} s, "
             f"{len(load.told):,} requests answered{harmed}")  # fmt: skip
        if role == "broker":
            await asyncio.sleep(3)
    return recoveries


async def _stand_still(stage: Stage, seconds: float, tell: Tell) -> None:
    """Freeze every flow at once, as a machine that hangs does; they wake as zombies, whom the broker has given up."""
    flows = [child["role"] for child in stage.endpoints["children"] if child["role"].rpartition("-")[0] in FLOWS]
    pids = [(await _alive(stage, role))["pid"] for role in flows]
    tell(f"  all {len(pids)} flows stand still for {seconds:.0f} s, in the middle of calls")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(10)


class Witnesses(NamedTuple):
    """Who was there: the clients of money, the city and its books, the buyers among the clients' users, the
    streamers who are paid, the market of the city."""

    load: Load
    city: City
    books: Books
    buyers: Buyers | None = None
    payees: Payees | None = None
    market: Market | None = None

    @property
    def unfinished(self) -> list[str]:
        """What was given up for want of an answer."""
        asking = [one.given_up for one in (self.buyers, self.payees) if one is not None]
        return [*self.city.sights.unfinished, *(line for lines in asking for line in lines)]


async def _run(stage: Stage, plan: Plan, market: MarketServer, tell: Tell) -> tuple[Witnesses, list[Recovery]]:
    load = Load(stage.http, "demo-olo", plan.users, plan.seed)
    await load.sign_up()
    payees = Payees(stage.http, "demo-olo", plan.seed)
    await payees.move_in()
    evening = asyncio.Event()
    people = People(plan.people, 0, plan.seed, PATIENCE_S, talks=False)
    city = City(stage.http, stage.config, people, Console(quiet=True), market=market.url)
    living = asyncio.create_task(city.run(evening))
    await city.moved_in.wait()
    running = asyncio.create_task(load.run(plan.clients, plan.streams))
    tokens = {user: load.tokens[user] for user in load.users[: plan.buyers]}
    buyers = Buyers(stage.http, market.market.apple, tokens, load.admin, plan.seed)
    trading = [asyncio.create_task(buyers.run()), asyncio.create_task(payees.run())]
    recoveries = await _fire(stage, plan, load, tell)
    await asyncio.sleep(2)
    buyers.finish()
    payees.finish()
    await asyncio.gather(*trading)
    await asyncio.sleep(SETTLED_S)
    load.finish()
    await running
    await _stand_still(stage, plan.outage_s, tell)
    evening.set()
    return Witnesses(load, city, await living, buyers, payees, market.market), recoveries


def audit(stage: Stage, seen: Witnesses) -> tuple[list[str], dict[str, int]]:
    """What is broken, and the counts."""
    sights = seen.city.sights
    others = sights.grants | (seen.payees.transfers if seen.payees is not None else set())
    broken, counts = agree(stage, seen.load, others)
    counts["entries seen by the city"] = seen.books.sums["entries seen"]
    read = reader_of(stage.config)
    if seen.buyers is not None:
        books = seen.buyers.books
        broken += [*seen.buyers.broken(read), *broken_purchases(read)]
        counts |= {"purchases": len(books), "purchases taken back": sum(bool(sold.revoked) for sold in books.values())}
    if seen.payees is not None:
        of_city = seen.city.trade.payees if seen.city.trade is not None else ()
        payouts = PayoutAudit(read, [*seen.payees.streamers, *of_city])
        broken += [*seen.payees.broken(read), *payouts.broken(), *broken_steps(stage.config, payouts)]
        counts |= {"payouts": len(payouts.steps), "large sums": len(seen.payees.wanted), "batches": len(seen.payees.sums)}
    if seen.market is not None:
        provider = seen.market.provider
        broken += [*broken_payments(read, provider.paid, provider.changed), *broken_shares(read), *broken_consumptions(read)]
        broken += broken_subscriptions(read)
        if not provider.paid:
            broken.append("the provider paid nobody: the proof proves nothing of it")
        told = ("sales", "subscriptions", "consumed", "payouts paid", "coins shared", "cents by provider and bank")
        counts |= {f"the city's {name}": seen.books.sums[name] for name in told}
    return [*broken, *sights.errors, *seen.books.broken], counts


def prove(plan: Plan, tell: Tell) -> int:
    """Run the proof; the number of broken laws."""
    folder = Path(tempfile.mkdtemp(prefix="olo-proof-"))
    tell(f"starting a platform of its own: {plan.money} money processes, 1 store, 1 serving ...")
    market = MarketServer(folder / "market")
    stage = Stage(folder, OLO_MONEY_PROCESSES=str(plan.money), **(market.settings | SETTINGS))
    try:
        tell(f"load: {plan.clients} clients, {plan.streams} streams, a city of {plan.people}")
        tell(f"{plan.kills} kills -9, and the broker once; then all flows stand still for {plan.outage_s:.0f} s")
        began = time.monotonic()
        seen, recoveries = asyncio.run(_run(stage, plan, market, tell))
        took = time.monotonic() - began
        tell("auditing the log, the views, ClickHouse, the clients' answers and the streams ...")
        broken, counts = audit(stage, seen)
        tell("deciding all recorded inboxes once more ...")
        began = time.monotonic()
        if differ := judge(sorted(check(stage.config, PROCESSES)), time.monotonic() - began, tell):
            broken.append(f"replay is not live: {differ} partitions differ")
    finally:
        stage.stop()
        market.close()
    _report(seen, recoveries, counts, took, tell)
    return verdict(broken, folder, "every law held", tell, seen.unfinished)


def _report(seen: Witnesses, recoveries: list[Recovery], counts: dict[str, int], took: float, tell: Tell) -> None:
    load, sights = seen.load, seen.city.sights
    tell(f"the city: calls ended {dict(sights.ended.most_common())}, answers {dict(sights.statuses.most_common())}")
    if seen.buyers is not None:
        tell(f"the store and its buyers: answers {dict(seen.buyers.told.most_common())}")
    if seen.payees is not None:
        tell(f"payees, finance and the bank: answers {dict(seen.payees.told.most_common())}")
    tell(f"{took:.0f} s under fire, answers {dict(load.statuses.most_common())}")
    tell("counts: " + ", ".join(f"{name} {number:,}" for name, number in counts.items()))
    for name in ("money", "live", "growth", "dispatch", "store", "serving", "broker"):
        times = sorted(r.seconds for r in recoveries if r.role.startswith(name))
        if times:
            middle, worst = times[len(times) // 2], times[-1]
            tell(f"recovery of {name:<8} {len(times):2} kills, median {middle:.2f} s, worst {worst:.2f} s")
    tell(load.waited)
