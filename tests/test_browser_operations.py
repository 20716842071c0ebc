"""The panel's pages for operators in a real Chromium: the log and its causes, dead letters, the outbox, the timetable."""

import json
from datetime import timedelta

from playwright.sync_api import Locator, expect

from infra.entities import tell
from infra.kafka import produce_one
from schemas.balance import ACCOUNT
from schemas.log.base import new_id, now
from schemas.log.entity import partition_of
from schemas.outbox import OUTBOX, EffectKind, OweEffect
from tests.chromium import HOSTILE, acted, name, turned, violations
from tests.conftest import Api, NewUser, Stack, eventually
from tests.vendor_stub import VendorStub


def listed(part: Locator, row: Locator, again: str = "Read anew") -> Locator:
    """A row, as soon as the list has it, which is asked again by a button."""
    button = part.get_by_role("button", name=again, exact=True).first

    def looked() -> bool:
        button.click()
        expect(button).to_be_enabled()
        return row.count() > 0

    eventually(looked)
    return row


def test_a_record_of_the_log_with_its_causes_and_consequences(panel: Locator, new_user: NewUser, admin: Api) -> None:
    """A grant's entry: it came of a transfer, and its consequences stand below."""
    ann = new_user()
    assert admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=7).status_code == 201
    records = turned(panel, "Log").get_by_role("region", name="Records")
    records.get_by_label("Topic").select_option("account.events")
    records.get_by_label("Key").fill(f"{ann.user}/coins")
    row = listed(records, records.get_by_role("row").filter(has_text='"coins":7'), "Show").first
    row.get_by_role("button", name="Causes").click()
    tree = panel.get_by_role("list", name="Causes and consequences")
    expect(tree.get_by_role("button").first).to_have_text("PlaceTransfer")
    own = tree.get_by_role("button", name="EntryRecorded", disabled=True)
    expect(own).to_have_count(1)
    tree.get_by_role("button", name="PlaceTransfer").click()
    expect(panel.get_by_role("region", name="Message")).to_contain_text('"type": "PlaceTransfer"')
    records.get_by_role("button", name="Follow").press("Enter")
    expect(records.get_by_role("status")).to_contain_text("Looked at anew")
    assert admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=8).status_code == 201
    expect(records.get_by_role("row").filter(has_text='"coins":8').first).to_be_visible()
    records.get_by_role("button", name="Follow").press("Enter")
    assert violations(panel.page) == []


def test_a_dead_letter_is_looked_at_redriven_and_dropped(panel: Locator, stack: Stack) -> None:
    """What a stranger wrote is a text and is not shown; written once more it fails again; then it is dropped."""
    key = f"{HOSTILE[0]}{name()}".encode()
    partition = partition_of(key, ACCOUNT.partitions)
    first = produce_one(stack.config, ACCOUNT.inbox, key, HOSTILE[0].encode(), partition).offset()
    letters = turned(panel, "Dead letters").get_by_role("region", name="Dead letters")

    def look(offset: int) -> Locator:
        place = letters.get_by_role("row").filter(has_text=f"{ACCOUNT.inbox}/{partition}/{offset}")
        listed(letters, place).get_by_role("button", name="Look").click()
        letter = panel.get_by_role("region", name="Dead letter", exact=True)
        expect(letter.get_by_role("list", name="What a redrive would do")).to_contain_text("once more")
        expect(letter).to_contain_text("broken_json")
        expect(letter.get_by_role("region", name="Message")).to_contain_text("Unreadable")
        return letter

    acted(look(first), "Redrive", HOSTILE[3])
    expect(letters.get_by_role("status")).to_contain_text(f"written again as {ACCOUNT.inbox}/{partition}/")
    again = int(letters.get_by_role("status").inner_text().rpartition("/")[2])
    letter = look(again)
    assert violations(panel.page) == []
    acted(letter, "Drop")
    expect(letters.get_by_role("status")).to_contain_text("is off the list")
    eventually(lambda: f"/{partition}/{again}" not in stack.olo("dead-letters", "list").stdout)


def test_what_a_vendor_refused_is_tried_again(panel: Locator, stack: Stack, vendors: VendorStub) -> None:
    call = name()
    vendors.trouble[call] = [(401, {})]
    owed = OweEffect(
        id=new_id(), at=now(), effect=f"close_room/{call}/room", kind=EffectKind.CLOSE_ROOM, provider="agora", subject=call,
        expires_at=now() + timedelta(hours=1),
    )  # fmt: skip
    tell(stack.config, OUTBOX, owed.effect, owed)
    outbox = turned(panel, "Outbox").get_by_role("region", name="Outbox")
    listed(outbox, outbox.get_by_role("row").filter(has_text=owed.effect)).get_by_role("button", name="Look").click()
    effect = panel.get_by_role("region", name="Effect", exact=True)
    expect(effect).to_contain_text("trouble 401")
    row = panel.get_by_role("region", name="Deliveries").get_by_role("row").filter(has_text="agora")
    listed(outbox, row)
    assert violations(panel.page) == []
    acted(effect, "Try again")
    expect(effect.get_by_role("button", name="Try again")).to_have_count(0)
    eventually(lambda: "accepted" in stack.olo("outbox", "show", owed.effect).stdout)


def test_a_job_is_written_paused_run_changed_and_removed(panel: Locator) -> None:
    """When it would fire, and what it would send, is said before it is saved; a hostile text is a text."""
    job, item = name(), name()
    template = {"item": item, "price_coins": 10, "share_coins": 4, "name": HOSTILE[0]}
    timetable = turned(panel, "Timetable").get_by_role("region", name="Timetable")
    timetable.get_by_text("New job").click()
    edit = timetable.get_by_role("region", name="New job")
    edit.get_by_label("Cron line").fill("0 6 * * *")
    edit.get_by_label("Zone").fill("Europe/Nowhere")
    expect(edit).to_contain_text("Nowhere")
    edit.get_by_label("Zone").fill("Europe/Berlin")
    edit.get_by_label("Does").select_option("a command")
    edit.get_by_role("textbox", name="Command").fill("PutGiftItem")
    edit.get_by_label("Template").fill("{")
    expect(edit).to_contain_text("The template is no JSON.")
    edit.get_by_label("Template").fill(json.dumps(template))
    expect(edit.get_by_role("list", name="It would fire").get_by_role("listitem")).to_have_count(10)
    expect(edit.get_by_role("region", name="It would send")).to_contain_text(HOSTILE[0])
    assert violations(panel.page) == []
    acted(edit, "Save the job", Id=job)
    row = timetable.get_by_role("row").filter(has_text=job)
    shown = panel.get_by_role("region", name="Job", exact=True)
    expect(shown.get_by_role("region", name="Next").get_by_role("listitem")).to_have_count(10)
    acted(shown, "Pause", "it is a test")
    expect(row).to_contain_text("paused")
    acted(shown, "Run now")
    expect(shown.get_by_role("status")).to_contain_text("is ordered.")
    expect(listed(shown, shown.get_by_role("region", name="Last").get_by_text("by hand"))).to_be_visible()
    acted(shown, "Resume")
    expect(row).not_to_contain_text("paused")
    shown.get_by_text("Change", exact=True).click()
    edit = shown.get_by_role("region", name=f"Change {job}")
    expect(edit.get_by_label("Cron line")).to_have_value("0 6 * * *")
    edit.get_by_label("Cron line").fill("0 7 * * *")
    acted(edit, "Save the job")
    expect(shown).to_contain_text("Version 2")
    expect(shown.get_by_role("region", name="Definition")).to_contain_text("0 7 * * *")
    acted(shown, "Remove")
    expect(row).to_have_count(0)
