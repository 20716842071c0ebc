"""The timetable in the simulator: jobs of every kind are put, replaced, paused, resumed, run and taken off, beside crashes,
lost commits, outages of hours and clocks that step; a stand-in for dispatch plans, and ends chores late, badly or twice.

Laws: the log is the fold of its inboxes; each planned instant of a version is decided once, until that version goes: it fires,
or is told as not made; each fire that starts ends, once; a command is told once for each fire; no version fires beside a newer
one; while a job is paused, nothing fires but by staff; one chore of a job runs at a time.

`python -m tests.lab.simulated_timetable 2000` plays so many seeds and prints the counts.
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from infra.cron import plan_of
from pipelines.flows.deciders import decider_of
from pipelines.runtime.core import Output, Written
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step
from schemas.gift import GIFT_ITEM, PutGiftItem
from schemas.log import topics
from schemas.log.base import Fact, Message
from schemas.log.codec import decoder_of, encode, state_decoder
from schemas.log.entity import DEFAULT_PARTITIONS, partition_of
from schemas.outbox import OUTBOX, AttemptOutcome, EffectDue, EffectKind, ReportAttempt
from schemas.timetable import (
    TIMETABLE,
    Definition,
    FireEnded,
    FireOutcome,
    FireStarted,
    JobOffTimetable,
    JobOnTimetable,
    JobPaused,
    JobPlanned,
    JobResumed,
    Overlap,
    PauseJob,
    PutJobOnTimetable,
    ResumeJob,
    RunJob,
    TakeJobOffTimetable,
    Timetable,
    fire_id,
)
from schemas.timetable_plan import CatchUp, PlanWanted, Schedule
from tests.lab.simulated_growth import unfolded
from tests.lab.simulated_money import report

SENDS = 40
JOBS = ("a", "b", "c")
DECIDERS = tuple(map(decider_of, (TIMETABLE, OUTBOX, GIFT_ITEM)))
SCHEDULES = (
    Schedule("*/5 * * * *"),
    Schedule("30 2 * * *", "Europe/Berlin"),
    Schedule("0 * * * *", "America/New_York"),
    Schedule(every_s=20, at=EPOCH),
    Schedule(every_s=7_000, at=EPOCH),
    Schedule(at=EPOCH + timedelta(minutes=40)),
)
NOT_MADE = frozenset({FireOutcome.MISSED, FireOutcome.SUPERSEDED})
Place = tuple[str, int]


def record_of(message: Message) -> Output:
    """A command as the log has it."""
    (route,) = topics.routes()[type(message)]
    key = route.key(message).encode()
    return Output(route.topic, partition_of(key, route.partitions), key, encode(message))


class Answered(Log):
    """A log with a dispatch: each effect that is due is reported later, some twice, by the clock of then."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(7)
        self._decode = decoder_of(OUTBOX.facts)
        self._waits: list[tuple[datetime, EffectDue]] = []

    def commit(self, outputs: Sequence[Written]) -> None:
        """One transaction, and behind it the reports whose time has come."""
        super().commit(outputs)
        for topic, _, _, value in outputs:
            if topic == OUTBOX.events and isinstance(due := self._decode(value or b""), EffectDue):
                takes = self._chance.choice((0, 1, 400)) if due.kind is EffectKind.CHORE else self._chance.choice((0, 0, 30))
                times = 2 if self._chance.random() < 0.1 else 1
                self._waits += [(self.time + timedelta(seconds=takes), due)] * times
        self._answer()

    def pass_to(self, time: datetime) -> None:
        """Reports come as time passes, too."""
        super().pass_to(time)
        self._answer()

    def _answer(self) -> None:
        now = [due for at, due in self._waits if at <= self.time]
        self._waits = [(at, due) for at, due in self._waits if at > self.time]
        self.append([record_of(self._report(due)) for due in now])

    def _report(self, due: EffectDue) -> ReportAttempt:
        outcome, plan = AttemptOutcome.ACCEPTED, None
        if due.wanted is not None:
            plan = plan_of(due.wanted, self.time)
        elif self.time > due.expires_at or self._chance.random() < 0.2:
            outcome = self._chance.choice((AttemptOutcome.FAILED, AttemptOutcome.REFUSED))
        return ReportAttempt(
            id=f"{due.id}/report", at=self.time, effect=due.effect, attempt=due.attempt, outcome=outcome, plan=plan
        )  # fmt: skip


def workload(chance: random.Random) -> Iterator[Output | Step]:
    """Staff does everything to three jobs; now and then nobody works for two hours, or the clock steps back."""
    at = EPOCH
    for n in range(SENDS):
        seconds = chance.choices((chance.expovariate(1 / 40), 7_200.0, -30.0), (90, 4, 6))[0]
        at += timedelta(seconds=seconds)
        yield Step("pass", seconds=seconds)
        yield record_of(said(chance, f"m{n}", at + timedelta(seconds=chance.choice((0, 0, 0, -5, 5)))))


def said(chance: random.Random, name: str, at: datetime) -> Message:
    """One command of staff, by chance."""
    job = chance.choice(JOBS)
    orders = (TakeJobOffTimetable, PauseJob, ResumeJob, RunJob)
    if chance.random() < 0.6:
        return chance.choices(orders, (5, 12, 18, 25))[0](id=name, at=at, job=job, by="root")
    schedule = chance.choice(SCHEDULES)
    work = (
        {"chore": "quality"}
        if chance.random() < 0.5
        else {"command": "PutGiftItem", "template": '{"item":"{fire}","price_coins":10,"share_coins":4}'}
    )
    definition = Definition(
        schedule, **work, overlap=chance.choice(list(Overlap)), catch_up=chance.choice(list(CatchUp)),
        window_s=chance.choice((0, 300, 3_600)), limit_s=chance.choice((60, 3_600)), paused=chance.random() < 0.1,
    )  # fmt: skip
    plan = plan_of(PlanWanted(0, schedule, at), at)
    return PutJobOnTimetable(id=name, at=at, job=job, definition=definition, plan=plan, by="root")


# --- laws -------------------------------------------------------------------------------------------------------------------


class _Book:
    """What the facts of one job say, in their order."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.version = 0
        self.paused = ""
        self.runs: Place | None = None
        self.broken: list[str] = []
        self.started: Counter[tuple[int, datetime]] = Counter()
        self.ended: Counter[tuple[int, datetime]] = Counter()
        self.sent: list[str] = []
        self.planned: dict[int, set[datetime]] = defaultdict(set)
        self.not_made: dict[int, list[FireEnded]] = defaultdict(list)
        self.went_at: dict[int, datetime] = {}
        self.was_paused: set[int] = set()
        self.running: list[tuple[int, datetime]] = []

    def take(self, fact: Fact) -> None:
        """One fact."""
        match fact:
            case JobOnTimetable() | JobOffTimetable():
                if self.version:
                    self.went_at[self.version] = fact.at
                self.version = fact.version if isinstance(fact, JobOnTimetable) else 0
                self.paused = "put" if isinstance(fact, JobOnTimetable) and fact.definition.paused else ""
                self.was_paused |= {fact.version} if self.paused else set()
            case JobPaused():
                self.paused = self.paused or fact.cause
                self.was_paused.add(fact.version)
            case JobResumed():
                self.paused = ""
            case JobPlanned():
                self.planned[fact.version] |= set(fact.instants)
            case FireStarted():
                self._start(fact)
            case FireEnded():
                self._end(fact)

    def _start(self, fact: FireStarted) -> None:
        fire = (fact.version, fact.instant)
        self.started[fire] += 1
        if fact.version != self.version:
            self.broken.append(f"{self.job}/{fact.version} fires beside {self.version}")
        if self.paused not in ("", fact.cause) and not fact.manual:
            self.broken.append(f"{self.job} fires at {fact.instant} while it is paused")
        if fact.chore:
            if self.running:
                self.broken.append(f"{self.job}: {fire} runs beside {self.running}")
            self.running.append(fire)

    def _end(self, fact: FireEnded) -> None:
        fire = (fact.version, fact.instant)
        self.ended[fire] += fact.outcome not in NOT_MADE
        if fact.outcome is FireOutcome.SENT:
            self.sent.append(f"fire/{fire_id(self.job, *fire)}")
        if fact.outcome in NOT_MADE:
            self.not_made[fact.version].append(fact)
        if fire in self.running:
            self.running.remove(fire)

    def settle(self, end: datetime, state: Timetable | None) -> list[str]:
        """What is broken in the end; what still runs or waits is decided as far as that goes."""
        if state is not None and state.run is not None:
            self.ended[state.run.version, state.run.instant] += 1
        for waits in state.queue if state is not None else ():
            self.ended[self.version, waits.instant] += 1
        if state is not None and state.owed is not None:
            self.ended[self.version, state.owed] += 1
        broken = [f"{self.job}: {fire} started {n} times" for fire, n in self.started.items() if n > 1]
        broken += [f"{self.job}: {fire} ended {n} times" for fire, n in self.ended.items() if n > 1]
        broken += [f"{self.job}: {fire} started and did not end" for fire in self.started.keys() - (+self.ended).keys()]
        for version, instants in self.planned.items():
            until = self.went_at.get(version, end - timedelta(seconds=1))
            for instant in instants:
                times = self.ended[version, instant]
                times += sum(one.instant <= instant <= one.last for one in self.not_made[version])
                allowed = (0, 1) if version in self.was_paused or instant > until else (1,)
                if times not in allowed:
                    broken.append(f"{self.job}/{version}: {instant} was decided {times} times")
        return self.broken + broken


def laws(log: Log) -> list[str]:
    """What is broken."""
    broken = unfolded(log.read, DECIDERS)
    decode, books = decoder_of(TIMETABLE.facts), {job: _Book(job) for job in JOBS}
    for _, _, key, value in log.read(TIMETABLE.events):
        fact = decode(value or b"")
        assert isinstance(fact, Fact)
        books[key.decode()].take(fact)
    read, states = state_decoder(Timetable), dict[str, Timetable]()
    for _, _, key, value in log.read(TIMETABLE.changelog):
        states[key.decode()] = read(value or b"")
    for name, book in books.items():
        broken += book.settle(log.time, states.get(name))
    heard = decoder_of(topics.hears(GIFT_ITEM))
    told = [one.id for *_, value in log.read(GIFT_ITEM.inbox) if isinstance(one := heard(value or b""), PutGiftItem)]
    if sorted(told) != sorted(fire for book in books.values() for fire in book.sent):
        broken.append("the commands that were told are not those of the fires")
    dead = sum(1 for _ in log.read("dead_letters"))
    return [*broken, f"{dead} dead letters"] if dead else broken


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS, log=Answered)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
