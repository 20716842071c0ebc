"""The panel's page Now: what twenty open panels cost serving. On a platform of its own the processor time of serving's process
is read over pairs of short rounds, with twenty panels and with none, in turned order; what they add is told as a part of what a
steady load of balances takes in the same run. The rounds are without that load: beside it the noise of a shared machine is
greater than what is asked, and what wakes for a panel alone wakes for less beside other work. Told is the median of the pairs'
differences, and where it may lie.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import comb
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import httpx

from infra import tokens
from serving.pulse_board import IDLE_S
from tests.lab.stage import Stage

PANELS: Final = 20
PAIRS: Final = 24
ROUND_S: Final = 6.0
# Longer than the board follows the log behind its last panel: rounds with none pay nothing for it.
SETTLE_S: Final = IDLE_S + 1.5
WARM_S: Final = 15.0
LOAD_S: Final = 30.0
REQUESTS_S: Final = 100
AIM: Final = 1.05


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print the processor time of both, and what the panels add to a load's."""
    tell(f"now: {PANELS} panels, as a part of what {REQUESTS_S} balances/s take; aim: at most {AIM:.2f} x its processor")
    with TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder) / "home")
        try:
            _measure(stage, tell, max(3, int(PAIRS * scale)), min(1.0, scale + 0.2))
        finally:
            stage.stop()


def _measure(stage: Stage, tell: Callable[[str], None], pairs: int, part: float) -> None:
    """`part`: of the usual length of a round."""
    process = stage.child("serving-0")["pid"]
    with _load(stage) as answered:
        time.sleep(WARM_S * part)  # the API's document is written, all code is warm
        before = answered[0]
        load = _taken(process, LOAD_S * part)
        asked = (answered[0] - before) / (LOAD_S * part)
    used: dict[int, list[float]] = {0: [], PANELS: []}
    events = 0
    for pair in range(pairs):
        for number in (0, PANELS) if pair % 2 else (PANELS, 0):
            with _panels(stage, number) as heard:
                time.sleep(SETTLE_S)
                came = len(heard)
                used[number].append(_taken(process, ROUND_S * part))
                events += len(heard) - came
    more = sorted(some - none for some, none in zip(used[PANELS], used[0], strict=True))
    ratios = [1 + one / load for one in more]
    low, high = _bounds(pairs)
    tell(f"  {asked:.0f} balances/s and what serving does by itself: {load * 1_000:.0f} ms of processor time a second")
    for number, each in used.items():
        tell(f"  {number:>2} panels: {median(each) * 1_000:.1f} ms a second")
    tell(f"  {events / pairs / (ROUND_S * part) / PANELS:.1f} events/s for each panel")
    told = f"median of {pairs} pairs {median(ratios):.3f} x, with 95 % between {ratios[low]:.3f} and {ratios[high]:.3f}"
    verdict = "within the aim" if ratios[high] <= AIM else "above it" if ratios[low] > AIM else "too noisy to say"
    tell(f"  {told}: {verdict}")


def _taken(process: int, seconds: float) -> float:
    """Processor time that a process takes a second, over so many seconds."""
    begun, before = time.monotonic(), _spent(process)
    time.sleep(seconds)
    return (_spent(process) - before) / (time.monotonic() - begun)


def _spent(process: int) -> float:
    """Seconds of processor of all threads, by the scheduler's nanoseconds: the usual counters have hundredths of a second."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _bounds(count: int) -> tuple[int, int]:
    """The places, in a sorted list, between which the median lies with 95 %: of so many throws of a coin 2.5 % on each side."""
    below, low = 0.0, 0
    while (below := below + comb(count, low) / 2**count) <= 0.025:
        low += 1
    return max(0, low - 1), count - max(1, low)


@contextmanager
def _load(stage: Stage) -> Iterator[list[int]]:
    """Balances of one user, evenly spread; how many were answered."""
    stopped, answered = threading.Event(), [0]

    def ask() -> None:
        headers = {"Authorization": f"Bearer {tokens.token('demo-olo', 'ann', 'user')}"}
        with httpx.Client(base_url=stage.http, headers=headers, trust_env=False, timeout=30) as client:
            client.post("/v1/users")
            turn = time.monotonic()
            while not stopped.is_set():
                client.get("/v1/balance")
                answered[0] += 1
                turn = max(turn + 1 / REQUESTS_S, time.monotonic() - 1)
                time.sleep(max(0.0, turn - time.monotonic()))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answered
    finally:
        stopped.set()
        thread.join()


@contextmanager
def _panels(stage: Stage, number: int) -> Iterator[list[str]]:
    """So many open panels, and the events that they were sent."""
    events: list[str] = []
    stopped = threading.Event()
    headers = {"Authorization": f"Bearer {tokens.token('demo-olo', 'root', 'admin')}"}

    def look() -> None:
        with (
            httpx.Client(base_url=stage.http, headers=headers, trust_env=False, timeout=30) as client,
            client.stream("GET", "/v1/admin/now") as answer,
        ):
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    events.append(line)
                if stopped.is_set():
                    return

    with ThreadPoolExecutor(max(1, number)) as pool:
        for _ in range(number):
            pool.submit(look)
        try:
            yield events
        finally:
            stopped.set()
