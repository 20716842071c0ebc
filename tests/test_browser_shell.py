"""The panel's frame in a real Chromium: the palette, by keyboard, small and dark; each role is offered what the API allows."""

import re
from typing import Final

from playwright.sync_api import BrowserContext, Locator, Page, Request, Response, expect

from tests.chromium import HOSTILE, name, panel_of, violations
from tests.conftest import Api, Stack, eventually
from tests.lab.bench.rows import acts

STAFF: Final = ("admin", "auditor", "finance", "support")
# Pages that are for all of staff, and ask for nothing before somebody is looked up.
FOR_ALL: Final = {"People"}


def offered(panel: Page) -> list[Locator]:
    """The buttons of the pages that are offered."""
    pages = panel.get_by_role("navigation", name="Pages").get_by_role("button")
    expect(pages.first).to_be_visible()
    return pages.all()


def let_in(api: Api, url: str) -> bool:
    """Whether the API answers this, which may be a stream without an end."""
    with api.stream("GET", url) as answer:
        return answer.status_code != 403


def summoned(panel: Page, typed: str) -> Locator:
    """The palette, by its keys, with something typed."""
    panel.keyboard.press("Control+k")
    palette = panel.get_by_role("dialog", name="Go to")
    expect(palette.get_by_role("combobox")).to_be_focused()
    panel.keyboard.type(typed)
    return palette


def test_the_palette_goes_everywhere_by_keyboard(context: BrowserContext, home: str) -> None:
    """To a page, to an act's dialog and to a person; on a small dark screen the menu opens; a hostile text is a text."""
    panel = panel_of(context, home, user=name())
    expect(panel.get_by_role("searchbox")).to_be_visible()
    panel.emulate_media(color_scheme="dark")
    palette = summoned(panel, "prod")
    expect(palette.get_by_role("option").first).to_have_text(re.compile("Products"))
    assert violations(panel) == []
    panel.keyboard.press("ArrowDown")
    expect(palette.get_by_role("option", selected=True)).to_have_text(re.compile("New product"))
    panel.keyboard.press("Enter")
    expect(panel.get_by_role("dialog", name="New product")).to_be_visible()
    panel.keyboard.press("Escape")
    panel.set_viewport_size({"width": 320, "height": 640})
    for hostile in HOSTILE:
        expect(summoned(panel, hostile).get_by_role("option", name=re.compile("Products"))).to_have_count(0)
        panel.keyboard.press("Escape")
    summoned(panel, "somebody")
    panel.keyboard.press("Enter")
    expect(panel.get_by_role("region", name="Person").get_by_role("heading")).to_have_text("somebody")
    menu = panel.get_by_role("button", name="Pages", exact=True)
    menu.press("Enter")
    panel.get_by_role("navigation", name="Pages").get_by_role("button", name="Approvals").press("Enter")
    expect(panel.get_by_role("region", name="Approvals")).to_be_visible()
    expect(menu).to_have_attribute("aria-expanded", "false")
    assert panel.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert panel.url == f"{home}/panel"


def test_of_ten_thousand_rows_those_are_drawn_that_are_seen(context: BrowserContext, home: str) -> None:
    """By keyboard from the first to the last; a screen reader is told how many there are."""
    panel = panel_of(context, home, "auditor", name())
    panel.route("**/v1/admin/audit?**", lambda route: route.fulfill(json={"acts": acts(10_000), "next_before": None}))
    panel.get_by_role("navigation", name="Pages").get_by_role("button", name="Audit").click()
    table = panel.get_by_role("region", name="Acts")
    expect(table.get_by_text("thing-0", exact=True)).to_be_visible()
    assert table.get_by_role("row").count() < 80
    table.press("End")
    expect(table.get_by_text("thing-9999", exact=True)).to_be_visible()
    assert table.get_by_role("row").count() < 80
    expect(table.get_by_role("table")).to_have_attribute("aria-rowcount", "10001")
    assert violations(panel) == []


class Asking:
    """What a panel asks the API for, by the page that is turned to."""

    def __init__(self, panel: Page, home: str) -> None:
        self._panel, self._home, self._page = panel, home, ""
        self._open: set[Request] = set()
        self.asked: dict[str, set[str]] = {}
        panel.on("request", self._note)
        panel.on("requestfinished", self._over)
        panel.on("requestfailed", self._over)
        panel.on("response", lambda answer: self._over(answer.request) if is_stream(answer) else None)

    def _note(self, request: Request) -> None:
        if self._page and "/v1/" in request.url and request.method == "GET":
            self._open.add(request)
            self.asked[self._page].add(request.url.removeprefix(self._home))

    def _over(self, request: Request) -> None:
        self._open.discard(request)

    def turn(self, button: Locator) -> None:
        """Turn to a page, until it has asked for all that it begins with."""
        self._page = button.inner_text()
        self.asked[self._page] = set()
        button.click()
        expect(self._panel.locator(".page > *").first).to_be_visible()
        eventually(self._is_quiet)

    def _is_quiet(self) -> bool:
        """Whether nothing is asked for any more: what comes next is asked within a frame behind an answer."""
        return all(self._panel.evaluate("new Promise(requestAnimationFrame)") and not self._open for _ in range(3))


def is_stream(answer: Response) -> bool:
    """Whether an answer has no end."""
    return answer.headers.get("content-type", "").startswith("text/event-stream")


def test_each_role_is_offered_the_pages_that_the_api_allows_and_an_auditor_no_act(
    context: BrowserContext, home: str, stack: Stack
) -> None:
    """What each page asks for is seen with an admin; a role is offered the page if the API answers all of it to that role."""
    asked: dict[str, set[str]] = {}
    for role in STAFF:
        panel = panel_of(context, home, role, user := name())
        pages, asking = offered(panel), Asking(panel, stack.http)
        if role == "admin":
            for button in pages:
                asking.turn(button)
            asked = asking.asked
            continue
        api = Api(stack, user, role)
        allowed = [one for one, urls in asked.items() if all(let_in(api, url) for url in urls)]
        assert [button.inner_text() for button in pages] == allowed, role
        for button in pages if role == "auditor" else ():
            asking.turn(button)
            expect(panel.locator("[data-act='change']")).to_have_count(0)
    assert {one for one, urls in asked.items() if not urls} == FOR_ALL
