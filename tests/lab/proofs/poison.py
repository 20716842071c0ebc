"""`olo prove poison`: records that nobody should write, of each kind one, into the inbox of every entity, under a small load.

Laws: a record parks its own entity, or becomes a dead letter, and nothing else; all others are decided within their usual time;
no process ends; metrics, logs and `olo doctor` say so; `olo dead-letters` lists and shows them, and lets them go on. Behind the
mending of the flows (`faulty.py`) what waited is decided exactly once and in order, as a second run of the deciders tells; the
log, the views, ClickHouse, the clients' answers and their streams agree, and a replay leads to what was written.
"""

import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import msgspec

from infra import dead_letters
from infra.clickhouse import connect
from infra.exposition import total
from infra.kafka import read_topic
from pipelines.flows.replay import check
from schemas.log.base import Message
from schemas.log.dead_letters import PARKING, DeadCause
from schemas.log.entity import Flow
from schemas.log.topics import ENTITIES
from schemas.outbox import OUTBOX
from tests.lab.percentiles import percentile
from tests.lab.proofs.agreement import agree
from tests.lab.proofs.brokers import examine
from tests.lab.proofs.faulty import FaultyStage
from tests.lab.proofs.ledger import Json
from tests.lab.proofs.load import Load, Wait
from tests.lab.proofs.poisons import (
    HELD_COINS,
    PUSHES,
    Poured,
    Victim,
    is_poison,
    pour,
    records_of,
    strangers,
    to_dispatch,
    victims,
    woken,
)
from tests.lab.proofs.replay import judge
from tests.lab.proofs.verdict import verdict

Tell = Callable[[str], None]
PUSH_TOKEN: Final = "push-token"
CLIENTS: Final = 3
STREAMS: Final = 6
USERS: Final = 12
PAUSE_S: Final = 0.1
# A median wait of so many times the usual one, and of a tenth of a second at least, is not the usual one.
NEAR_TIMES: Final = 3.0
LEAST_S: Final = 0.1
# What is not seen within so long never is.
SEEN_S: Final = 60.0
# A command of a person, whose Python alone takes a while to start on a busy machine.
COMMAND_S: Final = 180.0
PROCESSES: Final = 2
# Ordinary things to do, a flow each; money is asked for by the load.
ASKS: Final = {
    Flow.LIVE: ("/v1/profile", {"name": "Ann"}),
    Flow.GROWTH: ("/v1/tracking", {"consents": ["ads"]}),
}


class Plan(NamedTuple):
    """How often all of it is written, how long apart and for how long nothing was written before; whether all is replayed."""

    rounds: int = 3
    seconds: float = 15.0
    replays: bool = True
    seed: int = 1


class Neighbours:
    """Who does ordinary things all the time, and how long each has taken: `waits`, by flow."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.waits: dict[Flow, list[Wait]] = {Flow.MONEY: load.waits, **{flow: [] for flow in ASKS}}
        self.wrong: Counter[str] = Counter()
        self._finished = False

    async def run(self) -> None:
        """Until `finish`."""
        await asyncio.gather(self.load.run(CLIENTS, STREAMS), *map(self._go_on, ASKS))

    def finish(self) -> None:
        """No new requests from now on."""
        self._finished = True
        self.load.finish()

    async def _go_on(self, flow: Flow) -> None:
        path, body = ASKS[flow]
        async with httpx.AsyncClient(base_url=self.load.url, timeout=10, trust_env=False) as client:
            for user in itertools.cycle(self.load.users):
                headers, began = {"Authorization": f"Bearer {self.load.tokens[user]}"}, time.monotonic()
                while (answer := await client.put(path, json=body, headers=headers)).status_code in (202, 503):
                    await asyncio.sleep(0.1)
                self.waits[flow].append(Wait(began, time.monotonic() - began))
                if answer.status_code != 200:
                    self.wrong[f"PUT {path} answers {answer.status_code}: {answer.text[:100]}"] += 1
                await asyncio.sleep(PAUSE_S)
                if self._finished:
                    return


class Trial:
    """One platform, its neighbours, and what is written into it; what is `broken`."""

    def __init__(self, stage: FaultyStage, neighbours: Neighbours, tell: Tell) -> None:
        self.stage = stage
        self.neighbours = neighbours
        self.config = stage.config
        self.broken: list[str] = []
        self.victims: list[Victim] = []
        self.poured: list[Poured] = []
        self.pushes = 0
        self._tell = tell
        self._lives = self._pids()

    def _pids(self) -> dict[str, tuple[int, int]]:
        return {child["role"]: (child["pid"], len(child["died"])) for child in self.stage.endpoints["children"]}

    def _law(self, held: object, text: str) -> None:
        if not held:
            self.broken.append(text)

    def _eventually(self, seen: Callable[[], object], text: str) -> None:
        deadline = time.monotonic() + SEEN_S
        while not seen():
            if time.monotonic() > deadline:
                self.broken.append(text)
                return
            time.sleep(0.2)

    # --- what is written -------------------------------------------------------------------------------------------------

    def pour(self, number: int) -> None:
        """Everything once, and wait until every record has become what it must."""
        fresh = [*victims(number), woken(number)]
        records = [one for entity in ENTITIES for one in strangers(entity, number)]
        records += [*to_dispatch(number), *(one for victim in fresh[:-1] for one in records_of(victim))]
        records += [one._replace(cause=None) for one in records_of(fresh[-1])]  # its wake is what fails
        self.poured += pour(self.config, records)
        self.victims += fresh
        url = f"{self.stage.http}/v1/webhooks/appsflyer"
        for body in PUSHES:
            status = httpx.post(url, content=body, headers={"X-AppsFlyer-Token": PUSH_TOKEN}, timeout=10).status_code
            self._law(400 <= status < 500, f"the push {body[:20]!r} is answered {status}")
            self.pushes += 1
        due = {one.place: one.poison.cause for one in self.poured if one.poison.cause}
        self._eventually(lambda: due.keys() <= self._letters().keys(), "not every record has its dead letter")
        parked = {(victim.entity.inbox, victim.key.encode()) for victim in self.victims}
        self._eventually(lambda: parked <= self._parked(), "not every victim is parked")

    def _letters(self) -> dict[str, DeadCause]:
        return {letter.id: letter.cause for letter in dead_letters.letters(self.config)}

    def _parked(self) -> set[tuple[str, bytes]]:
        return {(inbox, key) for inbox, _, key in dead_letters.parked(self.config)}

    # --- what must be seen -----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Each record has become what it must, and nothing else has happened."""
        found = self._letters()
        for one in self.poured:
            place, due = one.place, one.poison.cause
            became = found.pop(place, None)
            self._law(became == due, f"{place}, {one.poison.kind}: due {due}, found {became}")
        pushes = sum(cause is DeadCause.WEBHOOK_INVALID for cause in found.values())
        wakes = sum(cause is DeadCause.DECIDER_FAILED for cause in found.values())
        woken_ones = sum("-woken-" in victim.key for victim in self.victims)
        self._law((pushes, wakes) == (self.pushes, woken_ones), f"{pushes} of {self.pushes} pushes, {wakes} wakes are kept")
        self._law(len(found) == pushes + wakes, f"there are letters of others: {dict(Counter(found.values()))}")
        due_parked = {(victim.entity.inbox, victim.key.encode()) for victim in self.victims}
        wrongly = self._parked() ^ due_parked
        self._law(not wrongly, f"parked, and should not be, or the other way round: {wrongly}")
        kinds = Counter(one.poison.kind for one in self.poured)
        self._tell(
            f"  {len(self.poured):,} records of {len(kinds)} kinds, {self.pushes} pushes; {len(self.victims)} entities wait"
        )

    def same_processes(self) -> None:
        """None has ended by itself."""
        for role, life in self._pids().items():
            self._law(life == self._lives[role], f"{role} has ended: pid and deaths {self._lives[role]}, now {life}")

    def alarm(self) -> None:
        """Metrics, logs, the doctor and the list name it."""
        parked = 0.0
        for flow in (*Flow, "dispatch"):
            child = self.stage.child(f"{flow}-0")
            told, log = httpx.get(child["url"], timeout=10).text, Path(child["log"]).read_text(errors="replace")
            parked += total(told, "olo_parked_entities")
            self._law(total(told, "olo_dead_letters_total"), f"{flow} counts no dead letters")
            said = "parks an entity" if flow != "dispatch" else "is passed over"
            self._law(said in log, f"the log of {flow} does not say: {said}")
        self._law(parked == len(self.victims), f"the metrics say that {parked:.0f} entities wait, {len(self.victims)} do")
        place = self._first(self.victims[0])
        with ThreadPoolExecutor(3) as pool:  # most of each command's time is its start
            examined = pool.submit(examine, self.stage)
            listed, shown = pool.map(lambda arguments: self._olo(*arguments), (("list",), ("show", place)))
        findings = examined.result().told.splitlines()
        self._law(any(line.startswith("no") and "parked entities" in line for line in findings), "the doctor is silent")
        causes = {one.poison.cause for one in self.poured if one.poison.cause}
        self._law(all(cause in listed for cause in causes), "`olo dead-letters list` does not name every cause")
        waiting = len(self.victims[0].messages)
        due = f"a redrive would decide {waiting} of {waiting} records"
        self._law(due in shown, f"`olo dead-letters show` does not say that {due}: {shown[-300:]}")

    def _olo(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "infra.cli", "dead-letters", *arguments]
        environment = self.stage.environment | {"COLUMNS": "400"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=COMMAND_S)
        return done.stdout + done.stderr

    def _first(self, victim: Victim) -> str:
        """Where the record stands that a victim waits for."""
        return next(
            letters[0].id
            for (inbox, _, key), letters in dead_letters.parked(self.config).items()
            if (inbox, key) == (victim.entity.inbox, victim.key.encode())
        )

    # --- how they go on --------------------------------------------------------------------------------------------------

    def redrive_too_early(self) -> None:
        """A redrive before the mending leaves all as it was, and letters of strangers' records come again at new places."""
        before, victim = self._letters(), self.victims[0]
        dead_letters.redrive(self.config, self._first(victim))
        of_cause = {
            cause: place for place, cause in before.items() if cause not in PARKING and not place.startswith("webhooks.")
        }
        placed = {dead_letters.redrive(self.config, place).rpartition(" ")[2]: cause for cause, place in of_cause.items()}
        self._eventually(lambda: placed.items() <= self._letters().items(), "a record that was written again has no letter")
        self._law(not of_cause.items() & {(c, p) for p, c in self._letters().items()}, "a letter was not settled")
        dropped = next(iter(placed))
        dead_letters.drop(self.config, dropped)
        self._law(dropped not in self._letters(), "a letter that was dropped is on the list")
        self._law((victim.entity.inbox, victim.key.encode()) in self._parked(), "a redrive before the mending let one go")

    def mend(self) -> None:
        """Start the flows again, without the faults, as whoever deploys a mended version."""
        self.stage.mend()
        old = {flow: self.stage.child(f"{flow}-0")["pid"] for flow in Flow}
        for pid in old.values():
            os.kill(pid, signal.SIGTERM)
        self._eventually(
            lambda: all(self.stage.child(f"{flow}-0")["pid"] not in (pid, None) for flow, pid in old.items()),
            "the flows were not started again",
        )

    def let_go(self) -> None:
        """Skip one, drop one, redrive all others; what each has decided is what a well entity decides."""
        skipped, dropped = self.victims[0], self.victims[1]
        dead_letters.skip(self.config, self._first(skipped))
        dead_letters.drop(self.config, self._first(dropped))
        self._eventually(lambda: len(self._parked()) == len(self.victims) - 2, "a skip and a drop let nobody go")
        said = self._olo("redrive", "--all")
        self._law(said.count("redrive: ") == len(self.victims) - 2, f"`redrive --all` names others: {said[:200]}")
        self._eventually(lambda: not self._parked(), "a redrive of all leaves some parked")
        facts = {entity: list(read_topic(self.config, entity.events)) for entity in ENTITIES if entity is not OUTBOX}
        for victim in self.victims:
            if victim.entity is not OUTBOX:
                told = [
                    msgspec.json.decode(one.value() or b"") for one in facts[victim.entity] if one.key() == victim.key.encode()
                ]
                self._decided(victim, () if victim is dropped else victim.messages[victim is skipped :], told)

    def _decided(self, victim: Victim, messages: tuple[Message, ...], told: list[Json]) -> None:
        """`messages` were decided once, and in order; whoever was asked for an answer may have answered since."""
        due = victim.expected(messages)
        # A chat's facts answer who wrote, not the message that it decides.
        ids = {message.id for message in victim.messages} | {cause for _, cause in due}
        found = [(fact["type"], fact["cause"]) for fact in told if fact["cause"] in ids]
        later = found[len(due) :]
        once = len(later) == len(set(later)) and not set(later) & set(due) and bool(messages or not found)
        self._law(found[: len(due)] == due and once, f"{victim.key}: decided {found}, due {due}")
        if "-woken-" in victim.key:
            wakes = [fact["held_change_coins"] for fact in told if fact["cause"].startswith(f"{victim.key}@")]
            self._law(wakes == [-HELD_COINS], f"{victim.key}: its wake has led to {wakes}")

    def stored(self) -> None:
        """Every record that analysts may see is in ClickHouse, once."""
        private = tuple(f"{entity.inbox}/" for entity in ENTITIES if entity.private)
        due = {one.place for one in self.poured if not one.place.startswith(private)}
        question = (
            "SELECT concat(topic, '/', toString(partition), '/', toString(offset)) FROM log WHERE topic IN {t:Array(String)}"
        )
        topics = sorted({one.poison.topic for one in self.poured})
        with closing(connect(self.stage.clickhouse)) as client:

            def missing() -> set[str]:
                return due - {row[0] for row in client.query(question, parameters={"t": topics}).result_rows}

            self._eventually(lambda: not missing(), f"ClickHouse lacks some of {len(due)} records")

    def usual(self, before: tuple[float, float], while_: tuple[float, float]) -> None:
        """Everybody else was decided within their usual time."""
        for flow, waits in self.neighbours.waits.items():
            was, is_ = (sorted(wait.seconds for wait in waits if since <= wait.at < until) for since, until in (before, while_))
            if not was or not is_:
                self.broken.append(f"{flow}: nobody asked for anything")
                continue
            p50, p99 = ((percentile(was, p), percentile(is_, p)) for p in (50, 99))
            self._tell(
                f"  {flow:<7} p50 {p50[0] * 1e3:5.0f} ms before, {p50[1] * 1e3:5.0f} meanwhile ({p50[1] / p50[0]:.2f} times), "
                f"p99 {p99[0] * 1e3:5.0f}, {p99[1] * 1e3:5.0f} ({p99[1] / p99[0]:.2f} times), of {len(was)} and {len(is_)}"
            )
            slow = statistics.median(is_) > max(LEAST_S, NEAR_TIMES * statistics.median(was))
            self._law(not slow, f"{flow}: others waited {p50[1] / p50[0]:.1f} times as long")


async def _run(trial: Trial, plan: Plan) -> None:
    neighbours, tell = trial.neighbours, trial._tell
    await neighbours.load.sign_up()
    living = asyncio.create_task(neighbours.run())
    await asyncio.sleep(plan.seconds / 3)
    before = (time.monotonic(), time.monotonic() + plan.seconds)
    await asyncio.sleep(plan.seconds)
    began = time.monotonic()
    for number in range(plan.rounds):
        tell(f"  poison, {number + 1} of {plan.rounds}")
        round_ends = time.monotonic() + plan.seconds
        await asyncio.to_thread(trial.pour, number)
        await asyncio.sleep(max(0.0, round_ends - time.monotonic()))
    trial.usual(before, (began, time.monotonic()))
    for step in (
        trial.look,
        trial.alarm,
        trial.redrive_too_early,
        trial.same_processes,
        trial.mend,
        trial.let_go,
        trial.stored,
    ):
        step_began = time.monotonic()
        await asyncio.to_thread(step)
        tell(f"  {(step.__doc__ or '').strip().splitlines()[0]} {time.monotonic() - step_began:.1f} s")
    neighbours.finish()
    await living
    trial.broken += [f"{times} times: {what}" for what, times in neighbours.wrong.items()]


def prove(plan: Plan, tell: Tell) -> int:
    """Run the proof; the number of broken laws."""
    folder = Path(tempfile.mkdtemp(prefix="olo-poison-"))
    began = time.monotonic()
    tell("starting a platform of its own, whose flows have faults built in ...")
    stage = FaultyStage(folder, OLO_APPSFLYER_PUSH_TOKEN=PUSH_TOKEN)
    try:
        load = Load(stage.http, "demo-olo", USERS, plan.seed, pause_s=PAUSE_S)
        trial = Trial(stage, Neighbours(load), tell)
        tell(f"ready after {time.monotonic() - began:.0f} s; load: {CLIENTS} clients of money, {len(ASKS)} of the other flows")
        asyncio.run(_run(trial, plan))
        tell("auditing the log, the views, ClickHouse, the clients' answers and the streams ...")
        broken, counts = agree(stage, load, left_out=is_poison)
        broken = trial.broken + broken
        if plan.replays:
            tell("deciding all recorded inboxes once more, but the outbox's, whose facts are not all its own ...")
            replayed = time.monotonic()
            whole = [entity for entity in ENTITIES if entity is not OUTBOX]
            if differ := judge(sorted(check(stage.config, PROCESSES, whole)), time.monotonic() - replayed, tell):
                broken.append(f"replay is not live: {differ} partitions differ")
    finally:
        stage.stop()
    tell("counts: " + ", ".join(f"{name} {number:,}" for name, number in counts.items() if number))
    return verdict(broken, folder, f"every law held, after {time.monotonic() - began:.0f} s", tell)
