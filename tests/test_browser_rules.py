"""The panel's rules in a real Chromium: a cohort by mouse, the gallery by anybody's eyes, a tariff from draft to publish."""

import re
import uuid

from playwright.sync_api import Locator, expect

from tests.chromium import HOSTILE, acted, name, turned, violations
from tests.conftest import Api, NewUser, Phone, eventually


def asked_again(button: Locator, row: Locator) -> None:
    """Ask by the button until the row is there."""

    def looked() -> bool:
        button.click()
        expect(button).to_be_enabled()
        return row.count() > 0

    eventually(looked)


def tag_of() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


def test_a_cohort_is_built_by_mouse_and_its_members_appear(panel: Locator, new_user: NewUser, admin: Api) -> None:
    tag, country = tag_of(), f"X{uuid.uuid4().hex[0].upper()}"
    ann, _ = new_user(country=country), new_user("streamer", country=country)
    rule = turned(panel, "Cohorts").get_by_role("region", name="Rule")
    counted = rule.get_by_role("status")
    expect(counted).to_have_text("Something is empty still.")
    rule.get_by_label("Field").select_option("country")
    rule.get_by_label("One of").fill(f"{HOSTILE[0]}, {country}")
    expect(counted).to_contain_text("users fit")
    eventually(lambda: admin.post("/v1/admin/cohorts/preview", json={"rule": all_of(country)}).json()["members"] >= 2)
    rule.get_by_role("button", name="Add a condition").click()
    second = rule.get_by_role("group").last
    second.get_by_label("Field").select_option("role")
    second.get_by_label("One of").fill("streamer")
    second.get_by_label("not").check()
    expect(counted).to_contain_text("users fit")
    acted(rule, "Save the cohort", Id=tag, Tag=tag, Name=HOSTILE[3])
    cohort = panel.get_by_role("region", name="Cohort", exact=True)
    asked_again(cohort.get_by_role("button", name="Read anew"), cohort.get_by_role("row").filter(has_text=ann.user))
    expect(cohort.get_by_role("region", name="Members").get_by_role("row")).to_have_count(2)
    assert violations(panel.page) == []
    a_campaign_is_run(panel, tag)
    turned(panel, "Cohorts").get_by_role("row").filter(has_text=tag).get_by_role("button", name="Look").click()
    acted(cohort, "Remove the cohort")
    expect(cohort).to_have_count(0)
    assert tag not in [one["cohort"] for one in admin.get("/v1/admin/cohorts").json()]


def a_campaign_is_run(panel: Locator, cohort: str) -> None:
    """A campaign to a cohort of one: counted before it is saved, a draft, started, paused, removed."""
    campaigns = turned(panel, "Notifications").get_by_role("region", name="Campaigns")
    campaigns.get_by_text("New campaign").click()
    edit = campaigns.get_by_role("region", name="New campaign")
    expect(edit).to_contain_text("Something is empty still.")
    edit.get_by_label("Cohort").select_option(cohort)
    edit.get_by_label("Title").fill(HOSTILE[0])
    edit.get_by_label("Text").fill(HOSTILE[3])
    expect(edit).to_contain_text("1 people would be told")
    acted(edit, "Save as a draft", Id=cohort)
    shown = panel.get_by_role("region", name="Campaign", exact=True)
    expect(shown.get_by_role("status")).to_have_text("It stands still.")
    expect(shown.get_by_label("Title")).to_have_value(HOSTILE[0])
    expect(shown).to_contain_text("1 people would be told")
    assert violations(panel.page) == []
    acted(shown, "Start")
    expect(shown.get_by_role("status")).to_have_text("It runs.")
    acted(shown, "Pause")
    expect(shown.get_by_role("status")).to_have_text("It stands still.")
    acted(shown, "Remove")
    expect(shown).to_have_count(0)


def all_of(country: str) -> dict[str, object]:
    return {"rule": "all", "of": [{"rule": "is", "field": "country", "values": [country]}]}


def test_the_gallery_is_previewed_by_anybodys_eyes(panel: Locator, new_user: NewUser, admin: Api) -> None:
    """Draft rules show only one tag, and say why; nothing is in force before it is put."""
    tag, ann, sue = tag_of(), new_user(), Phone(new_user("streamer"))
    assert admin.put(f"/v1/admin/tags/{sue.user}/{tag}").status_code == 204
    gallery = turned(panel, "Gallery")
    rules, preview = (gallery.get_by_role("region", name=part, exact=True) for part in ("Rules", "Preview"))
    before = admin.get("/v1/admin/gallery").json()["user"]
    rules.get_by_label("Only with one of these tags").fill(tag)
    rules.get_by_role("button", name="Add a boost").click()
    boost = rules.get_by_role("group").last
    boost.get_by_label("By").select_option("tag")
    boost.get_by_label("Tag", exact=True).fill(tag)
    boost.get_by_label("Seconds").fill("1200")
    expect(rules.get_by_role("status")).to_have_text("These rules are not in force.")
    preview.get_by_label("As whom").fill(ann.user)
    row = preview.get_by_role("row").filter(has_text=sue.user)
    asked_again(preview.get_by_role("button", name="Preview"), row)
    expect(row).to_contain_text(f"tag {tag} +1,200 s")
    expect(preview.get_by_role("row")).to_have_count(2)
    assert violations(panel.page) == []
    assert admin.get("/v1/admin/gallery").json()["user"] == before
    acted(rules, "Put in force")
    expect(rules.get_by_role("status")).to_have_text("The rules of user are in force.")
    assert admin.get("/v1/admin/gallery").json()["user"]["only_tags"] == [tag]
    assert admin.put("/v1/admin/gallery/user", json=before).status_code == 200


def test_a_tariff_is_drawn_backtested_and_published(panel: Locator, admin: Api) -> None:
    tariff = name()
    drafted = turned(panel, "Tariffs").get_by_role("region", name="Draft")
    drafted.get_by_label("Tariff", exact=True).fill(tariff)
    drafted.get_by_label("Name").fill(HOSTILE[0])
    drafted.get_by_label("Kind of call").select_option("direct")
    for side in ("Payer", "Earner"):
        drafted.get_by_label(re.compile(rf"^\s*{side}\s")).select_option("streamer")
    drafted.get_by_label("Country").fill("XV")
    pays = drafted.get_by_role("group", name="The payer pays")
    pays.get_by_label("Coins").last.fill("12")
    expect(drafted.get_by_role("img")).to_have_attribute(
        "aria-label", "After 600 seconds the payer has paid 120 coins, the earner has 0"
    )
    expect(drafted.get_by_role("region", name="Difference")).to_contain_text(HOSTILE[0])
    backtest = panel.get_by_role("region", name="Backtest")
    backtest.get_by_role("button", name="Rate them").click()
    expect(backtest.get_by_role("status")).to_contain_text("calls, ")
    assert violations(panel.page) == []
    acted(drafted, "Publish")
    expect(drafted.get_by_role("status")).to_have_text(f"Version 1 of {tariff} is published.")
    (published,) = [one for one in admin.get("/v1/admin/tariffs").json() if one["tariff"] == tariff]
    assert (published["payer"]["step_coins"], published["rule"]["country"]) == (12, "XV")
    panel.get_by_role("button", name=f"Edit {tariff}").click()
    expect(drafted.get_by_role("region", name="Difference")).to_contain_text("nothing")
    pays.get_by_label("Coins").last.fill("13")
    expect(drafted.get_by_role("region", name="Difference")).to_contain_text("13 every 60 s")
