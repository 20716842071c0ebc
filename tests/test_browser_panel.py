"""Staff's panel in a real Chromium: a payout by two people, what waits for a second person, the audit, what is not allowed."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from tests.chromium import HOSTILE, acted, name, panel_of, turned, violations, window
from tests.conftest import Api, NewUser, Stack, eventually


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
    assert violations(first.page) == []
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
