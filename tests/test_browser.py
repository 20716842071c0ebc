"""The pages in a real Chromium, on the running platform: a newcomer's way, the network cut and back, small, by keyboard."""

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.chromium import HOSTILE, looked_up, name, panel_of, signed_in, violations
from tests.conftest import Api, NewUser, eventually
from tests.wire import Wire


def coins_of(phone: Locator) -> Locator:
    return phone.locator("strong")


def test_a_newcomers_way(context: BrowserContext, home: str, admin: Api) -> None:
    """Two phones sign up; an admin gives one of them coins, who sees them at once; the API and the panel's book agree."""
    ann, ben = name(), name()
    page = context.new_page()
    one, two = signed_in(page, home, ann, 1), signed_in(page, home, ben, 2)
    person = looked_up(panel_of(context, home), ann)
    person.get_by_label("Coins to grant").fill("700")
    person.get_by_label("Why").first.fill("welcome")
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
    person.get_by_label("Why").first.fill("ticket 4711")
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


def test_axe_finds_no_violation(context: BrowserContext, home: str, new_user: NewUser) -> None:
    page = context.new_page()
    person = looked_up(panel_of(context, home), new_user().user)
    expect(person.get_by_role("button", name="Grant")).to_be_enabled()
    signed_in(page, home, name())  # the second phone still asks who it is
    assert violations(page) == []
    assert violations(person.page) == []
