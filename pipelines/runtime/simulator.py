"""The simulator: the host's core over an in-memory log, with a virtual clock; one seed is one schedule.

A schedule is a list of steps: a client sends (perhaps again), a worker takes a batch and commits it, commits and dies before
it knows, dies with the batch in hand, partitions move to the other worker, time passes, all is done that there is to do. A
worker that died restores its lanes from the log. `run` plays a schedule to quiet and gives the log to the caller's laws;
`search` looks for a seed that breaks them and shrinks its schedule. The transaction is the log's: outputs and positions become
visible together, or never.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, cast

from pipelines.runtime.core import Batch, Core, Decider, Output, Take, Written
from pipelines.runtime.lane import Decision, Lane
from schemas.log.base import Fact
from schemas.log.positions import RESERVED

EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
WORKERS: Final = 2
DRIFT_S: Final = 20.0
# With more than this before them, wakes are held.
LONG_BACKLOG: Final = 4
# A week of billing a call that nobody ends takes some hundred rounds.
MAX_ROUNDS: Final = 5_000

Keyed = tuple[bytes, bytes | None]


class RestlessError(Exception):
    """Deciders tell each other the same things for ever."""


def held_to_its_word(decider: Decider, broken: list[str]) -> Decider:
    """The decider, watched: readers of their own writes rely on what a fact's type says of the state (`changes_state`). A word
    that was not kept is added to `broken`."""

    def decide(state: Any, message: Any, *common: Any) -> Decision:
        after, told = cast(Callable[..., Decision], decider.decide)(state, message, *common)
        facts = [type(one) for one in told if type(one) in decider.entity.facts]
        if facts and not any(fact.changes_state for fact in facts if issubclass(fact, Fact)) and after != state:
            names = ", ".join(fact.__name__ for fact in facts)
            broken.append(f"{type(message).__name__} changed a state of {decider.entity.name}, and told only {names}")
        return after, told

    return Decider(decider.entity, decide)


class Step(NamedTuple):
    """One step: what happens (`action`), to which worker, how many records at most; a `send` carries its record."""

    action: str
    worker: int = 0
    limit: int = 0
    send: Output | None = None
    seconds: float = 0.0


class Log:
    """Topics as lists: what a broker would hold. `append` and `commit` are atomic, as transactions are. There are no offsets of
    a group: how far an inbox was decided stands in the changelog, and nobody may need anything else."""

    def __init__(self) -> None:
        self.partitions: defaultdict[tuple[str, int], list[Keyed]] = defaultdict(list)
        self.time = EPOCH

    def pass_to(self, time: datetime) -> None:
        """The virtual clock shows this. Whoever answers what was written, as `dispatch` does, replaces it."""
        self.time = time

    def append(self, outputs: Sequence[Written]) -> None:
        for topic, partition, key, value in outputs:
            self.partitions[topic, partition].append((key, value))

    def commit(self, outputs: Sequence[Written]) -> None:
        """One transaction. Planted bugs replace this."""
        self.append(outputs)

    def read(self, topic: str) -> Iterator[tuple[int, int, bytes, bytes | None]]:
        """All records of a topic but those under reserved keys: partition, offset, key, value."""
        for (name, partition), records in sorted(self.partitions.items()):
            if name == topic:
                for offset, (key, value) in enumerate(records):
                    if not key.startswith(RESERVED):
                        yield partition, offset, key, value


class Simulation:
    """Two workers over one log, driven by steps."""

    def __init__(self, deciders: Sequence[Decider], log: Log, partitions: int) -> None:
        self.promises: list[str] = []
        self.deciders = [held_to_its_word(decider, self.promises) for decider in deciders]
        self.log = log
        lanes = [(d.entity.inbox, p) for d in deciders for p in range(partitions)]
        self.owner = {lane: number % WORKERS for number, lane in enumerate(lanes)}
        self.workers = [self._start(worker) for worker in range(WORKERS)]

    @property
    def time(self) -> datetime:
        """The virtual clock."""
        return self.log.time

    @time.setter
    def time(self, time: datetime) -> None:
        self.log.pass_to(time)

    def _start(self, worker: int) -> Core:
        core = Core(self.deciders)
        for (inbox, partition), owner in self.owner.items():
            if owner == worker:
                lane = core.open(inbox, partition)
                lane.restore(dict(self.log.partitions[lane.entity.changelog, partition]))
                lane.position = max(lane.position, 0)
                lane.begin()
        return core

    def _batch(self, worker: int, limit: int) -> Batch:
        core = self.workers[worker]
        batch = Batch(core)
        core.hold(self.time, lambda lane: len(self.log.partitions[lane.entity.inbox, lane.partition]), LONG_BACKLOG)
        batch.wake(self.time)
        due: list[tuple[Lane, int, bytes, bytes]] = []
        for (topic, partition), lane in core.lanes.items():
            rest = self.log.partitions[topic, partition][lane.position : lane.position + limit - len(due)]
            due += [(lane, offset, key, value or b"") for offset, (key, value) in enumerate(rest, lane.position)]

        def feed(take: Take) -> None:
            for record in due:
                take(*record)

        batch.decide(feed)
        return batch

    def step(self, step: Step) -> None:
        """Play one step."""
        match step.action:
            case "send" if step.send:
                self.log.append([step.send])
            case "work" | "lose_commit":
                batch = self._batch(step.worker, step.limit)
                self.log.commit(batch.seal())
                if step.action == "work":
                    batch.merge()
                else:  # the broker has it; the worker died before it heard so
                    self.workers[step.worker] = self._start(step.worker)
            case "crash":
                self._batch(step.worker, step.limit).seal()
                self.workers[step.worker] = self._start(step.worker)
            case "move":
                moved = sorted(self.owner)[step.limit % len(self.owner)]
                self.owner[moved] = 1 - self.owner[moved]
                self.workers = [self._start(worker) for worker in range(WORKERS)]
            case "quiet":
                self.settle()
            case "pass":
                self.time += timedelta(seconds=step.seconds)

    def settle(self) -> None:
        """Work until nothing is left to do. Errors: RestlessError, when messages beget messages without an end."""
        idle = rounds = 0
        while idle < WORKERS:
            rounds += 1
            if rounds > MAX_ROUNDS:
                raise RestlessError
            for worker in range(WORKERS):
                batch = self._batch(worker, 1_000)
                idle = 0 if batch.positions or batch.outputs else idle + 1
                self.log.commit(batch.seal())
                batch.merge()


# What clients send, in order; a workload that keeps time itself puts steps in between.
Workload = Callable[[random.Random], Iterator[Output | Step]]
Laws = Callable[[Log], list[str]]


class Setup(NamedTuple):
    """What is simulated: the deciders, the client's messages by seed, the laws (broken ones as text), the log, and how long the
    clock runs ahead of the messages now and then, on average."""

    deciders: Sequence[Decider]
    workload: Workload
    laws: Laws
    partitions: int
    log: Callable[[], Log] = Log
    drift_s: float = DRIFT_S


def schedule_of(seed: int, workload: Workload, drift_s: float = DRIFT_S) -> list[Step]:
    """The schedule of a seed: sends in order, some twice, and everything that can go wrong between them."""
    chance = random.Random(seed)
    steps: list[Step] = []
    for sent in workload(chance):
        if isinstance(sent, Step):
            steps.append(sent)
            continue
        steps += [Step("send", send=sent)] * (2 if chance.random() < 0.05 else 1)
        while chance.random() < 0.25:
            worker, limit = chance.randrange(WORKERS), chance.randrange(1, 40)
            action = chance.choices(("work", "lose_commit", "crash", "move", "pass"), (70, 6, 8, 3, 13))[0]
            steps.append(Step(action, worker, limit, seconds=chance.expovariate(1 / drift_s)))
    return steps


def run(setup: Setup, steps: Sequence[Step]) -> list[str]:
    """Play a schedule, let it settle, wait a week (everything expires), settle again; the laws that broke."""
    simulation = Simulation(setup.deciders, setup.log(), setup.partitions)
    try:
        for step in steps:
            simulation.step(step)
        simulation.settle()
        simulation.time += timedelta(days=7)
        simulation.settle()
    except RestlessError:
        return [f"{MAX_ROUNDS} rounds of work did not come to an end"]
    return [*simulation.promises, *setup.laws(simulation.log)]


def shrink(setup: Setup, steps: list[Step]) -> list[Step]:
    """A shorter schedule that still breaks a law: drop halves, quarters, ..., single steps, while it fails."""
    size = len(steps) // 2
    while size:
        start = 0
        while start < len(steps):
            shorter = steps[:start] + steps[start + size :]
            if run(setup, shorter):
                steps = shorter
            else:
                start += size
        size //= 2
    return steps


class Failure(NamedTuple):
    """A seed that broke a law, what broke, and its shrunk schedule."""

    seed: int
    broken: list[str]
    steps: list[Step]


def search(setup: Setup, seeds: Sequence[int]) -> Failure | None:
    """The first seed that breaks a law, shrunk; None when all hold."""
    for seed in seeds:
        steps = schedule_of(seed, setup.workload, setup.drift_s)
        if run(setup, steps):
            shrunk = shrink(setup, steps)
            return Failure(seed, run(setup, shrunk), shrunk)
    return None


def tell(failure: Failure) -> str:
    """A failure as a person reads it."""
    lines = [f"seed {failure.seed} breaks {len(failure.broken)} law(s); shrunk to {len(failure.steps)} steps:"]
    for step in failure.steps:
        sent = step.send.value.decode() if step.send and step.send.value else ""
        lines.append(f"  {step.action:11} " + (sent or f"worker {step.worker}, up to {step.limit}, {step.seconds:.1f} s"))
    return "\n".join([*lines, *(f"  broken: {law}" for law in failure.broken[:5])])
