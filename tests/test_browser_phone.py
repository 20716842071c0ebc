"""The phone in a real Chromium: whom it sees, its calls, chats and notices, and what a browser may not do."""

from playwright.sync_api import BrowserContext, expect

from tests.chromium import HOSTILE, name, signed_in, turned, violations
from tests.conftest import Api, NewUser, eventually


def named(api: Api, called: str) -> None:
    """Give somebody's public profile a name."""
    assert api.put("/v1/profile", json={"name": called, "age": 30, "country": "DE", "languages": ["de"]}).status_code == 200


def test_the_gallery_says_why_and_moves_by_itself(context: BrowserContext, home: str, new_user: NewUser) -> None:
    """Who comes appears, a favourite stays one, each card says why, and who is blocked is gone; a hostile name is a text."""
    sue = new_user("streamer")
    named(sue, HOSTILE[0])
    page = context.new_page()
    bobs = name()
    bob = turned(signed_in(page, home, bobs), "People")
    expect(bob.get_by_role("list", name="People")).to_be_visible()
    turned(signed_in(page, home, sue.user, 2, streamer=True), "Coins")
    card = bob.get_by_role("listitem").filter(has=page.get_by_role("heading", name=HOSTILE[0], exact=True))
    expect(card).to_contain_text("30 years · DE · de")
    star = card.get_by_role("button", name="Favourite")
    expect(star).to_have_attribute("aria-pressed", "false")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    card.get_by_text("Why here?").click()
    expect(card.get_by_text("a favourite")).to_be_visible()
    expect(card.get_by_text("+3,600 s")).to_be_visible()
    star.click()
    expect(star).to_have_attribute("aria-pressed", "false")
    expect(card.get_by_text("a favourite")).to_have_count(0)
    assert violations(page) == []
    card.get_by_label("Reason").select_option("spam")
    card.get_by_role("button", name="Block").click()
    expect(card).to_have_count(0)
    eventually(lambda: bobs not in {one["user"] for one in sue.get("/v1/gallery").json()["cards"]})
