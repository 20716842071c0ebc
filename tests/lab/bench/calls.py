"""Calls in progress per core of the live flow, and how the cost grows from 100 to 1,000 to 10,000 calls at once.

On an embedded broker: phones sign up and come online, calls are placed and accepted through the log; then both phones of each
call beat as they do (session every ten seconds, call every five) and bills step every ten seconds, six times as often as under
the shipped tariff. Over a window of steady talk the processes' own processor time is read from outside.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

import httpx
import psutil
from confluent_kafka import Producer

from infra.config import Config
from infra.exposition import total
from infra.kafka import end_offsets, quiet, reader
from infra.ports import free_port
from schemas.balance import Credit, OpenAccount, Reason, coins_account, earnings_account
from schemas.billing import BILL, BOOK, PublishTariff
from schemas.billing_rating import Checkpoint, Side
from schemas.billing_rules import CallKind, Rule
from schemas.log.base import AccountId, Message, UserId, now
from schemas.log.codec import encode
from schemas.log.entity import partition_of
from schemas.log.topics import routes
from schemas.user import BEAT_EVERY_S, Beat, OpenSession, Role, SignUp
from schemas.video import CALL, CALL_BEAT_EVERY_S, AcceptCall, BeatCall, HangUp, PlaceCall
from tests.lab.bench.ground import ground

AT_ONCE: Final = (100, 1_000, 10_000)
WINDOW_S: Final = 30.0
PATIENCE_S: Final = 240.0
# The phones' beats are spread over the time between two: so many slices a second.
SLICES_A_S: Final = 5
BENCH: Final = AccountId("@bench")
STEPS: Final = Side((Checkpoint(0, 6),), 10, 10)
SIGN_UPS_AT_ONCE: Final = 500


class Flow(NamedTuple):
    """A process under test and where its metrics are."""

    process: psutil.Process
    url: str

    def lag(self) -> float:
        """Records that wait for it."""
        return total(httpx.get(self.url, timeout=10, trust_env=False).text, "olo_lag_records")

    def answers(self) -> bool:
        """Whether it listens already."""
        try:
            return httpx.get(self.url, timeout=10, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def cpu_s(self) -> float:
        """Processor time that it has used."""
        found = self.process.cpu_times()
        return float(found.user + found.system)


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print, for each number of calls at once, the processor time of live and money and the calls that a core would sustain."""
    levels = [max(10, int(calls * scale)) for calls in AT_ONCE]
    # Longer than a step by a half: as long as one, it may begin behind each call's step and end before the next.
    window_s = max(1.5 * STEPS.step_s, WINDOW_S * min(1.0, scale * 4))
    with ExitStack() as stack:
        config = stack.enter_context(ground())
        flows = {name: stack.enter_context(_flow(name, config)) for name in ("live", "money")}
        town = Town(config, flows)
        town.move_in(max(levels))
        tell(f"calls at once, {window_s:.0f} s of steady talk each; all phones beat, bills step every {STEPS.step_s} s")
        each = []
        for calls in levels:
            used, behind = town.talk(calls, window_s)
            per_core = calls / used["live"]
            each.append(used["live"] / calls * 1e6)
            tell(
                f"  {calls:>6,} calls   live {used['live'] * 100:6.1f} % of a core   money {used['money'] * 100:6.1f} %   "
                f"{each[-1]:7.1f} us of live a call and second   {per_core:>8,.0f} calls a core   {behind:,.0f} records behind"
            )
        few, many, most = each
        tell(
            f"  cost of a call at {levels[1]:,} is {many / few:.2f}, at {levels[2]:,} {most / few:.2f} of that at {levels[0]:,}"
        )


@contextmanager
def _flow(name: str, config: Config) -> Iterator[Flow]:
    port = free_port(set())
    environment = os.environ | {"OLO_BROKERS": config.brokers, "OLO_HOME": str(config.home)}
    command = [sys.executable, "-m", "pipelines.flows.host", name, "--slot", "0", "--metrics-port", str(port)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        flow = Flow(psutil.Process(process.pid), f"http://127.0.0.1:{port}/metrics")
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not flow.answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"the flow {name} did not start:\n{log.read()}")
                time.sleep(0.1)
            yield flow
        finally:
            process.terminate()
            process.wait(20)


class Town:
    """Pairs of phones, u<n> and s<n>: they sign up, beat, and talk."""

    def __init__(self, config: Config, flows: dict[str, Flow]) -> None:
        self._flows = flows
        self._producer = Producer(
            quiet(config, **{"linger.ms": 5, "compression.type": "lz4", "queue.buffering.max.messages": 500_000})
        )
        self._reader = reader(config)
        self._routes = routes()
        self._online = 0
        self._calls: list[str] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._beat, daemon=True).start()

    def say(self, messages: Iterable[Message]) -> None:
        """Put commands into their inboxes."""
        for message in messages:
            (route,) = self._routes[type(message)]
            key = route.key(message).encode()
            self._producer.produce(route.topic, encode(message), key, partition_of(key, route.partitions))
            self._producer.poll(0)

    def _beat(self) -> None:
        """All phones that are online, and all that talk, spread evenly over time; for as long as the process lives."""
        turn = 0
        while True:
            began = time.monotonic()
            turn += 1
            online, calls, at = self._online, self._calls, now()
            slices, of_calls = BEAT_EVERY_S * SLICES_A_S, CALL_BEAT_EVERY_S * SLICES_A_S
            with self._lock:
                self.say(
                    Beat(id=_id(), at=at, user=UserId(f"{letter}{n}"), session="s")
                    for n in range(turn % slices, online, slices)
                    for letter in "us"
                )
                self.say(
                    BeatCall(id=_id(), at=at, call=calls[n], by=UserId(f"{letter}{n}"))
                    for n in range(turn % of_calls, len(calls), of_calls)
                    for letter in "us"
                )
            time.sleep(max(0.0, began + 1 / SLICES_A_S - time.monotonic()))

    def move_in(self, pairs: int) -> None:
        """Everybody signs up with coins enough, comes online and stays."""
        rule = Rule(CallKind.DIRECT, Role.USER, Role.STREAMER)
        first = PublishTariff(id=_id(), at=now(), book=BOOK, tariff="bench", rule=rule, payer=STEPS, earner=STEPS)
        with self._lock:
            self.say([first])
        for begin in range(0, pairs, SIGN_UPS_AT_ONCE):
            end = min(pairs, begin + SIGN_UPS_AT_ONCE)
            with self._lock:
                self.say(message for n in range(begin, end) for message in _arrivals(n))
            self._online = end
            self._settle(SIGN_UPS_AT_ONCE * 10)
        self._settle(200)

    def _settle(self, records: float) -> None:
        """Wait until both flows are at most so far behind."""
        deadline = time.monotonic() + PATIENCE_S
        self._producer.flush()
        time.sleep(1.1)  # lags are told once a second
        while any(flow.lag() > records for flow in self._flows.values()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the flows are behind: { ({name: flow.lag() for name, flow in self._flows.items()}) }")
            time.sleep(0.5)

    def _facts(self, topic: str = CALL.events) -> int:
        return sum(end_offsets(self._reader, topic, range(CALL.partitions)).values())

    def talk(self, calls: int, window_s: float) -> tuple[dict[str, float], float]:
        """Place so many calls, let them talk, hang up. Gives each flow's share of a core while they talked, and live's lag."""
        names, before = [_id() for _ in range(calls)], self._facts()
        with self._lock:
            self.say(_place(name, n) for n, name in enumerate(names))
        self._wait_for_facts(before + calls)
        with self._lock:
            self.say(AcceptCall(id=_id(), at=now(), call=name, by=UserId(f"s{n}")) for n, name in enumerate(names))
            self._calls = names
        self._wait_for_facts(before + 2 * calls)
        self._settle(max(200, calls))
        used, began = {name: flow.cpu_s() for name, flow in self._flows.items()}, time.monotonic()
        stepped = self._facts(BILL.events)
        time.sleep(window_s)
        took = time.monotonic() - began
        stepped = self._facts(BILL.events) - stepped
        if stepped < calls * (took // STEPS.step_s) / 2:
            raise RuntimeError(f"{calls} calls stepped only {stepped} times in {took:.0f} s: they do not all talk")
        shares = {name: (flow.cpu_s() - used[name]) / took for name, flow in self._flows.items()}
        behind = self._flows["live"].lag()
        with self._lock:
            self._calls = []
            self.say(HangUp(id=_id(), at=now(), call=name, by=UserId(f"u{n}")) for n, name in enumerate(names))
        self._wait_for_facts(before + 3 * calls)
        self._settle(200)
        return shares, behind

    def _wait_for_facts(self, least: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        self._producer.flush()
        while self._facts() < least:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._facts()} facts about calls, {least} were due")
            time.sleep(0.2)


def _id() -> str:
    return uuid.uuid4().hex


def _place(call: str, n: int) -> PlaceCall:
    return PlaceCall(
        id=_id(), at=now(), call=call, caller=UserId(f"u{n}"), callee=UserId(f"s{n}"), kind=CallKind.DIRECT,
        caller_role=Role.USER, callee_role=Role.STREAMER,
    )  # fmt: skip


def _arrivals(n: int) -> Iterator[Message]:
    for letter, role in (("u", Role.USER), ("s", Role.STREAMER)):
        user, at = UserId(f"{letter}{n}"), now()
        coins = coins_account(user)
        yield SignUp(id=_id(), at=at, user=user, role=role)
        yield OpenAccount(id=_id(), at=at, account=coins)
        yield OpenAccount(id=_id(), at=at, account=earnings_account(user))
        yield Credit(id=_id(), at=at, account=coins, counterparty=BENCH, coins=1_000_000, reason=Reason.GRANT)
        yield OpenSession(id=_id(), at=at, user=user, session="s", device="d")
