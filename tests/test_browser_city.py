"""Every page of the panel in a real Chromium while a city lives: what its people do is there, and moves."""

from collections.abc import Callable
from itertools import cycle
from typing import Final

from playwright.sync_api import BrowserContext, Locator, Page, Request, Response, expect

from tests.chromium import looked_up, name, panel_of, turned, violations
from tests.conftest import eventually
from tests.living import LivingCity

# Of each page: the tables that are filled by people who live, and pay; none where nobody does what it shows.
TABLES: Final[dict[str, tuple[str, ...]]] = {
    "Now": ("Table of flows",),
    "People": ("Entries", "Moments"),
    "Calls": ("List of live calls", "List by tariff", "List of past calls"),
    "Reports": (),
    "Payouts": ("List of payouts",),
    "Approvals": (),
    "Products": ("List of products",),
    "Tariffs": ("List of tariffs",),
    "Cohorts": ("List of cohorts",),
    "Gallery": ("Cards",),
    "Notifications": ("By day and kind",),
    "Attribution": ("By campaign", "List of postbacks"),
    "Log": ("List of records", "List of topics"),
    "Dead letters": (),
    "Questions": ("Answer",),
    "Outbox": ("List of deliveries",),
    "Timetable": ("List of jobs",),
    "Migration": (),
    "Settings": ("List of settings",),
    "Audit": ("Acts",),
}
# The pages with most of the city in them; what axe says of all others is asked where each is tried.
BUSY: Final = ("Now", "People", "Calls")
# A payout stands at one of them, and goes on while it is looked for.
PAYOUTS: Final = ("held", "approved", "exported", "paid")
# Of a table: whether it has a row that is more than a sentence saying that there is none.
FILLED: Final = "(table) => [...table.querySelectorAll('tbody tr')].some((row) => row.cells.length > 1)"


def watched(page: Page) -> list[str]:
    """What goes wrong in a page from now on: errors of the console, requests that fail, and answers that say no. A stream ends
    when its page is turned away from."""
    told: list[str] = []

    def failed(request: Request) -> None:
        if not request.url.endswith("/v1/admin/now"):
            told.append(f"{request.method} {request.url}: {request.failure}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            told.append(f"{response.status} {response.request.method} {response.url}")

    page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("requestfailed", failed)
    page.on("response", answered)
    return told


def filled(panel: Locator, label: str) -> None:
    """Wait until a table has rows; it is read anew by the page's own button, where it has one, or as what stands elsewhere."""
    again = panel.get_by_role("button", name="Read anew", exact=True).or_(panel.get_by_role("button", name="Show", exact=True))
    table = panel.get_by_role("region", name=label, exact=True).get_by_role("table")
    status, others = panel.get_by_label("Status"), cycle(PAYOUTS)

    def has_rows() -> bool:
        if table.count() and table.evaluate(FILLED):
            return True
        if not again.count() or again.first.is_disabled():
            return False
        if status.count():
            status.select_option(next(others))
        else:
            again.first.click()
        return False

    eventually(has_rows)


def moves(look: Callable[[], object]) -> None:
    """Wait until what is seen is another."""
    before = look()
    eventually(lambda: look() != before)


def used(panel: Locator, page: str, user: str) -> None:
    """What a person of staff does on a page before anything is there."""
    if page == "People":
        looked_up(panel.page, user)
    elif page == "Gallery":
        panel.get_by_label("As whom, by id").fill(user)
        panel.get_by_role("button", name="Preview").click()
    elif page == "Questions":
        panel.get_by_label("In SQL").fill("SELECT topic, count() FROM log GROUP BY topic")
        panel.get_by_role("button", name="Ask", exact=True).click()


def test_every_page_of_the_panel_on_a_living_city(context: BrowserContext, home: str, living_city: LivingCity) -> None:
    page = panel_of(context, home, user=name())
    wrong, panel = watched(page), page.get_by_role("main")
    buttons = page.get_by_role("navigation", name="Pages").get_by_role("button")
    expect(buttons).to_have_text(list(TABLES))
    # the day on which they are paid comes last
    for one, tables in sorted(TABLES.items(), key=lambda item: item[0] == "Payouts"):
        turned(panel, one)
        expect(page.locator(".page > *").first).to_be_visible()
        used(panel, one, living_city.payer)
        for label in tables:
            filled(panel, label)
        expect(panel.get_by_role("button", name="Read anew", disabled=True)).to_have_count(0)
        if one == "Now":
            moves(lambda: panel.get_by_role("list", name="In the last minute").locator("strong").all_inner_texts())
        elif one == "Log":
            panel.get_by_role("button", name="Follow").click()
            moves(lambda: panel.get_by_role("region", name="List of records").get_by_role("row").nth(1).inner_text())
        if one in BUSY:
            wrong += [f"{one}: {found}" for found in violations(page)]
    assert wrong == []
