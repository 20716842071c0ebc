"""Analysts who take what they can: eight endless queries, each of a client that hangs up and asks again.

Before, beside and behind them, on one running platform that takes a steady load: how long `SELECT 1` takes an analyst and the
platform itself, how long a page of the book takes over HTTP, and how far the warehouse is behind the log. The peer is the same
run without them.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from confluent_kafka import Producer

from infra import tokens
from infra.clickhouse import connect
from infra.config import Config
from infra.kafka import end_offsets, quiet, reader
from infra.warehouse import door
from schemas.balance import ACCOUNT, EntryKind, EntryRecorded, coins_account
from schemas.log.base import now
from schemas.log.codec import encode
from schemas.log.entity import partition_of
from tests.lab.percentiles import percentile
from tests.lab.stage import Stage

ENDLESS: Final = "SELECT sum(sipHash64(number)) FROM numbers(30000000000)"
ANALYSTS: Final = 8
HANG_UP_S: Final = 2.0
# Of the store's: entries a second, for so many accounts.
LOAD: Final = 200
ACCOUNTS: Final = 1_000
EACH_S: Final = 20.0
WARM_S: Final = 15.0
PAUSE_S: Final = 0.05
AIM: Final = 2.0
READER: Final = "reader"
STORED: Final = f"""
    SELECT sum(ended), toUnixTimestamp64Milli(max(at))
    FROM (SELECT max(offset) + 1 AS ended, max(logged_at) AS at FROM log WHERE topic = '{ACCOUNT.events}' GROUP BY partition)
"""


class Seen(NamedTuple):
    """What was measured, by name; milliseconds, and records."""

    values: dict[str, list[float]]

    def median(self, name: str) -> float:
        """The middle one."""
        return percentile(sorted(self.values[name]), 50)


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print each figure before, beside and behind the eight, and its median beside them against the mean of the two others."""
    seconds = max(3.0, EACH_S * scale)
    with tempfile.TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder))
        try:
            with _load(stage.config):
                watch = Watch(stage)
                watch.look(WARM_S * min(1.0, scale + 0.2))
                before = watch.look(seconds)
                with _analysts(stage.clickhouse):
                    beside = watch.look(seconds)
                behind = watch.look(seconds)
        finally:
            stage.stop()
    tell(f"{ANALYSTS} endless queries, each closed after {HANG_UP_S:.0f} s and asked again; {LOAD} entries/s; p50 and p99")
    for name in before.values:
        figures = "   ".join(_figures(seen.values[name]) for seen in (before, beside, behind))
        ratio = 2 * beside.median(name) / max(before.median(name) + behind.median(name), 1e-9)
        tell(f"  {name:<34} before, beside, behind {figures}   {ratio:.2f} times (aim {AIM:.0f})")


def _figures(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{percentile(ordered, 50):7.1f} {percentile(ordered, 99):7.1f}"


class Watch:
    """Asks what is measured, one after the other."""

    def __init__(self, stage: Stage) -> None:
        token = tokens.token("demo-olo", READER, "user")
        self._phone = httpx.Client(
            base_url=stage.http, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        )
        self._analyst = httpx.Client(base_url=stage.clickhouse, timeout=60, trust_env=False)
        password = door.passwords(stage.home / "passwords.json")[door.PLATFORM]
        port = httpx.URL(stage.clickhouse).port
        assert port
        self._platform = connect(door.url(door.PLATFORM, password, port))
        self._log = reader(stage.config, committed=False)
        self._phone.post("/v1/users").raise_for_status()

    def look(self, seconds: float) -> Seen:
        """Ask for so long."""
        asked = {
            "an analyst's SELECT 1, ms": self._timed(lambda: self._analyst.post("/", content="SELECT 1").raise_for_status()),
            "the platform's SELECT 1, ms": self._timed(lambda: self._platform.query("SELECT 1")),
            "GET /v1/balance/entries, ms": self._timed(lambda: self._phone.get("/v1/balance/entries").raise_for_status()),
        }
        seen: dict[str, list[float]] = {name: [] for name in (*asked, "the store's lag, records", "the store's lag, ms")}
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for name, ask in asked.items():
                seen[name].append(ask())
            records, ms = self._lag()
            seen["the store's lag, records"].append(records)
            seen["the store's lag, ms"].append(ms)
            time.sleep(PAUSE_S)
        return Seen(seen)

    @staticmethod
    def _timed(ask: Callable[[], object]) -> Callable[[], float]:
        def timed() -> float:
            began = time.perf_counter()
            ask()
            return (time.perf_counter() - began) * 1000

        return timed

    def _lag(self) -> tuple[float, float]:
        """How many entries the warehouse lacks, and how old its newest one is."""
        written, asked_ms = sum(end_offsets(self._log, ACCOUNT.events, range(ACCOUNT.partitions)).values()), time.time() * 1000
        ended, at_ms = self._platform.query(STORED).result_rows[0]
        return max(0, written - ended), asked_ms - at_ms


@contextmanager
def _load(config: Config) -> Iterator[None]:
    """Entries at a steady rate, as long as the block lasts."""
    done = threading.Event()

    def write() -> None:
        producer = Producer(quiet(config, **{"linger.ms": 20}))
        number, began = 0, time.monotonic()
        while not done.wait(0.05):
            while number < (time.monotonic() - began) * LOAD:
                entry = _entry(number)
                key = entry.account.encode()
                producer.produce(ACCOUNT.events, encode(entry), key, partition_of(key, ACCOUNT.partitions))
                number += 1
            producer.poll(0)
        producer.flush(10)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        yield
    finally:
        done.set()
        writing.join()


def _entry(number: int) -> EntryRecorded:
    account = coins_account(READER if number % 10 == 0 else f"load{number % ACCOUNTS}")
    return EntryRecorded(
        id=f"{number:032x}/0", at=now(), cause=f"{number:032x}", account=account, seq=number + 1, kind=EntryKind.CREDIT,
        balance_coins=number, held_coins=0, coins=1, counterparty="@promotions", reason="grant",
    )  # fmt: skip


@contextmanager
def _analysts(url: str) -> Iterator[None]:
    """So many ask, hang up, and ask again, as long as the block lasts."""
    done = threading.Event()

    def insist() -> None:
        with httpx.Client(base_url=url, timeout=HANG_UP_S, trust_env=False) as client:
            while not done.is_set():
                with suppress(httpx.TransportError):
                    client.post("/", content=ENDLESS)

    asking = [threading.Thread(target=insist) for _ in range(ANALYSTS)]
    for thread in asking:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in asking:
            thread.join()
