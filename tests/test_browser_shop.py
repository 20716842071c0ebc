"""Buying on a phone in a real Chromium, by the stand-in for the App Store, on the running platform."""

import uuid

from playwright.sync_api import BrowserContext, Locator, Route, expect

from tests.chromium import HOSTILE, signed_in, violations
from tests.conftest import Api, NewUser
from tests.wire import Wire


def on_sale(admin: Api, name: str, country: str, currency: str) -> str:
    """A product of 100 coins, sold in one country; a debt above 10 coins freezes its buyer."""
    product = f"shop-{uuid.uuid4().hex[:8]}"
    price = {"country": country, "currency": currency, "price_milliunits": 4_990}
    body = {"coins": 100, "apple_id": product, "name": name, "prices": [price], "freeze_above_debt_coins": 10}
    assert admin.put(f"/v1/admin/products/{product}", json=body).status_code == 200
    return product


def bought(phone: Locator, name: str, choice: str, *, twice: bool = False) -> Locator:
    """Something is bought, and the store's sheet answered; the line that tells how it stands."""
    phone.get_by_role("button", name=f"Buy {name}").dblclick()
    answer = phone.page.get_by_role("dialog").get_by_role("button", name=choice, exact=True)
    answer.dblclick() if twice else answer.click()
    expect(phone.page.get_by_role("dialog")).to_have_count(0)
    return phone.get_by_role("list", name="Purchases").get_by_role("listitem").first


def brought_over_a_bad_network(context: BrowserContext, wire: Wire, phone: Locator, waits: Locator) -> None:
    """Somebody agrees to a purchase while the network is cut, and the first answer is lost behind that."""
    expect(waits).to_contain_text("waits until somebody agrees")
    sent: list[str] = []

    def lose(route: Route) -> None:
        """The transaction comes to the platform, and its first answer never to the phone."""
        sent.append(route.request.post_data or "")
        if len(sent) == 1:
            route.fetch()
            route.abort("connectionreset")
        else:
            route.fallback()

    context.route("**/v1/payments/apple", lose)
    wire.cut()
    waits.get_by_role("button", name="They agree").click()
    expect(phone.get_by_role("status")).to_have_text("no connection; trying again")
    expect(waits).to_contain_text("on its way")
    wire.mend()
    expect(waits).to_contain_text("the coins are there")
    assert len(sent) > 1
    assert len(set(sent)) == 1


def test_coins_are_bought_once_and_a_refund_of_spent_ones_is_a_debt(
    context: BrowserContext, wire: Wire, new_user: NewUser, admin: Api
) -> None:
    """By double click, over a wire that is cut, with an answer that is lost, later, not at all; then given back, and spent."""
    bob, name = new_user(), f"{HOSTILE[0]}{uuid.uuid4().hex[:4]}"
    on_sale(admin, name, "DE", "EUR")
    on_sale(admin, "of another country", "FR", "EUR")
    assert bob.put("/v1/profile", json={"name": "Bob", "country": "DE"}).status_code == 200
    page = context.new_page()
    phone = signed_in(page, f"http://127.0.0.1:{wire.port}", bob.user)
    coins, purchases = phone.locator("strong"), phone.get_by_role("list", name="Purchases")
    phone.get_by_text("Buy coins").click()
    expect(phone.get_by_role("button", name=f"Buy {name}, €4.99")).to_be_visible()
    expect(phone.get_by_role("button", name="of another country")).to_have_count(0)
    phone.get_by_role("button", name=f"Buy {name}").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("€4.99")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(purchases).to_have_count(0)
    expect(bought(phone, name, "The payment fails")).to_contain_text("took no money")
    expect(bought(phone, name, "Pay", twice=True)).to_contain_text("the coins are there")
    expect(coins).to_have_text("100")
    waits = bought(phone, name, "Somebody else has to agree")
    brought_over_a_bad_network(context, wire, phone, waits)
    expect(coins).to_have_text("200")
    assert admin.place("/v1/admin/transfers", payer=f"{bob.user}/coins", payee="@shop", coins=150).status_code == 201
    expect(coins).to_have_text("50")
    waits.get_by_role("button", name="Ask for a refund").click()
    expect(waits).to_contain_text("given back")
    expect(phone.get_by_text("50 coins are owed")).to_be_visible()
    expect(phone.get_by_text("Your account is frozen")).to_be_visible()
    expect(coins).to_have_text("0")
    assert violations(page) == []
    page.get_by_role("combobox", name="Language").select_option("de")
    expect(page.get_by_text("50 Münzen sind offen")).to_be_visible()
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    balance = bob.balance().json()
    assert (balance["balance_coins"], balance["debt_coins"]) == (0, 50)
