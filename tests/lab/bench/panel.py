"""The page Now in a real Chromium while a thousand things happen a second: what it costs the browser, and the flow behind it.

On a platform of its own facts are written straight into the log, RATE a second. The processor time of all processes of Chromium
is read with the page open, while nothing happens and at that rate, and beside it that of the flow `pulse`; the peer of each is
the quiet of the same run. Without a Chromium on the PATH it says so.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil
from confluent_kafka import Producer
from msgspec.structs import replace
from playwright.sync_api import Page, sync_playwright

from infra import pages
from infra.kafka import quiet
from schemas.balance import EntryKind, EntryRecorded
from schemas.log.base import AccountId, Fact, UserId, new_id, now
from schemas.log.codec import encode
from schemas.log.topics import routes
from schemas.user import CameOnline, WentOffline
from tests.lab.stage import Stage

RATE: Final = 1_000
ROUND_S: Final = 30.0
LIMIT: Final = 0.20
CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_ENVELOPE: Final[dict[str, Any]] = {"id": "b", "cause": "b", "at": now()}
_AFTER: Final[dict[str, Any]] = {"account": AccountId("u/coins"), "seq": 1, "balance_coins": 0, "held_coins": 0}
FACTS: Final[tuple[tuple[Fact, str], ...]] = (
    (CameOnline(**_ENVELOPE, user=UserId("u")), "u"),
    (EntryRecorded(**_ENVELOPE, **_AFTER, kind=EntryKind.CREDIT, coins=3, counterparty="@shop"), "u/coins"),
    (EntryRecorded(**_ENVELOPE, **_AFTER, kind=EntryKind.DEBIT, coins=-3, counterparty="@tips"), "u/coins"),
    (WentOffline(**_ENVELOPE, user=UserId("u"), online_s=1.0), "u"),
)


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print both, and their ratio to quiet."""
    tell(f"panel: the page Now in Chromium at {RATE:,} facts/s; aim: less than {LIMIT:.0%} of a core")
    if CHROMIUM is None:
        tell("  there is no Chromium on the PATH")
        return
    with TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder) / "home")
        try:
            pages.build()
            _measure(stage, CHROMIUM, tell, min(1.0, scale + 0.2))
        finally:
            stage.stop()


def _measure(stage: Stage, chromium: str, tell: Callable[[str], None], part: float) -> None:
    """`part`: of the usual length of a round."""
    round_s = ROUND_S * part
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{stage.http}/panel")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("navigation").get_by_role("button", name="Now").click()
        page.get_by_text("live", exact=True).wait_for()
        page.wait_for_timeout(10_000 * part)
        quiet_page, quiet_flow = _used(stage, page, round_s)
        with _facts(stage) as count:
            page.wait_for_timeout(5_000 * part)
            before = count[0]
            busy_page, busy_flow = _used(stage, page, round_s)
            rate = (count[0] - before) / round_s
        shown = page.get_by_role("listitem").filter(has_text="coins in").locator("strong").inner_text()
        browser.close()
    tell(f"  {rate:,.0f} facts/s; the page says {shown} coins in a minute")
    for name, busy, idle in (("Chromium", busy_page, quiet_page), ("the flow pulse", busy_flow, quiet_flow)):
        ratio = f"{busy / max(idle, 0.001):.2f} x; {busy / LIMIT:.2f} of the limit"
        tell(f"  {name}: {busy:.1%} of a core, quiet {idle:.1%}: {ratio}")


def _used(stage: Stage, page: Page, round_s: float) -> tuple[float, float]:
    """The share of a core that Chromium and the flow take over a round."""
    flow = psutil.Process(stage.child("pulse-0")["pid"])
    browser = [one for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]

    def spent(of: list[psutil.Process]) -> float:
        return float(sum(sum(one.cpu_times()[:2]) for one in of if one.is_running()))

    began = spent(browser), spent([flow])
    page.wait_for_timeout(round_s * 1_000)
    return (spent(browser) - began[0]) / round_s, (spent([flow]) - began[1]) / round_s


@contextmanager
def _facts(stage: Stage) -> Iterator[list[int]]:
    """RATE facts a second, and how many there were."""
    stopped, count = threading.Event(), [0]
    producer = Producer(quiet(stage.config, **{"linger.ms": 5}))

    def write() -> None:
        turn = time.monotonic()
        while not stopped.is_set():
            for _ in range(RATE // 100):
                fact, key = FACTS[count[0] % len(FACTS)]
                value = encode(replace(fact, id=new_id(), at=now()))
                producer.produce(routes()[type(fact)][0].topic, value, key.encode(), count[0] % 2)
                count[0] += 1
            producer.poll(0)
            turn += 0.01
            time.sleep(max(0.0, turn - time.monotonic()))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield count
    finally:
        stopped.set()
        thread.join()
        producer.flush(5)
