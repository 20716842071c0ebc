"""`olo prove overload`: a platform of its own with a city and clients of money, and busy loops beside it on all cores.

Laws: no process of the platform ends; nothing is lost, as the audit of `olo prove money` tells (the books, the log, the views,
ClickHouse, every client's answer); what cannot be decided in time is put off, with 202 or 503; behind the loops the flows' lag
and the wait for a grant are near those of the same run's beginning within seconds.

A loop has a session of its own, as each of the platform's processes has, so that Linux gives each the same share of a core.
"""

import asyncio
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from rich.console import Console

from infra.exposition import total
from infra.machine import launch
from schemas.log.topics import ENTITIES
from tests.lab.city.town import City
from tests.lab.city.town import Plan as People
from tests.lab.proofs.load import Load, Wait
from tests.lab.proofs.money import Witnesses, audit
from tests.lab.proofs.verdict import verdict
from tests.lab.stage import Stage

Tell = Callable[[str], None]
# Phones and clients try longer than the loops last.
PATIENCE_S: Final = 300.0
# People come, and Python and Java get warm; then so long is looked at what is usual.
WARM_S: Final = 15.0
USUAL_S: Final = 15.0
LOOK_S: Final = 0.5
# A median is taken of requests that began within so many seconds.
SPAN_S: Final = 2.0
# As before: a median wait of so many times the usual one, and a lag of so many records more than the usual highest.
NEAR_TIMES: Final = 2.0
NEAR_RECORDS: Final = 100
# Behind the loops this is looked at for so long; whoever is not as before by then never is.
WATCH_S: Final = 60.0
CLIENTS: Final = 6
STREAMS: Final = 10
USERS: Final = 20
PAUSE_S: Final = 0.2


class Plan(NamedTuple):
    """How many busy loops beside how many people, for how long; within how many seconds behind that all is as before."""

    loops: int = 40
    people: int = 100
    seconds: float = 120.0
    recover_s: float = 10.0
    seed: int = 1


class Look(NamedTuple):
    """At a moment of the monotonic clock: records that all flows together are behind."""

    at: float
    lag: float


class Course(NamedTuple):
    """What was seen: when the loops began and ended, the lag all along, and what serving refused early, by inbox."""

    began: float
    ended: float
    looks: list[Look]
    refused: dict[str, int]


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing, as fast as they can."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        running += [launch([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def recovered_s(course: Course, waits: list[Wait]) -> float:
    """How long behind the loops' end lag and waits were as before, and stayed so for SPAN_S; infinite: they never were."""
    usual = [look.lag for look in course.looks if course.began - USUAL_S <= look.at < course.began]
    most = max(usual, default=0.0) + NEAR_RECORDS
    longest_s = NEAR_TIMES * median_s(waits, course.began - USUAL_S, course.began)
    for look in (one for one in course.looks if one.at >= course.ended):
        later = [one.lag for one in course.looks if look.at <= one.at < look.at + SPAN_S]
        if max(later) <= most and median_s(waits, look.at, look.at + SPAN_S) <= longest_s:
            return look.at - course.ended
    return float("inf")


def median_s(waits: list[Wait], since: float, until: float) -> float:
    """The median wait of requests that began in a span; infinite where none did."""
    return statistics.median([wait.seconds for wait in waits if since <= wait.at < until] or [float("inf")])


async def _watch(city: City, looks: list[Look]) -> None:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        while True:
            at = time.monotonic()
            lag = await city.lag(client)
            looks.append(Look(at, sum(records for flow, records in lag.items() if flow != "store")))
            await asyncio.sleep(LOOK_S)


async def _run(stage: Stage, plan: Plan, tell: Tell) -> tuple[Witnesses, Course]:
    load = Load(stage.http, "demo-olo", USERS, plan.seed, pause_s=PAUSE_S, patience_s=PATIENCE_S)
    await load.sign_up()
    evening = asyncio.Event()
    city = City(stage.http, stage.config, People(plan.people, 0, plan.seed, PATIENCE_S, talks=False), Console(quiet=True))
    living = asyncio.create_task(city.run(evening))
    await city.moved_in.wait()
    running = asyncio.create_task(load.run(CLIENTS, STREAMS))
    looks: list[Look] = []
    watching = asyncio.create_task(_watch(city, looks))
    await asyncio.sleep(WARM_S + USUAL_S)
    began, usual = time.monotonic(), _answers(city, load)
    with busy(plan.loops):
        await asyncio.sleep(plan.seconds)
        ended, under = time.monotonic(), _answers(city, load)
    tell(f"answers before the loops {usual}")
    tell(f"answers within the {ended - began:.0f} s of the loops, too {under}")
    course = Course(began, ended, looks, {})
    while time.monotonic() < ended + WATCH_S and recovered_s(course, load.waits) == float("inf"):
        await asyncio.sleep(SPAN_S)
    load.finish()
    await running
    evening.set()
    books = await living
    watching.cancel()
    text = httpx.get(f"{stage.http}/metrics", timeout=10).text
    refused = {e.inbox: int(total(text, f'olo_commands_refused_total{{inbox="{e.inbox}"}}')) for e in ENTITIES}
    return Witnesses(load, city, books), course._replace(refused={inbox: n for inbox, n in refused.items() if n})


def _answers(city: City, load: Load) -> str:
    """Answers up to now, and the codes of 503."""
    phones, clients = dict(city.sights.statuses.most_common(6)), dict(load.statuses.most_common(6))
    return f"to phones {phones} {dict(city.sights.put_off)}, to clients of money {clients} {dict(load.put_off)}"


def _ended(stage: Stage, lives: dict[str, int]) -> list[str]:
    """Processes of the platform that are others than at the beginning."""
    return [
        f"{child['role']} has ended by itself: pid {lives[child['role']]}, now {child['pid']}, see {child['log']}"
        for child in stage.endpoints["children"]
        if child["pid"] != lives[child["role"]]
    ]


def prove(plan: Plan, tell: Tell) -> int:
    """Run the proof; the number of broken laws."""
    folder = Path(tempfile.mkdtemp(prefix="olo-proof-"))
    tell("starting a platform of its own ...")
    stage = Stage(folder)
    try:
        lives = {child["role"]: child["pid"] for child in stage.endpoints["children"]}
        tell(f"a city of {plan.people}, {CLIENTS} clients of money; then {plan.loops} busy loops for {plan.seconds:.0f} s")
        seen, course = asyncio.run(_run(stage, plan, tell))
        tell("auditing the log, the views, ClickHouse, the clients' answers and the streams ...")
        broken, counts = audit(stage, seen)
        broken += _ended(stage, lives)
    finally:
        stage.stop()
    took = recovered_s(course, seen.load.waits)
    if took > plan.recover_s:
        broken.append(f"as before only {took:.1f} s behind the loops' end, due within {plan.recover_s:.0f} s")
    _report(seen, course, took, tell)
    tell("counts: " + ", ".join(f"{name} {number:,}" for name, number in counts.items()))
    return verdict(broken, folder, "no process ended, nothing was lost, and all was as before", tell)


def _report(seen: Witnesses, course: Course, took: float, tell: Tell) -> None:
    waits, looks = seen.load.waits, course.looks
    for name, since, until in (
        ("before", course.began - USUAL_S, course.began),
        ("beside the loops", course.began, course.ended),
        ("in the 10 s behind them", course.ended, course.ended + 10),
    ):
        lags = [look.lag for look in looks if since <= look.at < until]
        tell(f"{name:<24} a client's wait p50 {median_s(waits, since, until):6.2f} s, "
             f"lag at most {max(lags, default=0):,.0f} records")  # fmt: skip
    tell(f"as before {took:.1f} s behind the loops' end; refused early: {course.refused or 'nothing'}")
    tell(f"the city: calls ended {dict(seen.city.sights.ended.most_common())}, "
         f"answers {dict(seen.city.sights.statuses.most_common())}")  # fmt: skip
