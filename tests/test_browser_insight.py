"""The panel in a real Chromium: calls by tariff, reports and their evidence, what people were told, what runs."""

import uuid

from playwright.sync_api import BrowserContext, expect

from tests.chromium import HOSTILE, acted, name, panel_of, turned, violations
from tests.conftest import Api, NewUser, Phones, eventually


def test_a_support_agents_day(context: BrowserContext, home: str, phones: Phones, new_user: NewUser) -> None:
    """A call is seen while it runs and when it is over; a report is read for a reason, and who was reported is warned."""
    bob, sue = phones()
    ann, ben = new_user(), new_user()
    sent = ben.post(f"/v1/chats/{ann.user}/messages", json={"text": HOSTILE[0]}, headers={"Idempotency-Key": str(uuid.uuid4())})
    assert sent.status_code in (200, 201), sent.text
    seq = sent.json()["seq"]
    report = {"reason": "harassment", "seqs": [seq]}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answer = ann.post(f"/v1/chats/{ben.user}/report", json=report, headers=key)
    assert answer.status_code == 201, answer.text
    call = bob.call(sue).json()["call"]
    panel = turned(panel_of(context, home, "support", name()).get_by_role("main"), "Calls")
    live = panel.get_by_role("region", name="Live calls")
    row = live.get_by_role("row").filter(has_text=bob.user)
    again = live.get_by_role("button", name="Read anew")

    def listed() -> bool:
        again.click()
        expect(again).to_be_enabled()
        return row.count() > 0

    eventually(listed)
    expect(row).to_contain_text("ringing")
    assert sue.api.post(f"/v1/calls/{call}/decline").status_code in (200, 202, 204)
    eventually(lambda: not listed())
    past = panel.get_by_role("region", name="Past calls").get_by_role("row").filter(has_text=bob.user)
    eventually(lambda: not listed() and past.count())
    expect(past).to_contain_text("not taken")
    assert violations(panel.page) == []
    reports = turned(panel, "Reports").get_by_role("region", name="Reports", exact=True)
    acted(reports.get_by_role("row").filter(has_text=ben.user), "Read", "ticket 12")
    shown = panel.get_by_role("region", name="Report", exact=True)
    expect(shown.get_by_role("list", name="Evidence")).to_contain_text(HOSTILE[0])
    assert violations(panel.page) == []
    acted(shown, "Warn")
    expect(reports.get_by_role("status")).to_have_text(f"{ben.user}: warned.")
    expect(reports.get_by_role("row").filter(has_text=ben.user)).to_have_count(0)


def test_what_people_are_told_what_networks_brought_and_what_runs(context: BrowserContext, home: str, admin: Api) -> None:
    """Secrets are not told; figures are the warehouse's; an auditor sees all of it."""
    panel = turned(panel_of(context, home, "auditor", name()).get_by_role("main"), "Settings")
    panel.get_by_label("Find").fill("agora")
    secret = panel.get_by_role("row").filter(has_text="OLO_AGORA_CUSTOMER_SECRET")
    expect(secret.get_by_role("cell").nth(1)).to_have_text("given")
    told = admin.get("/v1/admin/insight/settings")
    assert "customer" in told.text
    assert [one["value"] for one in told.json() if one["secret"]] == [""] * sum(one["secret"] for one in told.json())
    assert violations(panel.page) == []
    timeline = turned(panel, "Notifications").get_by_role("region", name="Timeline")
    expect(timeline.get_by_role("status")).to_contain_text("took a push")
    assert violations(panel.page) == []
    turned(panel, "Attribution")
    expect(panel.get_by_role("region", name="By campaign").get_by_role("row")).not_to_have_count(1)
    assert violations(panel.page) == []
