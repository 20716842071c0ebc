"""The panel's long tables: the frames of a real Chromium while a page of 10,000 rows is scrolled from end to end, by as many
pixels a frame as a fast wheel. No platform: the built pages are given from their files, and what the API would answer is made
up. The peers of the same run: a table of 150 rows, which are all drawn; and as many frames in which nothing is scrolled, which
are as long as the machine, and what else runs on it, makes them.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from playwright.sync_api import CDPSession, Page, Route, sync_playwright

from infra import pages
from tests.chromium import CHROMIUM
from tests.lab.percentiles import percentile

HOME: Final = "http://127.0.0.1:1"
ROWS: Final = (150, 10_000)
PIXELS_A_FRAME: Final = 500
# Scrolls to the end; the milliseconds between each two frames, and how many rows there were in the page at most.
STILL: Final = """(count) => new Promise((done) => {
  const frames = [];
  let last = performance.now();
  const frame = (at) => {
    frames.push(at - last);
    last = at;
    if (frames.length > count) done(frames.slice(2));
    else requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""
SCROLL: Final = """(step) => new Promise((done) => {
  const region = document.querySelector('[aria-label="Acts"]');
  const frames = [];
  let last = performance.now(), rows = 0;
  const frame = (at) => {
    frames.push(at - last);
    last = at;
    rows = Math.max(rows, region.querySelectorAll('tbody tr').length);
    const before = region.scrollTop;
    region.scrollTop += step;
    if (region.scrollTop === before) done([frames.slice(2), rows]);
    else requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def acts(count: int) -> list[dict[str, Any]]:
    """What the audit would answer."""
    common = {
        "acted_at": "2026-11-28T03:00:00Z", "answered": True, "staff": "root", "roles": ["admin"], "permission": "people.look",
        "subjects": ["ann", "bob"], "why": "a complaint by letter, with some words more than one would like to read",
        "asked": "", "status": 200, "code": "", "commands": [],
    }  # fmt: skip
    return [{**common, "act": f"act-{n}", "operation": "readTags", "thing": f"thing-{n}"} for n in range(count)]


def answers(route: Route, count: int) -> None:
    """Give a file of the built pages, or what the API would answer."""
    path = route.request.url.removeprefix(HOME).partition("?")[0]
    made: dict[str, Any] = {
        "/development/tokens": {"token": "e30.e30."},
        "/v1/users/me/roles": {"roles": ["admin"], "permissions": ["audit.look"]},
        "/v1/admin/audit": {"acts": acts(count), "next_before": None},
    }
    if path in made:
        route.fulfill(body=json.dumps(made[path]), content_type="application/json")
    elif path.startswith("/_app/"):
        route.fulfill(path=pages.PAGES / path.removeprefix("/"))
    else:
        route.fulfill(path=pages.PAGES / "index.html", content_type="text/html")


def scrolled(page: Page, count: int) -> tuple[list[float], int, float]:
    """The milliseconds of each frame while a table of so many rows is scrolled, how many rows were drawn at most, and the
    processor time of a frame."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.route("**/*", lambda route: answers(route, count))
    page.goto(f"{HOME}/panel")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation", name="Pages").get_by_role("button", name="Audit").click()
    page.get_by_role("row").nth(2).wait_for()
    before = used_ms(session)
    frames, rows = page.evaluate(SCROLL, PIXELS_A_FRAME)
    return sorted(frames), rows, (used_ms(session) - before) / len(frames)


def used_ms(session: CDPSession) -> float:
    """The processor time that the page's thread has had, whatever else runs on the machine."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration") * 1_000


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print the longest frame of each table, and the usual one."""
    tell(f"rows: a table of {ROWS[-1]:,} rows beside one of {ROWS[0]}, scrolled by {PIXELS_A_FRAME} pixels a frame")
    if CHROMIUM is None:
        tell("  there is no Chromium on the PATH")
        return
    pages.build()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for count in ROWS:
            found, rows, used = scrolled(
                browser.new_page(viewport={"width": 1_280, "height": 800}), max(150, int(count * scale))
            )
            tell(f"  {count:>6,} rows, {rows} drawn at most: {used:.1f} ms of processor time a frame; {told(found)}")
        still = sorted(browser.contexts[-1].pages[-1].evaluate(STILL, len(found)))
        tell(f"  nothing scrolled: {told(still)}")
        browser.close()


def told(frames: list[float]) -> str:
    """Milliseconds of frames, in words."""
    half, most = percentile(frames, 50), percentile(frames, 99)
    return f"{len(frames)} frames, p50 {half:.1f} ms, p99 {most:.1f} ms, longest {frames[-1]:.1f} ms"
