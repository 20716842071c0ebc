"""The panel's page Now: what twenty open panels cost serving. On a platform of its own: a steady load of balances is asked, and
the processor time of serving's process is read over pairs of short rounds, with twenty panels and with none, in turned order,
for each balance that was answered; the peer is no panel. A machine on which others work is noisy, so what is told is the median
of the pairs' ratios, and where it may lie.
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
import psutil

from infra import tokens
from tests.lab.stage import Stage

PANELS: Final = 20
PAIRS: Final = 24
ROUND_S: Final = 4.0
SETTLE_S: Final = 1.5
WARM_S: Final = 15.0
REQUESTS_S: Final = 100
AIM: Final = 1.05


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print the processor time of both, and the ratios of the pairs."""
    tell(f"now: {PANELS} panels beside {REQUESTS_S} balances/s; aim: at most {AIM:.2f} x the processor time of serving")
    with TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder) / "home")
        try:
            _measure(stage, tell, max(6, int(PAIRS * scale)), min(1.0, scale + 0.2))
        finally:
            stage.stop()


def _measure(stage: Stage, tell: Callable[[str], None], pairs: int, part: float) -> None:
    """`part`: of the usual length of a round."""
    round_s = ROUND_S * part
    process = psutil.Process(stage.child("serving-0")["pid"])
    used: dict[int, list[float]] = {0: [], PANELS: []}
    events = 0
    with _load(stage) as answered:
        time.sleep(WARM_S * part)  # the API's document is written, all code is warm
        for pair in range(pairs):
            for number in (0, PANELS) if pair % 2 else (PANELS, 0):
                with _panels(stage, number) as heard:
                    time.sleep(SETTLE_S * part)
                    came, before, begun = len(heard), answered[0], _spent(process)
                    time.sleep(round_s)
                    used[number].append((_spent(process) - begun) / max(1, answered[0] - before))
                    events += len(heard) - came
    ratios = sorted(some / none for some, none in zip(used[PANELS], used[0], strict=True))
    low, high = _bounds(pairs)
    for number, each in used.items():
        tell(f"  {number:>2} panels: {median(each) * 1_000:.3f} ms of processor time a balance")
    tell(f"  {events / pairs / round_s / PANELS:.1f} events/s for each panel")
    told = f"median of {pairs} pairs {median(ratios):.3f} x, with 95 % between {ratios[low]:.3f} and {ratios[high]:.3f}"
    verdict = "within the aim" if ratios[high] <= AIM else "above it" if ratios[low] > AIM else "too noisy to say"
    tell(f"  {told}: {verdict}")


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


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
