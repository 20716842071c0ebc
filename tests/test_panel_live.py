"""Cohorts, tags and groups on the real platform: saved live, seen in gallery and warehouse, left again."""

from typing import Any

from infra.clickhouse import connect
from tests.conftest import Api, NewUser, Phone, Stack, eventually


def test_a_cohort_saved_live_fills_tags_the_gallery_and_is_left(stack: Stack, admin: Api, new_user: NewUser) -> None:
    bob, sue, tia = Phone(new_user(country="XQ")), Phone(new_user("streamer", country="XQ")), Phone(new_user("streamer"))
    rule = {"rule": "all", "of": [
        {"rule": "is", "field": "country", "values": ["XQ"]}, {"rule": "is", "field": "role", "values": ["streamer"]},
    ]}  # fmt: skip
    sql = admin.post("/v1/admin/cohorts/preview", json={"rule": rule})
    assert sql.status_code == 200
    saved = admin.put("/v1/admin/cohorts/locals", json={"rule": rule, "tag": "local", "name": "From XQ"})
    assert saved.status_code == 200
    shown = eventually(lambda: admin.get("/v1/admin/cohorts/locals/members").json()["members"])
    assert shown == [sue.user]
    (cohort,) = [one for one in admin.get("/v1/admin/cohorts").json() if one["cohort"] == "locals"]
    assert (cohort["members"], cohort["tag"]) == (1, "local")
    assert eventually(lambda: (c := admin.get("/v1/admin/cohorts").json()[0])["evaluated"] == c["users"] and c["users"])
    ids = {sue.user, tia.user}
    plain = {"shows": "streamer", "order": "longest_first"}
    assert admin.put("/v1/admin/gallery/user", json=plain).status_code == 200, "other tests play with these rules"

    def cards() -> list[dict[str, Any]]:
        return [c for c in bob.api.get("/v1/gallery", params={"limit": 100}).json()["cards"] if c["user"] in ids]

    def tags() -> list[Any]:
        return [card["tags"] for card in cards()]

    eventually(lambda: tags() == [["local"], []])
    try:
        lowered = {**plain, "boosts": [{"kind": "tag", "tag": "local", "seconds": -3600}]}
        assert admin.put("/v1/admin/gallery/user", json=lowered).status_code == 200
        eventually(lambda: [card["user"] for card in cards()] == [tia.user, sue.user])
    finally:
        assert admin.put("/v1/admin/gallery/user", json=plain).status_code == 200
    assert admin.delete("/v1/admin/cohorts/locals").status_code == 204
    eventually(lambda: tags() == [[], []])
    client = connect(stack.clickhouse)
    asked = "SELECT user, left_at IS NULL FROM cohort_membership WHERE cohort = 'locals'"
    eventually(lambda: client.query(asked).result_rows == [(sue.user, 0)])


def test_a_window_that_passes_takes_its_members_out(admin: Api, new_user: NewUser) -> None:
    fresh = {"rule": {"rule": "within", "field": "signed_up", "seconds": 5}, "tag": "fresh", "everybody": True}
    assert admin.put("/v1/admin/cohorts/fresh", json=fresh).status_code == 200
    ann = new_user()

    def members() -> Any:
        return admin.get("/v1/admin/cohorts/fresh/members").json()["members"]

    eventually(lambda: ann.user in members(), 4)
    eventually(lambda: ann.user not in members(), 10)
    assert admin.delete("/v1/admin/cohorts/fresh").status_code == 204


def test_tags_and_groups_by_hand(admin: Api, new_user: NewUser) -> None:
    ann, bob = new_user(), new_user()
    assert admin.put(f"/v1/admin/tags/{ann.user}/vip").status_code == 204
    assert eventually(lambda: admin.get(f"/v1/admin/tags/{ann.user}").json()["tags"]) == ["vip"]
    assert admin.post("/v1/admin/groups/beta", json={"users": [ann.user, bob.user]}).status_code == 204
    eventually(lambda: admin.get(f"/v1/admin/tags/{bob.user}").json().get("tags") == ["beta"])
    assert admin.delete(f"/v1/admin/tags/{ann.user}/vip").status_code == 204
    assert admin.delete(f"/v1/admin/tags/{ann.user}/vip").json()["code"] == "tag_unknown"
    assert admin.put("/v1/admin/tags/nobody/vip").json()["code"] == "user_unknown"


def test_what_the_panel_refuses(admin: Api, new_user: NewUser) -> None:
    new_user()
    unknown = {"rule": {"rule": "is", "field": "shoe_size", "values": ["44"]}, "tag": "x"}
    answer = admin.put("/v1/admin/cohorts/x", json=unknown).json()
    assert answer["code"] == "rule_invalid"
    assert "shoe_size" in answer["detail"]
    everybody = {"rule": {"rule": "count", "field": "calls", "window": "7d", "at_least": 0}, "tag": "x"}
    assert eventually(lambda: admin.put("/v1/admin/cohorts/x", json=everybody).json().get("code")) == "matches_everybody"
    assert admin.put("/v1/admin/cohorts/x", json={**everybody, "everybody": True}).status_code == 200
    assert admin.delete("/v1/admin/cohorts/x").status_code == 204
    assert admin.delete("/v1/admin/cohorts/x").json()["code"] == "cohort_unknown"
