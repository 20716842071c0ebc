"""The phone in a real Chromium: whom it sees, its calls, chats and notices, and what a browser may not do."""

import uuid

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from infra.clickhouse import connect
from tests.chromium import HOSTILE, name, signed_in, turned, violations, window
from tests.conftest import Api, NewUser, Stack, eventually


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


def coins_of(api: Api, reason: str) -> int:
    """The sum of somebody's entries for a reason, from the warehouse."""
    entries = api.get("/v1/balance/entries").json()["entries"]
    return sum(entry["coins"] for entry in entries if entry["reason"] == reason)


@pytest.fixture
def talkers(context: BrowserContext, home: str, new_user: NewUser, admin: Api) -> tuple[Page, Locator, Locator, Api, Api]:
    """A page with two phones: a user's, who has 500 coins, and a streamer's. Their calls cost 9 coins at once and 60 at 2 s."""
    country = uuid.uuid4().hex[:6]
    payer = {"checkpoints": [{"after_s": 0, "coins": 9}, {"after_s": 2, "coins": 60}], "step_s": 60, "step_coins": 60}
    earner = {"checkpoints": [{"after_s": 2, "coins": 30}], "step_s": 60, "step_coins": 30}
    body = {"rule": {"kind": "direct", "payer_role": "user", "country": country}, "payer": payer, "earner": earner}
    assert admin.put(f"/v1/admin/tariffs/web-{country}", json=body).status_code == 200
    bob, sue = new_user(country=country), new_user("streamer")
    assert admin.place("/v1/admin/grants", account=f"{bob.user}/coins", coins=500).status_code == 201
    page = context.new_page()
    one, two = signed_in(page, home, bob.user), signed_in(page, home, sue.user, 2, streamer=True)
    return page, one, two, bob, sue


def test_two_phones_call_and_the_receipt_is_what_the_books_say(
    talkers: tuple[Page, Locator, Locator, Api, Api], stack: Stack
) -> None:
    """The first call is declined, the second one taken: the price runs, and phones, API and ClickHouse agree to the coin."""
    page, bob, sue, bobs, sues = talkers
    turned(bob, "People").get_by_role("button", name=f"Call {sues.user}").click()
    expect(sue.get_by_role("alert")).to_have_text(f"{bobs.user} is calling")
    assert violations(page) == []
    sue.get_by_role("button", name="Decline").click()
    for phone in (bob, sue):
        expect(phone.get_by_role("alert")).to_contain_text("declined")
        phone.get_by_role("button", name="Close").click()
    bob.get_by_role("button", name=f"Call {sues.user}").click()
    sue.get_by_role("button", name="Accept").press("Enter")
    expect(bob.get_by_text("Paid so far: 69 as of")).to_be_visible()
    expect(bob.get_by_text("then 60 in 0:")).to_be_visible()
    expect(sue.get_by_text("Earned so far: 30 as of")).to_be_visible()
    assert violations(page) == []
    bob.get_by_role("button", name="Hang up").click()
    rows = {phone: phone.get_by_role("row") for phone in (bob, sue)}
    expect(rows[bob]).to_have_text(["0:00 paid -9", "0:02 paid -60", "Total -69"], use_inner_text=True)
    expect(rows[sue]).to_have_text(["0:02 earned +30", "Total +30"], use_inner_text=True)
    assert violations(page) == []
    for phone in (bob, sue):
        phone.get_by_role("button", name="Close").click()
    expect(turned(bob, "Coins").locator("strong")).to_have_text("431")
    expect(turned(sue, "Coins").get_by_text("30 earned")).to_be_visible()
    assert (bobs.balance().json()["available_coins"], sues.balance(book="earnings").json()["balance_coins"]) == (431, 30)
    eventually(lambda: coins_of(bobs, "call") == -69)
    bill = "SELECT paid_coins, earned_coins FROM bills WHERE payer = {user:String} AND paid_coins > 0"
    client = connect(stack.clickhouse)
    found = eventually(lambda: client.query(bill, parameters={"user": bobs.user}).result_rows)
    assert list(found) == [(69, 30)]


def test_two_phones_meet_in_roulette_on_a_small_screen(talkers: tuple[Page, Locator, Locator, Api, Api]) -> None:
    """Both look for somebody and meet; nothing is wider than the screen."""
    page, bob, sue, _, _ = talkers
    page.set_viewport_size({"width": 320, "height": 640})
    for phone in (bob, sue):
        turned(phone, "People").get_by_role("button", name="Roulette: Find me somebody").press("Enter")
    page.get_by_role("button", name="Accept").press("Enter")
    for phone in (bob, sue):
        expect(phone.get_by_role("timer")).to_be_visible()
    expect(bob.get_by_text("Paid so far: 9 as of")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sue.get_by_role("button", name="Hang up").press("Enter")
    for phone in (bob, sue):
        phone.get_by_role("button", name="Close").press("Enter")
        for other in ("Chats", "Notices", "People", "Coins"):
            turned(phone, other)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def opened_chat(phone: Locator, peer: str) -> Locator:
    """The texts of a chat that a phone opens, newest first."""
    turned(phone, "Chats").get_by_role("listitem").filter(has_text=peer).get_by_role("button").click()
    return phone.get_by_role("region", name=f"Chats: {peer}").locator("li p")


def written(phone: Locator, *texts: str) -> None:
    for text in texts:
        phone.get_by_role("textbox").fill(text)
        phone.get_by_role("textbox").press("Enter")


def test_a_chat_goes_over_a_network_that_is_cut_and_loses_and_doubles_nothing(
    browser: Browser, context: BrowserContext, home: str, new_user: NewUser
) -> None:
    """Bob writes while he is away, and an answer to him is lost; Sue writes meanwhile. Both see every message once."""
    bobs, sues = new_user(), new_user("streamer")
    assert bobs.place(f"/v1/chats/{sues.user}/messages", text="0").status_code == 201
    with window(browser) as other:
        bob, sue = signed_in(context.new_page(), home, bobs.user), signed_in(other.new_page(), home, sues.user, streamer=True)
        seen = {phone: opened_chat(phone, peer) for phone, peer in ((bob, sues.user), (sue, bobs.user))}
        context.set_offline(True)
        written(bob, "1", "2", "1")
        written(sue, "a", "b")
        expect(bob.get_by_role("status")).to_have_text("no connection; trying again")
        expect(seen[bob]).to_have_text(["1", "2", "1", "0"])
        expect(bob.get_by_text("on its way …")).to_have_count(3)
        expect(sue.get_by_text("sent", exact=True)).to_have_count(2)
        lost: list[str] = []

        def lose(route: Route) -> None:
            """The command comes to the platform, and its first answer never to the phone."""
            key = route.request.headers["idempotency-key"]
            lost.append(key)
            if lost.count(key) == 1:
                route.fetch()
                route.abort("connectionreset")
            else:
                route.fallback()

        context.route("**/messages", lose)
        context.set_offline(False)
        expect(bob.get_by_text("on its way …")).to_have_count(0)
        for phone in (bob, sue):
            expect(seen[phone]).to_have_text(["1", "2", "1", "b", "a", "0"])
        while len(lost) < 6:  # the last answer may come behind its item
            bob.page.wait_for_timeout(100)
        assert [lost.count(key) for key in dict.fromkeys(lost)] == [2, 2, 2]
        items = sues.get(f"/v1/chats/{bobs.user}").json()["items"]
        assert [item["text"] for item in items] == ["1", "2", "1", "b", "a", "0"]


def test_two_phones_write_read_type_edit_delete_and_give(talkers: tuple[Page, Locator, Locator, Api, Api], admin: Api) -> None:
    """A chat from its first word: hostile texts are texts, marks and words move on both phones, a gift is paid once."""
    page, bob, sue, bobs, sues = talkers
    rose = f"rose-{uuid.uuid4().hex[:6]}"
    assert admin.put(f"/v1/admin/gifts/{rose}", json={"price_coins": 40, "share_coins": 15}).status_code == 200
    turned(bob, "People").get_by_role("button", name=f"Write {sues.user}").click()
    expect(bob.get_by_text("Nothing has been said yet.")).to_be_visible()
    written(bob, *HOSTILE)
    unread = turned(sue, "Coins").get_by_role("navigation").get_by_role("button", name="Chats")
    expect(unread).to_have_text(f"Chats {len(HOSTILE)} unread", use_inner_text=True)
    assert violations(page) == []
    seen, hers = bob.get_by_role("region", name="Chats").locator("li p"), opened_chat(sue, bobs.user)
    expect(hers).to_have_text(list(reversed(HOSTILE)))
    expect(bob.get_by_text("read", exact=True)).to_have_count(len(HOSTILE))
    expect(unread).to_have_text("Chats", use_inner_text=True)
    sue.get_by_role("textbox").press_sequentially("hm")
    expect(bob.get_by_text(f"{sues.user} is typing …")).to_be_visible()
    bob.get_by_role("button", name=f"Edit: {HOSTILE[1]}").click()
    written(bob, "milder")
    bob.get_by_role("button", name=f"Delete: {HOSTILE[0]}").click()
    for texts in (seen, hers):
        expect(texts).to_have_text([HOSTILE[3], HOSTILE[2], "milder", "This message was deleted."])
    assert violations(page) == []
    bob.get_by_text("Gift").first.click()
    bob.get_by_role("combobox", name="Gift").select_option(rose)
    bob.get_by_role("button", name="Give").click()
    expect(seen.first).to_have_text(f"Gift: {rose} (40)")
    expect(hers.first).to_have_text(f"Gift: {rose} (15)")
    expect(turned(bob, "Coins").locator("strong")).to_have_text("460")
    assert bobs.balance().json()["available_coins"] == 460


def test_notices_are_shown_acknowledged_and_counted_until_they_are_read(
    context: BrowserContext, home: str, new_user: NewUser, admin: Api
) -> None:
    """A message and a notice of staff's come while the phone shows something else; in Russian the words are Russian."""
    bobs, sues = new_user(), new_user("streamer")
    page = context.new_page()
    page.goto(f"{home}/phone")
    page.get_by_role("combobox", name="Language").select_option("ru")
    sue = page.get_by_role("region", name="Телефон 1")
    sue.get_by_role("textbox").fill(sues.user)
    sue.get_by_role("checkbox").check()
    sue.get_by_role("button", name="Войти").click()
    expect(sue.get_by_role("status")).to_have_text("на связи")
    assert bobs.place(f"/v1/chats/{sues.user}/messages", text="hello").status_code == 201
    expect(sue.get_by_text(f"Новое сообщение: {bobs.user}")).to_be_visible()
    notices = sue.get_by_role("navigation").get_by_role("button", name="Уведомления")
    expect(notices).to_have_text("Уведомления 1 непрочитанных", use_inner_text=True)
    assert violations(page) == []
    sue.get_by_role("button", name="Открыть").click()
    expect(sue.get_by_text("hello")).to_be_visible()
    expect(notices).to_have_text("Уведомления", use_inner_text=True)
    text = {"language": "en", "title": HOSTILE[0], "body": HOSTILE[1]}
    assert admin.place(f"/v1/admin/notifications/{sues.user}", texts=[text]).status_code == 201
    expect(sue.get_by_text(HOSTILE[0])).to_be_visible()
    notices.click()
    expect(sue.get_by_role("listitem")).to_have_count(2)
    expect(sue.get_by_role("listitem").first).to_contain_text(HOSTILE[1])
    assert violations(page) == []
    eventually(lambda: all(one["acked_at"] for one in sues.get("/v1/notifications").json()["notifications"]))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
