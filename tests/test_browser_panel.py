"""Staff's panel in a real Chromium: a payout by two people, what waits for a second person, the audit, what is not allowed."""

import time
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Route, expect

from tests.chromium import HOSTILE, acted, looked_up, name, panel_of, turned, violations, window
from tests.conftest import Api, NewUser, Stack, eventually
from tests.lab.city.app_store import AppStore


@pytest.fixture
def earner(stack: Stack, admin: Api, new_user: NewUser) -> Api:
    """A streamer who has earned 1,001 coins, and said where to pay to."""
    terms = {"cents_per_100_coins": 50, "fee_cents": 20, "reserve_days": 0}
    assert admin.put("/v1/admin/payouts/terms", json=terms).status_code == 200
    sue = new_user("streamer")
    destination = {"holder": "Sue Strom", "iban": "DE89370400440532013000"}
    assert sue.put("/v1/payouts/destination", json=destination).status_code == 200
    assert admin.place("/v1/admin/grants", account=f"{sue.user}/earnings", coins=1_001).status_code == 201
    return sue


def found(again: Locator, row: Locator) -> Locator:
    """A row, as soon as the list has it, which is asked again by a button."""

    def looked() -> bool:
        again.click()
        expect(again).to_be_enabled()
        return row.count() > 0

    eventually(looked)
    return row


def listed(payouts: Locator, user: str) -> Locator:
    """The row of a user's payout."""
    again = payouts.get_by_role("region", name="Payouts").get_by_role("button", name="Read anew")
    return found(again, payouts.get_by_role("row").filter(has_text=user))


def test_a_payout_by_two_people_is_seen_in_the_audit(
    browser: Browser, context: BrowserContext, home: str, earner: Api, tmp_path: Path
) -> None:
    """Who has asked for it may not approve it; another one, in another window, does and takes it to the bank."""
    one, two = name(), name()
    first = turned(panel_of(context, home, "finance", one).get_by_role("main"), "Payouts")
    acted(first, "Ask for a payout", **{"Streamer, by id": earner.user})
    mine = first.get_by_role("region", name="Payout", exact=True)
    expect(mine.get_by_role("status")).to_have_text("held")
    dialog = acted(mine, "Approve")
    expect(dialog.get_by_role("alert")).to_contain_text("Not allowed: whoever asked for a payout does not approve it")
    with window(browser) as other:
        second = turned(panel_of(other, home, "admin", two).get_by_role("main"), "Payouts")
        listed(second, earner.user).get_by_role("button", name="Look").click()
        payout = second.get_by_role("region", name="Payout", exact=True)
        acted(payout, "Approve", HOSTILE[0])
        expect(payout.get_by_role("status")).to_have_text("approved")
        second.get_by_label("Status").select_option("approved")
        listed(second, earner.user).get_by_role("checkbox").check()
        acted(second, "Take to the bank")
        with second.page.expect_download() as saved:
            second.get_by_role("button", name="Bank's file").first.click()
        saved.value.save_as(tmp_path / "file")
        assert '<InstdAmt Ccy="EUR">4.80</InstdAmt>' in (tmp_path / "file").read_text()
        turned(second, "Audit").get_by_label("Staff, by id").fill(two)
        act = second.get_by_role("row").filter(has_text="approvePayout").filter(has_text="done")
        expect(found(second.get_by_role("button", name="Show"), act)).to_contain_text(HOSTILE[0])
        assert violations(second.page) == []
        assert second.page.url == f"{home}/panel"


def test_a_payout_is_rejected_and_another_one_is_settled(context: BrowserContext, home: str, earner: Api, admin: Api) -> None:
    """What is rejected can be drawn again; what the bank has is settled by its word, and can come back."""
    panel = turned(panel_of(context, home, "finance", name()).get_by_role("main"), "Payouts")
    payout = panel.get_by_role("region", name="Payout", exact=True)
    assert earner.place("/v1/payouts").status_code == 201
    listed(panel, earner.user).get_by_role("button", name="Look").click()
    acted(payout, "Reject", HOSTILE[1])
    expect(payout.get_by_role("status")).to_have_text("rejected")
    expect(panel.get_by_role("row").filter(has_text=earner.user)).to_have_count(0)
    drawn = earner.place("/v1/payouts").json()["payout"]
    seen = admin.get(f"/v1/payouts/{drawn}").json()["seen"]
    assert admin.post(f"/v1/admin/payouts/{drawn}/approve", json={"seen": seen}).status_code == 200
    assert admin.place("/v1/admin/payouts/batches", payouts=[drawn]).json()["payouts"] == [drawn]
    panel.get_by_label("Status").select_option("exported")
    listed(panel, earner.user).get_by_role("button", name="Look").click()
    expect(payout.get_by_role("button", name="Reject")).to_have_count(0)
    for word in ("paid", "returned"):
        acted(payout, f"Settle as {word}", "statement 12")
        expect(payout.get_by_role("status")).to_have_text(word)
    assert earner.get(f"/v1/payouts/{drawn}").json()["status"] == "returned"


def asked_for(admin: Api, payee: str, why: str) -> None:
    """Somebody of staff asks for 500 coins."""
    template = {"transfer": name(), "payer": "@promotions", "payee": f"{payee}/coins", "coins": 500, "reason": "grant"}
    asked = admin.place("/v1/admin/approvals", command="PlaceTransfer", template=template, reason=why)
    assert asked.status_code == 201


def test_what_waits_for_a_second_person(
    context: BrowserContext, home: str, stack: Stack, new_user: NewUser, admin: Api
) -> None:
    """Who has asked only takes it back; somebody else approves or rejects; what is asked for is a text, and no code."""
    maker, ann, ben = Api(stack, name(), "finance"), new_user(), new_user()
    asked_for(maker, ann.user, HOSTILE[0])
    asked_for(maker, ben.user, HOSTILE[3])
    own = turned(panel_of(context, home, "finance", maker.user).get_by_role("main"), "Approvals")
    expect(own.get_by_role("listitem").filter(has_text=HOSTILE[0]).get_by_role("button")).to_have_text(["Take back"])
    other = turned(panel_of(context, home, "finance", name()).get_by_role("main"), "Approvals")
    acted(other.get_by_role("listitem").filter(has_text=HOSTILE[0]), "Approve")
    expect(other.get_by_role("status")).to_have_text("PlaceTransfer is on its way.")
    acted(other.get_by_role("listitem").filter(has_text=HOSTILE[3]), "Reject", HOSTILE[1])
    expect(other.get_by_role("status")).to_have_text("PlaceTransfer is not done.")
    assert violations(own.page) == []
    eventually(lambda: admin.balance(user=ann.user).json()["balance_coins"] == 500)
    assert admin.balance(user=ben.user).json()["balance_coins"] == 0


def test_a_dialog_stays_whatever_is_read_beneath_it(context: BrowserContext, home: str, new_user: NewUser, admin: Api) -> None:
    """A list that comes late takes away the button that opened a dialog, and a script closes it: it is there, with its reason,
    until an answer or whoever has opened it closes it."""
    ann, late = new_user(), list[Route]()
    asked_for(admin, ann.user, why := f"ticket {name()}")
    page = panel_of(context, home, "finance", name())
    approvals, dialog = turned(page.get_by_role("main"), "Approvals"), page.get_by_role("dialog", name="Approve")
    mine = approvals.get_by_role("listitem").filter(has_text=why)
    expect(mine).to_be_visible()

    def hold(route: Route) -> None:
        late.append(route)

    page.route("**/v1/admin/approvals", hold)
    approvals.get_by_role("button", name="Read anew").click()
    mine.get_by_role("button", name="Approve").click()
    dialog.get_by_label("Reason").fill(HOSTILE[0])
    (approval,) = [one["approval"] for one in admin.get("/v1/admin/approvals").json() if one["why"] == why]
    assert admin.post(f"/v1/admin/approvals/{approval}/reject", json={"reason": "no more"}).status_code == 200
    eventually(lambda: why not in admin.get("/v1/admin/approvals").text)
    late.pop().continue_()
    expect(mine).to_have_count(0)
    dialog.evaluate("(dialog) => dialog.close()")
    expect(dialog.get_by_label("Reason")).to_have_value(HOSTILE[0])
    dialog.get_by_role("button", name="Approve").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(approvals.locator(".page")).to_be_focused()


def test_a_grant_above_the_limit_is_asked_for(context: BrowserContext, home: str, new_user: NewUser, admin: Api) -> None:
    """The panel asks for what the answer says is to be asked for (the platform under test has no limit)."""
    ann = new_user()
    template = {"transfer": name(), "payer": "@promotions", "payee": f"{ann.user}/coins", "coins": 500, "reason": "grant"}
    answer = {"code": "approval_needed", "detail": "a second person", "command": "PlaceTransfer", "template": template}
    panel = panel_of(context, home, user=name())
    panel.route("**/v1/admin/grants", lambda route: route.fulfill(status=403, json=answer))
    person = looked_up(panel, ann.user)
    person.get_by_label("Why").first.fill("ticket 4711")
    person.get_by_role("button", name="Grant").click()
    acted(person, "Ask for it", "ticket 4712")
    expect(person.get_by_role("status")).to_have_text("It waits for a second person.")
    waiting = [one for one in admin.get("/v1/admin/approvals").json() if one["template"] == template]
    assert [one["why"] for one in waiting] == ["ticket 4712"]


def test_an_account_and_its_persons_roles(context: BrowserContext, home: str, new_user: NewUser, admin: Api) -> None:
    """Freeze, by keyboard on a small screen, and end it; give and take a role; each for a reason in any script."""
    ann = new_user()
    panel = panel_of(context, home, user=name())
    person = looked_up(panel, ann.user)
    expect(person.get_by_text("coins available")).to_be_visible()
    account, roles = panel.get_by_role("region", name="Account"), panel.get_by_role("region", name="Roles")
    panel.set_viewport_size({"width": 320, "height": 640})
    assert panel.evaluate("document.documentElement.scrollWidth <= innerWidth")
    freeze = account.get_by_role("button", name="Freeze", exact=True)
    freeze.press("Enter")
    expect(panel.get_by_role("dialog", name="Freeze", exact=True)).to_contain_text(f"Nothing goes out of {ann.user}'s coins")
    panel.keyboard.type("причина 😀")
    panel.keyboard.press("Enter")
    expect(account.get_by_role("status")).to_have_text("The account is frozen.")
    expect(freeze).to_be_focused()
    acted(account, "Unfreeze")
    expect(account.get_by_role("status")).to_have_text("The account is not frozen any more.")
    life = panel.get_by_role("region", name="Life")
    life.get_by_label("Show").select_option("money")
    entry = life.get_by_role("row").filter(has_text="EntryRecorded").filter(has_text="причина 😀")
    expect(found(life.get_by_role("button", name="Read anew"), entry)).to_contain_text("0 coins")
    life.get_by_role("button", name="What was there then?").press("Enter")
    expect(life.get_by_label("Balance then")).to_contain_text("0 coins, 0 of them held")
    kinds = ["unfreeze", "freeze"]
    eventually(lambda: [one["kind"] for one in ann.get("/v1/balance/entries").json()["entries"]][:2] == kinds)
    roles.get_by_label("Role").select_option("finance")
    acted(roles, "Give", "joins, причина")
    expect(roles.get_by_role("status")).to_have_text("finance")
    assert "finance" in ann.get("/v1/users/me/roles").json()["roles"]
    assert violations(panel) == []
    acted(roles, "Take")
    expect(roles.get_by_role("status")).to_have_text("none")


def test_a_product_is_put_on_sale_and_taken_off_and_an_auditor_only_looks(context: BrowserContext, home: str) -> None:
    product = name()
    products = turned(panel_of(context, home, user=name()).get_by_role("main"), "Products")
    acted(products, "New product", Id=product, Name=HOSTILE[0], Coins="70")
    row = products.get_by_role("row").filter(has_text=product)
    expect(row).to_contain_text(HOSTILE[0])
    row.get_by_role("button", name="Change").click()
    dialog = products.page.get_by_role("dialog", name="Change")
    dialog.get_by_label("sold").uncheck()
    dialog.get_by_label("Reason").fill("sold no more")
    products.page.keyboard.press("Enter")
    expect(row.get_by_role("cell", name="no", exact=True)).to_be_visible()
    auditor = turned(panel_of(context, home, "auditor", name()).get_by_role("main"), "Products")
    auditor.get_by_label("Product, by id").fill(product)
    auditor.get_by_role("button", name="Show").click()
    expect(auditor.get_by_role("row").filter(has_text=product).get_by_role("cell")).to_have_count(8)
    assert violations(products.page) == []
    assert violations(auditor.page) == []
    turned(auditor, "Questions").get_by_label("In SQL").fill(f"SELECT '{HOSTILE[0]}' AS word, 7 AS n")
    auditor.get_by_role("button", name="Ask", exact=True).click()
    expect(auditor.get_by_role("region", name="Answer").get_by_role("row").nth(1)).to_have_text(f"{HOSTILE[0]}7")
    expect(auditor.get_by_role("button", name="Save")).to_have_count(0)
    assert violations(auditor.page) == []
    turned(auditor, "Payouts")
    expect(auditor.get_by_role("button", name="Ask for a payout")).to_have_count(0)


def test_a_debt_is_written_off_as_it_was_seen(
    context: BrowserContext, home: str, new_user: NewUser, admin: Api, app_store: AppStore
) -> None:
    """Of 100 coins that were bought and spent Apple takes 100 back; 30 are forgiven, and then the rest."""
    bob, product = new_user(), name()
    assert admin.put(f"/v1/admin/products/{product}", json={"coins": 100, "apple_id": product}).status_code == 200
    intent = bob.place("/v1/payments/intents", product=product).json()["intent"]
    sale = {"transactionId": str(uuid.uuid4().int % 10**12), "appAccountToken": intent, "productId": product}
    signed = app_store.sell(product, None, **sale)
    assert bob.post("/v1/payments/apple", json={"signed_transaction": signed}).status_code == 200
    assert admin.place("/v1/admin/transfers", payer=f"{bob.user}/coins", payee="@shop", coins=100).status_code == 201
    at_ms = int(time.time() * 1_000)
    refund = app_store.sell(product, None, **sale, revocationDate=at_ms, signedDate=at_ms + 1_000)
    assert bob.post("/v1/webhooks/apple", json=app_store.notify("REFUND", refund)).status_code == 200
    eventually(lambda: admin.balance(user=bob.user).json()["debt_coins"] == 100)
    panel = panel_of(context, home, "finance", name())
    looked_up(panel, bob.user)
    account = panel.get_by_role("region", name="Account")
    expect(account).to_contain_text("100 coins are owed for refunds.")
    acted(account, "Write off", **{"Coins to forgive": "30"})
    expect(account.get_by_role("status")).to_have_text("30 coins are forgiven, 70 are owed.")
    expect(account).to_contain_text("70 coins are owed for refunds.")
    acted(account, "Write off")
    expect(account.get_by_role("status")).to_have_text("70 coins are forgiven, 0 are owed.")
    expect(account).to_contain_text("Nothing is owed.")
