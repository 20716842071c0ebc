"""`olo prove brokers`: a platform on three brokers with three copies of everything, while the brokers come and go.

Clients grant and transfer all the time. Meanwhile: kill -9 of the node that coordinates money's transactions, and of one that
leads a partition of its inbox; a restart of all three, one behind the other; a freeze of one for longer than its session.
Behind each of them every account takes a grant again; `olo doctor` has named what was not in step while a node was away, and
complains of nothing afterwards. At the end the log, the views, ClickHouse, the clients' answers and their streams must agree,
to the coin.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from tests.lab.cluster import NODES, Cluster
from tests.lab.proofs.agreement import agree
from tests.lab.proofs.load import Load
from tests.lab.proofs.verdict import verdict
from tests.lab.stage import Stage

Tell = Callable[[str], None]
# Kafka's own session of a broker. A freeze that is short has a shorter one.
SESSION_S: Final = 9.0
# The doctor has to see what is wrong, or that nothing is any more, within so long: a process that was ended by its watchdog
# counts as one that dies again and again for its first 20 s, and the broker ends what it had begun within two minutes.
SEEN_S: Final = 180.0


class Plan(NamedTuple):
    """How hard: nodes killed, of them every second a coordinator; restarts of all three; how long one is frozen, 0: none is;
    clients at once, watching streams, users."""

    kills: int = 4
    restarts: int = 2
    freeze_s: float = 30.0
    clients: int = 12
    streams: int = 12
    users: int = 40
    seed: int = 1

    @property
    def session_s(self) -> float:
        """The brokers' session: shorter than the freeze."""
        return min(SESSION_S, self.freeze_s / 2) if self.freeze_s else SESSION_S


class Doctor(NamedTuple):
    """What `olo doctor` has said: everything, whether all was well, and whether copies were not in step."""

    told: str
    well: bool

    @property
    def names_copies(self) -> bool:
        """Whether it names partitions that a broker is missing for."""
        return any(line.startswith("no") and " copies " in line for line in self.told.splitlines())


class Trial:
    """One platform on one cluster under one load; what happened to it, and what is `broken`."""

    def __init__(self, cluster: Cluster, stage: Stage, load: Load, tell: Tell) -> None:
        self.cluster = cluster
        self.stage = stage
        self.load = load
        self.broken: list[str] = []
        self._tell = tell
        self._number = 0
        self._started = 0

    async def kill(self, number: int, what: str) -> None:
        """kill -9 of a node, and its return."""
        probe = await self._harm(f"kill -9 of node {number}, {what}", lambda: self.cluster.kill(number))
        await self._away(probe)
        await self._back(lambda: self.cluster.start(number))

    async def freeze(self, number: int, seconds: float, what: str) -> None:
        """A node stands still for so long, then goes on."""
        until = time.monotonic() + seconds
        probe = await self._harm(
            f"node {number}, {what}, stands still for {seconds:.0f} s", lambda: self.cluster.freeze(number)
        )
        await self._away(probe)
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        await self._back(lambda: self.cluster.thaw(number))

    async def restart_all(self) -> None:
        """A rolling restart: the next node waits until the copies of the last are in step."""
        for number in self.cluster.nodes:
            probe = await self._harm(f"restart of node {number}", lambda number=number: self.cluster.end(number))  # type: ignore[misc]
            await self._back(lambda number=number: self.cluster.start(number), asks=number == NODES)  # type: ignore[misc]
            await self._decided(probe)

    async def _harm(self, what: str, harm: Callable[[], None]) -> "asyncio.Task[float]":
        """Do harm, which is done behind this; the probe that asks every account from its first moment on."""
        self._number += 1
        self._tell(f"  {what}")
        probe = asyncio.create_task(self.load.probe(f"probe-{self._number}"))
        await asyncio.to_thread(harm)
        return probe

    async def _decided(self, probe: "asyncio.Task[float]") -> None:
        decided_s = await probe
        started = self.stage.log.read_text().count("is started again")
        again = f"; {started - self._started} processes were started again" if started > self._started else ""
        self._started = started
        self._tell(f"    every account decided again after {decided_s:.2f} s{again}")

    async def _away(self, probe: "asyncio.Task[float]") -> None:
        """While a node is away: all is decided, and the doctor names the copies."""
        await self._decided(probe)
        began = time.monotonic()
        while not (seen := await asyncio.to_thread(examine, self.stage)).names_copies:
            if time.monotonic() - began > SEEN_S:
                self.broken.append(f"a node was away and the doctor did not say so: {seen.told[-600:]}")
                return

    async def _back(self, back: Callable[[], None], *, asks: bool = True) -> None:
        """A node is there again: all copies are in step, and the doctor, if it is asked, says that all is well."""
        back()
        in_step_s = await asyncio.to_thread(self.cluster.wait_in_step)
        self._tell(f"    all copies in step {in_step_s:.2f} s after it was back")
        if not asks:
            return
        began = time.monotonic()
        while not (seen := await asyncio.to_thread(examine, self.stage)).well:
            if time.monotonic() - began > SEEN_S:
                self.broken.append(f"all nodes are back and the doctor still complains: {seen.told[-600:]}")
                return
        self._tell("    the doctor says that all is well")


def examine(stage: Stage) -> Doctor:
    """What `olo doctor` says of a platform now."""
    environment = stage.environment | {"OLO_HTTP_PORT": stage.http.rpartition(":")[2], "COLUMNS": "400"}
    command = [sys.executable, "-m", "infra.cli", "doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SEEN_S)
    return Doctor(done.stdout + done.stderr, done.returncode == 0)


async def _run(trial: Trial, plan: Plan) -> None:
    load, cluster = trial.load, trial.cluster
    await load.sign_up()
    running = asyncio.create_task(load.run(plan.clients, plan.streams))
    await load.probe("probe-before")
    for number in range(plan.kills):
        if number % 2 == 0:
            await trial.kill(cluster.coordinator_of("money-0"), "the coordinator of money's transactions")
        else:
            await trial.kill(cluster.leader_of("account.inbox", 0), "a leader of money's inbox")
    for _ in range(plan.restarts):
        await trial.restart_all()
    if plan.freeze_s:
        await trial.freeze(cluster.leader_of("account.inbox", 0), plan.freeze_s, "a leader of money's inbox")
    load.finish()
    await running


def prove(plan: Plan, tell: Tell) -> int:
    """Run the proof; the number of broken laws."""
    folder = Path(tempfile.mkdtemp(prefix="olo-brokers-"))
    began = time.monotonic()
    tell("starting three brokers, and a platform on them with three copies of everything ...")
    cluster = Cluster(folder, plan.session_s)
    stage: Stage | None = None
    try:
        cluster.start(*cluster.nodes)
        cluster.wait_in_step()
        stage = Stage(folder, OLO_BROKERS=cluster.brokers, OLO_REPLICATION_FACTOR=str(NODES))
        tell(f"ready after {time.monotonic() - began:.0f} s; load: {plan.clients} clients, {plan.streams} streams")
        trial = Trial(cluster, stage, Load(stage.http, "demo-olo", plan.users, plan.seed), tell)
        asyncio.run(_run(trial, plan))
        tell("auditing the log, the views, ClickHouse, the clients' answers and the streams ...")
        broken, counts = agree(stage, trial.load)
        broken = trial.broken + broken
    finally:
        if stage:
            stage.stop()
        cluster.stop()
    tell(f"answers {dict(trial.load.statuses.most_common())}")
    tell("counts: " + ", ".join(f"{name} {number:,}" for name, number in counts.items() if number))
    tell(trial.load.waited)
    return verdict(broken, folder, f"every law held, after {time.monotonic() - began:.0f} s", tell)
