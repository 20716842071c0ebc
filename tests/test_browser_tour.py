"""The tour of docs/tour.md as a newcomer walks it, in a real Chromium.

Where `OLO_SCREENSHOTS` names a folder, the papers' pictures are taken on the way (`make screenshots`).
"""

import os
import re
from pathlib import Path

import httpx
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.chromium import acted, name, panel_of, signed_in, turned, violations
from tests.conftest import Stack, eventually
from tests.test_browser_panel import found

PICTURES = os.environ.get("OLO_SCREENSHOTS", "")


def taken(page: Page, picture: str) -> None:
    """A picture of a page, if the papers have one, and somebody wants it."""
    if picture and PICTURES:
        page.emulate_media(color_scheme="light")
        page.screenshot(path=Path(PICTURES) / f"{picture}.png", animations="disabled")


def looked_at(page: Page, picture: str = "") -> None:
    """A step's page: axe finds nothing in it, and its picture is taken."""
    assert violations(page) == []
    taken(page, picture)


def call_of(page: Page, bob: Locator, sue: Locator, caller: str, callee: str) -> tuple[int, int]:
    """A call between two phones, to its receipts: the coins that were paid and earned by them."""
    turned(bob, "People").get_by_role("button", name=f"Call {callee}", exact=True).click()
    expect(sue.get_by_role("alert")).to_have_text(f"{caller} is calling")
    sue.get_by_role("button", name="Accept").click()
    expect(bob.get_by_text("Paid so far:")).to_be_visible()
    expect(sue.get_by_text("Earned so far:")).to_be_visible()
    looked_at(page, "call")
    bob.get_by_role("button", name="Hang up").click()
    totals = [phone.get_by_role("row").filter(has_text="Total").get_by_role("cell") for phone in (bob, sue)]
    for total in totals:
        expect(total).to_have_text(re.compile(r"^[-+]\d+$"))
    looked_at(page)
    paid, earned = (int(total.inner_text()) for total in totals)
    return -paid, earned


def asked(url: str, question: str) -> str:
    """What ClickHouse answers an analyst who has nothing but its URL."""
    return httpx.post(url, content=question, trust_env=False).raise_for_status().text


def test_a_newcomer_walks_the_tour(context: BrowserContext, home: str, stack: Stack) -> None:
    """Receipt, panel, ClickHouse and log tell the same call, and agree to the coin."""
    ann, sue = ("ann", "sue") if PICTURES else (name(), name())
    context.new_page()
    phones, panel = context.pages[0], panel_of(context, home)
    for page in (phones, panel):
        page.set_viewport_size({"width": 1280, "height": 800})
    anns, sues = signed_in(phones, home, ann), signed_in(phones, home, sue, 2, streamer=True)
    purse = "Purse" if PICTURES else name()
    main = turned(panel.get_by_role("main"), "Products")
    acted(main, "New product", "the tour", **{"Id": purse, "Name": purse, "Coins": "500", "Id at Apple": purse})
    anns.get_by_text("Buy coins").click()
    anns.get_by_role("button", name=f"Buy {purse}").click()
    phones.get_by_role("dialog").get_by_role("button", name="Pay", exact=True).click()
    expect(anns.locator("strong")).to_have_text("500")
    paid, earned = call_of(phones, anns, sues, ann, sue)
    assert paid > earned > 0
    turned(main, "Calls")
    past = main.get_by_role("region", name="Past calls", exact=True)
    row = found(past.get_by_role("button", name="Show"), past.get_by_role("row").filter(has_text=ann).filter(has_text=sue))
    expect(row.get_by_role("cell").last).to_have_text(str(paid))
    panel.evaluate("scrollTo(0, 0)")
    looked_at(panel, "calls")
    question = f"SELECT paid_coins, earned_coins FROM bills FINAL WHERE payer = '{ann}'"
    assert eventually(lambda: asked(stack.clickhouse, question)) == f"{paid}\t{earned}\n"
    turned(main, "Questions").get_by_label("In SQL").fill(question)
    main.get_by_role("button", name="Ask", exact=True).click()
    expect(main.get_by_role("region", name="Answer").get_by_role("cell")).to_have_text([str(paid), str(earned)])
    looked_at(panel)
    records = turned(main, "Log").get_by_role("region", name="Records")
    records.get_by_label("Topic").select_option("account.events")
    records.get_by_label("Key").fill(f"{ann}/coins")
    entry = records.get_by_role("row").filter(has_text=f'"coins":-{paid}')
    found(records.get_by_role("button", name="Show"), entry).get_by_role("button", name="Causes").click()
    tree = main.get_by_role("list", name="Causes and consequences")
    expect(tree.get_by_role("button", name="EntryRecorded", disabled=True)).to_have_count(1)
    tree.scroll_into_view_if_needed()
    taken(panel, "log")  # axe takes seconds for it, and looks at it in tests/test_browser_operations.py
