"""A real Chromium for tests of the pages: windows in which no script may fail, and phones and panels that are signed in.

Without a Chromium on the PATH, or without built pages (the network was away), tests that ask for these are skipped, and say so.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Locator, Page, Request, expect, sync_playwright

from infra import pages
from infra.errors import UsageError
from tests.lab.stage import Stage
from tests.wire import Wire

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
HOSTILE = ("<img src=x onerror=alert(1)>", "javascript:alert(1)", "{{7*7}}${7*7}", "<svg/onload=alert(1)>")

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the PATH; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def home(stack: Stage) -> str:
    """The platform's address, when its pages are built."""
    try:
        pages.build()  # waits for the build that the platform has begun
    except UsageError as error:
        pytest.skip(f"the pages cannot be built: {error}")
    assert httpx.get(f"{stack.http}/phone").status_code == 200
    return stack.http


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser's window."""
    with window(browser) as context:
        yield context


@contextmanager
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A window in which no script may fail, nothing is refused by the page's own policy, and no request leaves the machine."""
    told: list[str] = []
    context = browser.new_context(locale="en-US", viewport={"width": 900, "height": 700})
    context.set_default_timeout(PATIENCE_MS)

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            told.append(message.text)

    def surprise(dialog: Dialog) -> None:
        told.append(dialog.message)
        dialog.dismiss()

    def leaves(request: Request) -> None:
        if httpx.URL(request.url).host not in ("", "127.0.0.1"):
            told.append(request.url)

    context.on("console", note)
    context.on("request", leaves)
    context.on("weberror", lambda error: told.append(str(error.error)))
    context.on("dialog", surprise)
    yield context
    context.close()
    assert told == []


def name() -> str:
    return f"u-{uuid.uuid4().hex[:10]}"


def signed_in(page: Page, home: str, user: str, number: int = 1, *, streamer: bool = False) -> Locator:
    """A phone of the page, signed in and live."""
    if not page.url.startswith(f"{home}/phone"):
        page.goto(f"{home}/phone?two")
    phone = page.get_by_role("region", name=f"Phone {number}")
    phone.get_by_role("textbox").fill(user)
    phone.get_by_role("checkbox").set_checked(streamer)
    phone.get_by_role("button", name="Sign in").click()
    expect(phone.get_by_role("status")).to_have_text("live")
    return phone


def panel_of(context: BrowserContext, home: str, role: str = "admin", user: str = "root") -> Page:
    """The panel, signed in."""
    panel = context.new_page()
    panel.goto(f"{home}/panel")
    panel.get_by_role("textbox").fill(user)
    panel.get_by_label("Role").select_option(role)
    panel.get_by_role("button", name="Sign in").click()
    return panel


def looked_up(panel: Page, user: str) -> Locator:
    panel.get_by_role("searchbox").fill(user)
    panel.get_by_role("button", name="Show").click()
    return panel.get_by_role("region", name="Person")


@pytest.fixture(scope="module")
def panel(browser: Browser, home: str) -> Iterator[Locator]:
    """An admin's panel, in one window for all tests of a file."""
    with window(browser) as context:
        yield panel_of(context, home, user=name()).get_by_role("main")


@pytest.fixture
def wire(home: str) -> Iterator[Wire]:
    url = httpx.URL(home)
    wire = Wire(url.host, url.port or 80)
    yield wire
    wire.close()


def turned(phone: Locator, page: str) -> Locator:
    """A phone, or a panel, that shows another of its pages."""
    phone.get_by_role("navigation").get_by_role("button", name=page).click()
    return phone


def acted(part: Locator, label: str, why: str = "ticket 4711", **fields: str) -> Locator:
    """A dangerous act of the panel's, from its button to its dialog's; the dialog, which stays when the act is refused."""
    part.get_by_role("button", name=label, exact=True).first.click()
    dialog = part.page.get_by_role("dialog", name=label)
    for field, text in fields.items():
        dialog.get_by_label(field, exact=True).fill(text)
    dialog.get_by_label("Reason").fill(why)
    dialog.get_by_role("button", name=label, exact=True).click()
    return dialog


def violations(page: Page) -> list[Any]:
    """What axe finds wrong in a page as it stands, light and dark: rules, and the elements that break them."""
    page.evaluate((pages.SOURCES / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found: list[Any] = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found += page.evaluate("axe.run().then(({ violations }) => violations.map(v => [v.id, v.nodes.map(n => n.html)]))")
    return found
