"""The export of oneself: all that is known, by entity and table, and nobody else's secrets."""

import json
from typing import Any

from schemas.log.topics import ENTITIES
from schemas.tables import TABLES
from serving.export import FOUND, LEFT_OUT, OWN, ROWS
from tests.conftest import Api, Phones, eventually

FILM = {"title": "my film", "url": "https://example.com/film.mp4", "duration_s": 60}
TRACKING = {"advertising_id": "my-advertising-id", "vendor_id": "my-vendor", "click_id": "my-click", "consents": ["ads"]}


def test_each_entity_and_each_table_is_in_it_or_left_out_with_a_reason() -> None:
    states, tables = {entity.name for entity in (*OWN, *FOUND)}, set(ROWS)
    assert not (states | tables) & LEFT_OUT.keys()
    assert {entity.name for entity in ENTITIES} - states == LEFT_OUT.keys() & {entity.name for entity in ENTITIES}
    assert set(TABLES) - tables == LEFT_OUT.keys() & set(TABLES)
    assert all(len(reason) > 10 for reason in LEFT_OUT.values())


def test_all_that_a_person_told_comes_back_and_not_who_blocked_them(phones: Phones, admin: Api) -> None:
    bob, sue = phones(coins=777)
    assert sue.api.put("/v1/profile", json={"name": "my name", "about": "my words"}).status_code == 200
    private = {"email": "me@example.com", "phone": "+4915112345678", "legal_name": "my legal name", "birth_date": "1990-02-01"}
    assert sue.api.put("/v1/profile/private", json=private).status_code == 200
    assert sue.api.put("/v1/tracking", json=TRACKING).status_code == 200
    assert sue.api.put(f"/v1/clips/export-{sue.user}", json=FILM).status_code == 200
    phone = {"device": "my phone", "push_token": "my token", "voip_token": "my voip"}
    assert sue.api.post("/v1/sessions", json=phone).status_code == 201
    assert admin.put("/v1/admin/gifts/exported", json={"price_coins": 20, "share_coins": 10}).status_code == 200
    assert bob.api.place("/v1/gifts", to=sue.user, gift="exported").status_code == 201
    assert bob.api.put(f"/v1/blocks/{sue.user}", json={"reason": "spam"}).status_code == 200
    marks = [
        "my name", "my words", "me@example.com", "my legal name", "1990-02-01", "my phone", "my token", "my voip", "my film",
        "my-advertising-id", "my-vendor", "my-click", "https://example.com/film.mp4",
    ]  # fmt: skip

    def exported(api: Api = sue.api) -> dict[str, Any] | None:
        answer = api.get("/v1/users/me/export")
        assert answer.status_code == 200
        found: dict[str, Any] = json.loads(answer.content)
        there = found["tables"]["gifts"] and found["tables"]["balance_entries"] and found["tables"]["users"]
        return found if there and found["states"].get("attribution") else None

    found = eventually(exported)
    text = json.dumps(found)
    assert [mark for mark in marks if mark not in text] == []
    assert found["balances"][f"{sue.user}/earnings"]["balance_coins"] == 10
    assert found["states"]["record"][sue.user].get("counted", []) == []
    assert not [case["by"] for case in found["states"]["record"][sue.user].get("cases", []) if case["by"]]
    assert found["tables"]["blocks"] == []
    mine = eventually(lambda: (answer := exported(bob.api)) and answer["tables"]["blocks"] and answer)
    assert mine["states"]["blocks"][bob.user]["peers"] == {sue.user: "spam"}
    assert sue.api.delete("/v1/users/me").status_code == 204
    gone = eventually(lambda: (a := sue.api.get("/v1/users/me/export")).status_code != 200 and a.json())
    assert gone["code"] == "user_erased"
