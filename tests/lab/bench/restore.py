"""Restore: a money worker takes over a million accounts from the changelog; how long, and how much memory each."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import psutil

from infra.config import Config, load
from pipelines.flows.deciders import deciders
from pipelines.runtime.core import Core
from pipelines.runtime.worker import Worker
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
    with ground() as config, tempfile.TemporaryDirectory(prefix="olo-bench-") as home:
        fill(config, ACCOUNT.changelog, _accounts(total))
        environment = {"OLO_BROKERS": config.brokers, "OLO_HOME": home, "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-m", "tests.lab.bench.restore"]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    read_s, restore_s, again_s, grown, held = (float(word) for word in done.stdout.split()[-5:])
    reached = restore_s <= AIM_S * scale and grown / total <= AIM_BYTES
    tell(f"restore: {int(held):,} accounts of the money flow")
    tell(f"  bare read of the changelog {read_s:6.2f} s (the limit)")
    tell(f"  first start, to disk       {restore_s:6.2f} s, {read_s / restore_s:.2f} of the limit's rate")
    tell(f"  memory of its own          {grown / total:6.0f} bytes an account")
    tell(f"  aim {AIM_S * scale:.0f} s and {AIM_BYTES} bytes: {'reached' if reached else 'NOT reached'}")
    tell(f"  second start, from disk    {again_s:6.2f} s")


def _accounts(total: int) -> Iterator[tuple[bytes, bytes]]:
    at = now()
    for number in range(total):
        yield f"user-{number:08d}/coins".encode(), encode(Account(number % 50 + 1, at, number % 1_000))


def measured() -> str:
    """In a process of its own: seconds to read, to restore, again; bytes grown (no page cache), entities."""
    from infra.kafka import read_topic

    config = load()
    began = time.monotonic()
    count = sum(1 for _ in read_topic(config, ACCOUNT.changelog))
    read_s = time.monotonic() - began
    before = _own_bytes()
    worker, restore_s = _started(config)
    grown = _own_bytes() - before
    worker.close()
    worker, again_s = _started(config)
    held = sum(len(lane.states) for lane in worker.core.lanes.values())
    worker.close()
    assert held == count
    return f"{read_s} {restore_s} {again_s} {grown} {held}"


def _started(config: Config) -> tuple[Worker, float]:
    began = time.monotonic()
    worker = Worker("money", 0, Core(deciders(Flow.MONEY)), config)
    while not worker.ready:
        worker.poll()
    return worker, time.monotonic() - began


def _own_bytes() -> int:
    """Resident memory without what is mapped from files: the system takes that back whenever it likes."""
    found = psutil.Process().memory_info()
    return int(found.rss - getattr(found, "shared", 0))


if __name__ == "__main__":
    print(measured())
