"""The panel's page Now in a real Chromium: numbers move by themselves, say as of when they are, and when they are old."""

import re

from playwright.sync_api import BrowserContext, expect

from tests.chromium import name, panel_of, turned, violations
from tests.conftest import Api, NewUser, eventually


def test_now_moves_by_itself_and_says_what_is_stale(context: BrowserContext, home: str, admin: Api, new_user: NewUser) -> None:
    """An auditor looks; coins come in; then the network is away, and the machine's clock goes on."""
    panel = panel_of(context, home, "auditor", name())
    main = turned(panel.get_by_role("main"), "Now")
    now = main.get_by_role("region", name="Now", exact=True)
    expect(now.get_by_role("status")).to_have_text("live")
    coins = now.get_by_role("listitem").filter(has_text="coins in")
    assert admin.place("/v1/admin/grants", account=f"{new_user().user}/coins", coins=987_000).status_code == 201
    eventually(lambda: int("0" + re.sub(r"\D", "", coins.locator("strong").inner_text())) >= 987_000)
    expect(coins.locator("time")).to_contain_text("as of")
    expect(main.get_by_role("table").get_by_role("row").filter(has_text="money")).to_be_visible(timeout=30_000)
    expect(main.get_by_role("list", name="Laws").get_by_role("listitem")).to_have_count(3)
    assert violations(panel) == []
    panel.emulate_media(color_scheme="dark")
    panel.set_viewport_size({"width": 320, "height": 640})
    assert panel.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.set_offline(True)
    expect(now.get_by_role("status")).to_contain_text("no connection")
    panel.evaluate("Date.now = (then => () => then() + 60_000)(Date.now)")
    expect(coins.locator("time")).to_contain_text("stale")
    assert violations(panel) == []
