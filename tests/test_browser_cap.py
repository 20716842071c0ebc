"""The payer's daily cap on the phone, in a real Chromium: set, lowered at once, raised a day later, taken back; by keyboard, on
a small screen, in three languages."""

import re
from typing import Final

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.chromium import signed_in, violations, window
from tests.conftest import Api, NewUser, Phones, eventually
from tests.test_browser_small import SMALL, walked

# By language: the summary, and what is told where there is no cap.
WORDS: Final = {
    "en-US": ("Daily cap", "Nothing limits"), "de-DE": ("Tageslimit", "Nichts begrenzt"),
    "ru-RU": ("Дневной лимит", "Траты на"),
}  # fmt: skip


def opened(phone: Locator, language: str) -> Locator:
    """The form is opened by keyboard; the line that tells how the cap stands."""
    name, none = WORDS[language]
    part = phone.locator("details").filter(has=phone.page.get_by_text(name, exact=True))
    part.locator("summary").press("Enter")
    told = part.get_by_role("status")
    expect(told).to_contain_text(none)
    return told


def test_a_cap_is_lowered_at_once_raised_a_day_later_and_taken_back(
    browser: Browser, home: str, admin: Api, phones: Phones
) -> None:
    bob, sue = phones(coins=500)
    gift = f"cap-{bob.user}"
    assert admin.put(f"/v1/admin/gifts/{gift}", json={"price_coins": 30, "share_coins": 10}).status_code == 200
    with window(browser) as context:
        page = context.new_page()
        page.set_viewport_size(SMALL)  # type: ignore[arg-type]
        phone = signed_in(page, home, bob.user)
        told = opened(phone, "en-US")
        expect(told).to_have_text("Nothing limits what you spend on calls and gifts.")
        field = phone.get_by_label("Coins in any 24 hours")
        field.fill("50")
        field.press("Enter")
        expect(told).to_have_text("In any 24 hours at most 50, left now 50")
        expect(field).to_have_value("")
        assert bob.api.place("/v1/gifts", to=sue.user, gift=gift).status_code == 201
        expect(told).to_have_text(re.compile("^In any 24 hours at most 50, left now 20; more from .+"))
        assert bob.api.get("/v1/balance").json()["cap_left_coins"] == 20
        field.fill("100")
        phone.get_by_role("button", name="Set", exact=True).press("Enter")
        expect(phone.get_by_text(re.compile("^From .+: 100$"))).to_be_visible()
        assert walked(page) == []
        assert violations(page) == []
        phone.get_by_role("button", name="Keep 50").press("Enter")
        expect(phone.get_by_role("button", name="Keep 50")).to_have_count(0)
        phone.get_by_role("button", name="No cap").press("Enter")
        expect(phone.get_by_text(re.compile("^From .+: none$"))).to_be_visible()
        expect(phone.get_by_role("button", name="No cap")).to_have_count(0)
        eventually(lambda: bob.api.get("/v1/spending-cap").json()["next_at"])
        field.fill("-1")
        field.press("Enter")
        assert field.evaluate("(one) => !one.checkValidity()")
        assert bob.api.get("/v1/spending-cap").json()["own_coins"] == 50


@pytest.mark.parametrize("language", ["de-DE", "ru-RU"])
def test_the_form_fits_a_small_screen_in_each_language(browser: Browser, home: str, new_user: NewUser, language: str) -> None:
    bob, context = new_user(), browser.new_context(locale=language, viewport=SMALL)  # type: ignore[arg-type]
    assert bob.put("/v1/spending-cap", json={"coins": 0}).status_code == 200
    assert bob.put("/v1/spending-cap", json={"coins": 900_000_000}).status_code == 200
    page = context.new_page()
    page.goto(f"{home}/phone")
    page.get_by_role("textbox").fill(bob.user)
    page.locator("form button").first.press("Enter")
    page.get_by_text(WORDS[language][0], exact=True).press("Enter")
    expect(page.get_by_role("spinbutton")).to_be_visible()
    expect(page.get_by_text(re.compile("900.000.000")).first).to_be_visible()
    assert walked(page) == []
    assert violations(page) == []
    context.close()
