"""The panel's frame in a real Chromium: the palette, by keyboard, small and dark; each role is offered what the API allows."""

import re
from typing import Final

from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.chromium import HOSTILE, name, panel_of, violations
from tests.conftest import Api, Stack

STAFF: Final = ("admin", "auditor", "finance", "support")
# Pages that are for all of staff, and ask for nothing before somebody is looked up.
FOR_ALL: Final = {"People"}


def offered(panel: Page) -> list[Locator]:
    """The buttons of the pages that are offered."""
    pages = panel.get_by_role("navigation", name="Pages").get_by_role("button")
    expect(pages.first).to_be_visible()
    return pages.all()


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


def test_each_role_is_offered_the_pages_that_the_api_allows_and_an_auditor_no_act(
    context: BrowserContext, home: str, stack: Stack
) -> None:
    """What each page asks for is seen with an admin; a role is offered the page if the API answers all of it to that role."""
    asked: dict[str, set[str]] = {}
    page = ""

    def note(request: Request) -> None:
        if page and "/v1/" in request.url and request.method == "GET":
            asked[page].add(request.url.removeprefix(stack.http))

    for role in STAFF:
        panel = panel_of(context, home, role, user := name())
        if role == "admin":
            panel.on("request", note)
        else:
            api = Api(stack, user, role)
            allowed = [one for one, urls in asked.items() if all(api.get(url).status_code != 403 for url in urls)]
            assert [button.inner_text() for button in offered(panel)] == allowed, role
        for button in offered(panel) if role in ("admin", "auditor") else ():
            page = button.inner_text()
            asked.setdefault(page, set())
            button.click()
            expect(panel.locator(".page > *").first).to_be_visible()
            if role == "auditor":
                expect(panel.locator("[data-act]")).to_have_count(0)
    assert {one for one, urls in asked.items() if not urls} == FOR_ALL
