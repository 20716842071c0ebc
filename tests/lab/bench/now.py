"""The panel's page Now: what twenty open panels cost serving. On a platform of its own: a steady load of balances is asked, and
the processor time of serving's process is read over rounds with no panel, one, and twenty, by turns; the peer is no panel.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import httpx
import psutil

from infra import tokens
from tests.lab.stage import Stage

PANELS: Final = (0, 1, 20)
ROUNDS: Final = 5
ROUND_S: Final = 10.0
REQUESTS_S: Final = 100
AIM: Final = 1.05


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print the processor time of each, and its ratio to no panel."""
    tell(f"now: {PANELS[-1]} panels beside {REQUESTS_S} balances/s; aim: at most {AIM:.2f} x the processor time of serving")
    with TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder) / "home")
        try:
            _measure(stage, tell, max(2.0, ROUND_S * scale))
        finally:
            stage.stop()


def _measure(stage: Stage, tell: Callable[[str], None], round_s: float) -> None:
    process = psutil.Process(stage.child("serving-0")["pid"])
    used: dict[int, list[float]] = {number: [] for number in PANELS}
    heard: dict[int, list[int]] = {number: [] for number in PANELS}
    with _load(stage):
        time.sleep(15)  # the API's document is written, all code is warm
        for number in PANELS * ROUNDS:
            with _panels(stage, number) as events:
                time.sleep(2)
                before, came = process.cpu_times(), len(events)
                time.sleep(round_s)
                after = process.cpu_times()
                heard[number].append(len(events) - came)
            used[number].append((after.user + after.system - before.user - before.system) / round_s)
    idle = median(used[0])
    for number in PANELS:
        ratios = [some / none for some, none in zip(used[number], used[0], strict=True)]
        each = median(heard[number]) / round_s / max(1, number)
        ratio = f"{median(used[number]) / idle:.3f} x ({min(ratios):.3f}-{max(ratios):.3f})"
        tell(f"  {number:>2} panels: {median(used[number]) * 100:.2f}% of a core, {ratio}; {each:.1f} events/s each")


@contextmanager
def _load(stage: Stage) -> Iterator[None]:
    """Balances of one user, evenly spread."""
    stopped = threading.Event()

    def ask() -> None:
        headers = {"Authorization": f"Bearer {tokens.token('demo-olo', 'ann', 'user')}"}
        with httpx.Client(base_url=stage.http, headers=headers, trust_env=False, timeout=30) as client:
            client.post("/v1/users")
            turn = time.monotonic()
            while not stopped.is_set():
                client.get("/v1/balance")
                turn = max(turn + 1 / REQUESTS_S, time.monotonic() - 1)
                time.sleep(max(0.0, turn - time.monotonic()))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
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
