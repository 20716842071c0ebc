"""First paint of the pages on a second visit, in a real Chromium on a platform of its own: from the begin of the navigation to
the first thing that is drawn, as the browser tells it. The peer of the same run: a page of one word, which the same process
serves from the same folder. Visits of all of them by turns.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import BrowserContext, sync_playwright

from infra import pages
from tests.chromium import CHROMIUM
from tests.lab.percentiles import percentile
from tests.lab.stage import Stage

VISITS: Final = 20
LIMIT_MS: Final = 1_000.0
PEER: Final = "/_app/immutable/empty.html"
WORD: Final = "<!doctype html><title>empty</title><p>empty</p>"
PAGES: Final = (PEER, "/phone", "/panel")
PAINTED: Final = """() => new Promise((done) => new PerformanceObserver((list) => {
  const [found] = list.getEntriesByName('first-contentful-paint');
  if (found) done(found.startTime);
}).observe({ type: 'paint', buffered: true }))"""


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print what each page took, and its ratio to the peer."""
    tell(f"paint: first paint of a second visit; aim: at most {LIMIT_MS:,.0f} ms")
    if CHROMIUM is None:
        tell("  there is no Chromium on the PATH")
        return
    pages.build()
    peer = pages.PAGES / PEER.removeprefix("/")
    peer.write_text(WORD)
    try:
        with TemporaryDirectory(prefix="olo-bench-") as folder, sync_playwright() as playwright:
            stage = Stage(Path(folder) / "home")
            try:
                context = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_context()
                took = _visited(context, stage.http, max(3, int(VISITS * scale)))
            finally:
                stage.stop()
    finally:
        peer.unlink()
    usual = percentile(took[PEER], 50)
    for page, times in took.items():
        half, most = percentile(times, 50), times[-1]
        ratio = f"{half / usual:.2f} x the empty page, {half / LIMIT_MS:.2f} of the limit"
        tell(f"  {page}: p50 {half:,.0f} ms, longest {most:,.0f} ms of {len(times)} visits; {ratio}")


def _visited(context: BrowserContext, home: str, visits: int) -> dict[str, list[float]]:
    """The milliseconds of each visit but the first, sorted."""
    took: dict[str, list[float]] = {page: [] for page in PAGES}
    for _ in range(visits + 1):
        for page, times in took.items():
            tab = context.new_page()
            tab.goto(f"{home}{page}")
            times.append(float(tab.evaluate(PAINTED)))
            tab.close()
    return {page: sorted(times[1:]) for page, times in took.items()}
