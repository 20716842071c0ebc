"""The pages in a real Chromium, on the running platform: a newcomer's way, the network cut and back, dark, small, by keyboard.

Without a Chromium on the PATH, or without built pages (the network was away), these tests are skipped, and say so.
"""

import shutil
import uuid
from collections.abc import Iterator
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Locator, Page, expect, sync_playwright

from infra import pages
from infra.errors import UsageError
from tests.conftest import Api, NewUser, Stack, eventually
from tests.wire import Wire

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000
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
def home(stack: Stack) -> str:
    """The platform's address, when its pages are built."""
    try:
        pages.build()  # waits for the build that the platform has begun
    except UsageError as error:
        pytest.skip(f"the pages cannot be built: {error}")
    eventually(lambda: httpx.get(f"{stack.http}/phone").status_code == 200)
    return stack.http


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser's window in which no script may fail and nothing is refused by the page's own policy."""
    told: list[str] = []
    context = browser.new_context(locale="en-US", viewport={"width": 900, "height": 700})
    context.set_default_timeout(PATIENCE_MS)

    def note(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            told.append(message.text)

    def surprise(dialog: Dialog) -> None:
        told.append(dialog.message)
        dialog.dismiss()

    context.on("console", note)
    context.on("weberror", lambda error: told.append(str(error.error)))
    context.on("dialog", surprise)
    yield context
    context.close()
    assert told == []


def name() -> str:
    return f"u-{uuid.uuid4().hex[:10]}"


def signed_in(page: Page, home: str, user: str, number: int = 1) -> Locator:
    """A phone of the page, signed in and live."""
    if not page.url.startswith(f"{home}/phone"):
        page.goto(f"{home}/phone?two")
    phone = page.get_by_role("region", name=f"Phone {number}")
    phone.get_by_role("textbox").fill(user)
    phone.get_by_role("button", name="Sign in").click()
    expect(phone.get_by_role("status")).to_have_text("live")
    return phone


def panel_of(context: BrowserContext, home: str, role: str = "admin") -> Page:
    """The panel, signed in."""
    panel = context.new_page()
    panel.goto(f"{home}/panel")
    panel.get_by_label("Role").select_option(role)
    panel.get_by_role("button", name="Sign in").click()
    return panel


def looked_up(panel: Page, user: str) -> Locator:
    panel.get_by_role("searchbox").fill(user)
    panel.get_by_role("button", name="Show").click()
    return panel.get_by_role("region", name="Person")


def coins_of(phone: Locator) -> Locator:
    return phone.locator("strong")


def test_a_newcomers_way(context: BrowserContext, home: str, admin: Api) -> None:
    """Two phones sign up; an admin gives one of them coins, who sees them at once; the API and the panel's book agree."""
    ann, ben = name(), name()
    page = context.new_page()
    one, two = signed_in(page, home, ann, 1), signed_in(page, home, ben, 2)
    person = looked_up(panel_of(context, home), ann)
    person.get_by_label("Coins to grant").fill("700")
    person.get_by_role("button", name="Grant").click()
    expect(person.get_by_role("status")).to_have_text("700 coins granted.")
    expect(coins_of(one)).to_have_text("700")
    expect(one.get_by_role("listitem")).to_have_text(["grant +700"])
    expect(coins_of(two)).to_have_text("0")
    assert admin.balance(user=ann).json()["available_coins"] == 700
    eventually(lambda: len(admin.get("/v1/balance/entries", params={"user": ann}).json()["entries"]) == 2)
    person.get_by_role("button", name="Read anew").click()
    expect(person.get_by_role("row")).to_have_count(3)
    expect(person.get_by_role("row").nth(1)).to_contain_text("grant")


@pytest.fixture
def wire(home: str) -> Iterator[Wire]:
    url = httpx.URL(home)
    wire = Wire(url.host, url.port or 80)
    yield wire
    wire.close()


def test_the_network_is_cut_and_back(context: BrowserContext, wire: Wire, admin: Api) -> None:
    """What happened meanwhile comes once, in order, and nothing is lost."""
    ann = name()
    phone = signed_in(context.new_page(), f"http://127.0.0.1:{wire.port}", ann)
    for coins, away in ((1, False), (2, True), (3, True), (4, False), (5, True), (6, False)):
        if away:
            wire.cut()
            expect(phone.get_by_role("status")).to_have_text("no connection; trying again")
        else:
            wire.mend()
            expect(phone.get_by_role("status")).to_have_text("live")
        assert admin.place("/v1/admin/grants", account=f"{ann}/coins", coins=coins).status_code == 201
    expect(phone.get_by_role("listitem")).to_have_text([f"grant +{coins}" for coins in (6, 5, 4, 3, 2, 1)])
    expect(coins_of(phone)).to_have_text("21")


def test_a_grant_over_a_wire_that_is_cut_counts_once(
    context: BrowserContext, wire: Wire, new_user: NewUser, admin: Api
) -> None:
    """The panel sends it again under the same key until it is answered."""
    ann = new_user().user
    person = looked_up(panel_of(context, f"http://127.0.0.1:{wire.port}"), ann)
    grant = person.get_by_role("button", name="Grant")
    expect(grant).to_be_enabled()
    wire.cut()
    grant.click()
    expect(grant).to_be_disabled()
    wire.mend()
    expect(person.get_by_role("status")).to_have_text("500 coins granted.")
    assert admin.balance(user=ann).json()["balance_coins"] == 500


def test_what_is_refused_is_told(context: BrowserContext, home: str) -> None:
    page = context.new_page()
    page.goto(f"{home}/phone")
    page.get_by_role("textbox").fill("two words")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Olo does not take the token's user id")
    person = looked_up(panel_of(context, home), f"nobody-{name()}")
    expect(person.get_by_role("alert")).to_be_visible()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_is_only_a_text(context: BrowserContext, home: str, hostile: str) -> None:
    person = looked_up(panel_of(context, home), hostile)
    expect(person.get_by_role("heading")).to_have_text(hostile)
    page = context.new_page()
    page.goto(f"{home}/phone")
    page.get_by_role("textbox").fill(hostile)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").or_(page.get_by_role("heading", name=hostile, exact=True)).first).to_be_visible()


def test_support_sees_and_grants_nothing(context: BrowserContext, home: str, new_user: NewUser) -> None:
    person = looked_up(panel_of(context, home, "support"), new_user().user)
    expect(person.get_by_text("coins available")).to_be_visible()
    expect(person.get_by_role("button", name="Grant")).to_have_count(0)


def test_by_keyboard_on_a_small_dark_screen_in_russian(context: BrowserContext, home: str) -> None:
    ann = name()
    page = context.new_page()
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(f"{home}/phone")
    page.get_by_role("combobox").select_option("ru")
    page.get_by_role("combobox").focus()
    page.keyboard.press("Tab")
    page.keyboard.type(ann)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("на связи")
    assert page.evaluate("document.documentElement.lang") == "ru"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(19, 19, 22)"


def test_no_request_leaves_the_machine_and_tokens_stay_in_memory(context: BrowserContext, home: str) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    signed_in(page, home, name())
    assert [url for url in asked if not url.startswith(home) and not url.startswith("data:")] == []
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(
    context: BrowserContext, home: str, new_user: NewUser, scheme: Literal["light", "dark"]
) -> None:
    axe = (pages.SOURCES / "node_modules" / "axe-core" / "axe.min.js").read_text()
    page, panel = context.new_page(), context.new_page()
    for one, path in ((page, "/phone?two"), (panel, "/panel")):
        one.emulate_media(color_scheme=scheme)
        one.goto(f"{home}{path}")
    panel.get_by_role("button", name="Sign in").click()
    person = looked_up(panel, new_user().user)
    expect(person.get_by_role("button", name="Grant")).to_be_enabled()
    signed_in(page, home, name())  # the second phone still asks who it is
    for one in (page, panel):
        one.evaluate(axe)
        found = one.evaluate("axe.run().then(({ violations }) => violations.map(v => [v.id, v.nodes.map(n => n.html)]))")
        assert found == []
