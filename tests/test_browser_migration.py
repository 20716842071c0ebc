"""The panel's page of an old back end's rows in a real Chromium: rules, a delivery tried, counted, put aside, redriven."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import msgspec
from playwright.sync_api import Locator, expect

from tests.chromium import HOSTILE, acted, name, turned, violations
from tests.conftest import Api, NewUser, eventually
from tests.test_migration import PROFILE, delivered

SECRET: Final = {"X-Olo-Secret": "hasura-secret-of-tests"}
AT: Final = datetime.now(UTC)


def definition(*fields: int) -> str:
    """The rules of a feed, with some of the profile's fields."""
    rule = msgspec.to_builtins(PROFILE)
    rule["fields"] = [rule["fields"][number] for number in fields]
    return json.dumps({"table": "public.users", "key": ["id"], "rules": [rule]})


def delivery(feed: str, event: str, after_s: int = 0, **row: Any) -> dict[str, Any]:
    """What Hasura posts of a feed."""
    body = delivered("INSERT", f"{event}-{feed}", AT + timedelta(seconds=after_s), **row)
    return body | {"trigger": {"name": feed}}


def listed(part: Locator, again: Locator, *texts: str) -> Locator:
    """A row that has these texts, as soon as the list has it."""
    row = part.get_by_role("row")
    for text in texts:
        row = row.filter(has_text=text)

    def looked() -> bool:
        expect(again).to_be_enabled()
        again.click()
        expect(again).to_be_enabled()
        return row.count() > 0

    eventually(looked)
    return row


def test_a_feed_is_tried_published_counted_and_its_dead_letter_redriven(
    panel: Locator, home: str, new_user: NewUser, admin: Api
) -> None:
    bob, feed = new_user(), name()

    def post(event: str, after_s: int, **row: Any) -> str:
        body = delivery(feed, event, after_s, id=bob.user, **row)
        return str(httpx.post(f"{home}/v1/webhooks/hasura", json=body, headers=SECRET).json()["status"])

    feeds = turned(panel, "Migration").get_by_role("region", name="Feeds")
    again = feeds.get_by_role("button", name="Read anew")
    feeds.get_by_text("New feed").click()
    edit = feeds.get_by_role("region", name="New feed")
    edit.get_by_label("Feed, as its").fill(feed)
    edit.get_by_label("Definition").fill("{")
    expect(edit).to_contain_text("The definition is no JSON.")
    edit.get_by_label("Definition").fill(definition(0, 1, 2))
    edit.get_by_label("A delivery").fill(json.dumps(delivery(feed, "e0", born="soon", display_name=HOSTILE[0])))
    expect(edit.get_by_role("list", name="What is wrong")).to_contain_text("rules[0].fields.age: value_unfit")
    edit.get_by_label("A delivery").fill(json.dumps(delivery(feed, "e0", display_name=HOSTILE[0])))
    expect(edit.get_by_role("region", name="It would make")).to_contain_text(HOSTILE[0])
    assert violations(panel.page) == []
    acted(edit, "Publish the feed")
    shown = panel.get_by_role("region", name="Feed", exact=True)
    expect(shown.get_by_role("region", name="Rules")).to_contain_text("put_profile: user from id")
    assert [post("e1", 0), post("e1", 0), post("e2", 1, born="soon", display_name="Mended")] == ["moved", "repeated", "kept"]
    # moved, passed, again and too late, dead letters
    cells = ["version 1", "1", "0", "1, 0", "1"]
    eventually(lambda: listed(feeds, again, feed).get_by_role("cell").all_inner_texts()[2:7] == cells)
    letters = panel.get_by_role("region", name="Dead letters", exact=True)
    listed(letters, again, feed).get_by_role("button", name="Look").click()
    letter = panel.get_by_role("region", name="Dead letter", exact=True)
    expect(letter.get_by_role("list", name="What a redrive would do")).to_contain_text("value_unfit")
    expect(acted(letter, "Redrive").get_by_role("alert")).to_contain_text("it is as it was")
    panel.page.keyboard.press("Escape")
    shown.get_by_label("Definition").fill(definition(0, 1))
    acted(shown, "Publish the feed")
    listed(feeds, again, feed, "version 2")
    acted(letter, "Redrive", HOSTILE[1])
    expect(feeds.get_by_role("status")).to_contain_text("which makes put_profile")
    eventually(lambda: bob.get(f"/v1/profiles/{bob.user}").json().get("name") == "Mended")
    assert violations(panel.page) == []
    figures = {one["feed"]: one for one in admin.get("/v1/admin/migration/figures").json()}[feed]
    assert (figures["repeated"], figures["superseded"], figures["passed"]) == (1, 0, 0)
