"""Restore: a money worker takes over a million accounts from the changelog; how long, and how much memory each."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil

from infra.config import load
from schemas.balance import ACCOUNT, Account
from schemas.log.base import now
from schemas.log.codec import encode
from schemas.log.entity import Flow
from tests.lab.bench.ground import fill, ground

ACCOUNTS = 1_000_000
AIM_S, AIM_BYTES = 10.0, 500


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print the time and the memory, and the ratio to reading the same changelog without keeping anything."""
    total = int(ACCOUNTS * scale)
    with ground() as config:
        fill(config, ACCOUNT.changelog, _accounts(total))
        environment = {"OLO_BROKERS": config.brokers, "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-m", "tests.lab.bench.restore"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    read_s, restore_s, grown, held = (float(word) for word in done.stdout.split()[-4:])
    reached = restore_s <= AIM_S * scale and grown / total <= AIM_BYTES
    tell(f"restore: {int(held):,} accounts of the money flow")
    tell(f"  bare read of the changelog {read_s:6.2f} s (the limit)")
    tell(f"  restore                    {restore_s:6.2f} s, {read_s / restore_s:.2f} of the limit's rate")
    tell(f"  memory                     {grown / total:6.0f} bytes an account, key and dict included")
    tell(f"  aim {AIM_S * scale:.0f} s and {AIM_BYTES} bytes: {'reached' if reached else 'NOT reached'}")


def _accounts(total: int) -> Iterator[tuple[bytes, bytes]]:
    at = now()
    for number in range(total):
        yield f"user-{number:08d}/coins".encode(), encode(Account(number % 50 + 1, at, number % 1_000))


def measured() -> str:
    """In a process of its own: seconds to read, seconds to restore, bytes grown, entities held."""
    import time

    from pipelines.flows.deciders import deciders
    from pipelines.runtime.core import Core
    from pipelines.runtime.worker import Worker

    from infra.kafka import read_topic  # isort: skip

    config = load()
    began = time.monotonic()
    count = sum(1 for _ in read_topic(config, ACCOUNT.changelog))
    read_s = time.monotonic() - began
    process = psutil.Process()
    before = process.memory_info().rss
    worker = Worker("money", 0, Core(deciders(Flow.MONEY)), config)
    began = time.monotonic()
    while not worker.core.lanes:
        worker.poll()
    restore_s = time.monotonic() - began
    held = sum(len(lane.states) for lane in worker.core.lanes.values())
    grown = process.memory_info().rss - before
    worker.close()
    assert held == count
    return f"{read_s} {restore_s} {grown} {held}"


if __name__ == "__main__":
    print(measured())
