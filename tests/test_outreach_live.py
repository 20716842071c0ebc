"""Outreach on the real platform: a cohort's members are told and written to, once, and the warehouse counts what came of it."""

from infra.clickhouse import connect
from tests.conftest import Api, NewUser, Phone, Stack, eventually

EN = {"language": "en"}
MANY = 30


def test_newcomers_are_told_and_written_to_by_who_is_online(stack: Stack, admin: Api, new_user: NewUser) -> None:
    for cohort, tag in (("out-new", "out-newcomer"), ("out-hosts", "out-host")):
        rule = {"rule": "is", "field": "tag", "values": [tag]}
        assert admin.put(f"/v1/admin/cohorts/{cohort}", json={"rule": rule, "tag": f"in-{cohort}"}).status_code == 200
    notice = {"cohort": "out-new", "notice": [EN | {"title": "Welcome", "body": "Say hello."}], "pace_per_s": 1000}
    opening = {"writers": "out-hosts", "texts": [EN | {"text": "hi there"}], "delay_s": 0, "each": 2}
    assert admin.put("/v1/admin/outreach/out-news", json=notice).json()["running"] is False
    for name, body in (("out-news", notice), ("out-greet", {"cohort": "out-new", "opening": opening})):
        assert admin.put(f"/v1/admin/outreach/{name}", json=body | {"running": True}).status_code == 200
    sue, bob = Phone(new_user("streamer")), Phone(new_user())
    assert admin.put(f"/v1/admin/tags/{sue.user}/out-host").status_code == 204
    assert admin.put(f"/v1/admin/tags/{bob.user}/out-newcomer").status_code == 204
    assert bob.wait_for("Notified")["kind"] in ("notice", "message")
    posted = bob.wait_for("ItemPosted")
    assert (posted["user"], "campaign" in posted) == (sue.user, False)
    page = bob.api.get(f"/v1/chats/{sue.user}").json()
    assert [item["text"] for item in page["items"]] == ["hi there"]
    bob.wait_for("Notified", 2)
    assert {one["kind"] for one in bob.of("Notified")} == {"notice", "message"}
    place = bob.api.place(f"/v1/chats/{sue.user}/messages", text="hello")
    assert place.status_code == 201
    client = connect(stack.clickhouse)
    asked = "SELECT told, opened, openings, replied, called FROM outreach_conversion WHERE campaign = 'out-greet'"
    eventually(lambda: client.query(asked).result_rows == [(0, 1, 1, 1, 0)])
    ended = "SELECT why FROM outreach_steps FINAL WHERE campaign = 'out-greet' AND step = 'OpeningsEnded'"
    eventually(lambda: client.query(ended).result_rows == [("replied",)])
    told = "SELECT told, opened FROM outreach_conversion WHERE campaign = 'out-news'"
    assert client.query(told).result_rows == [(1, 0)]
    listed = {one["campaign"]: one for one in admin.get("/v1/admin/outreach").json()}
    assert (listed["out-news"]["people"], listed["out-greet"]["kind"]) == (1, "opening")
    for name in ("out-news", "out-greet"):
        assert admin.delete(f"/v1/admin/outreach/{name}").status_code == 204
    gone = admin.delete("/v1/admin/outreach/out-news")
    assert (gone.status_code, gone.json()["code"]) == (404, "campaign_unknown")


def test_growth_is_killed_in_the_middle_of_a_pace_and_everybody_is_told_once(
    stack: Stack, admin: Api, new_user: NewUser
) -> None:
    people = [new_user().user for _ in range(MANY)]
    rule = {"rule": "is", "field": "tag", "values": ["out-many"]}
    assert admin.put("/v1/admin/cohorts/out-many", json={"rule": rule, "tag": "in-out-many"}).status_code == 200
    assert admin.post("/v1/admin/groups/out-many", json={"users": people}).status_code == 204
    eventually(lambda: admin.get("/v1/admin/cohorts/out-many/members").json()["count"] == MANY)
    client = connect(stack.clickhouse)
    notice = {
        "cohort": "out-many",
        "running": True,
        "pace_per_s": MANY / 6,
        "notice": [EN | {"title": "News", "body": "Look."}],
    }
    put = admin.put("/v1/admin/outreach/out-many", json=notice).json()
    assert (put["people"], put["takes_s"]) == (MANY, 6.0)
    asked = "SELECT count(), uniqExact(user) FROM outreach_steps FINAL WHERE campaign = 'out-many' AND step = 'CampaignTold'"
    eventually(lambda: client.query(asked).result_rows[0][0] >= 3)
    stack.kill("growth-0")
    eventually(lambda: client.query(asked).result_rows[0][0] >= MANY, 60)
    assert admin.put("/v1/admin/outreach/out-many", json=notice).status_code == 200
    notified = """SELECT count(), uniqExact(user) FROM notification_steps FINAL
        WHERE kind = 'notice' AND step = 'Notified' AND user IN {u:Array(String)}"""
    eventually(lambda: client.query(notified, parameters={"u": people}).result_rows == [(MANY, MANY)])
    assert client.query(asked).result_rows == [(MANY, MANY)]
    assert admin.delete("/v1/admin/outreach/out-many").status_code == 204


def test_what_cannot_be_a_campaign_is_refused_by_name(admin: Api) -> None:
    notice = [EN | {"title": "Welcome", "body": "Say hello."}]
    opening = {"writers": "no-such-hosts", "texts": [EN | {"text": "hi"}]}
    for body, status, code in (
        ({"cohort": "no-such"}, 422, "invalid_request"),
        ({"cohort": "no-such", "notice": notice, "opening": opening}, 422, "invalid_request"),
        ({"cohort": "no-such", "notice": notice}, 404, "cohort_unknown"),
        ({"cohort": "no-such", "opening": opening}, 404, "cohort_unknown"),
        ({"cohort": "no-such", "notice": []}, 422, "invalid_request"),
        ({"cohort": "no-such", "notice": notice, "pace_per_s": 0}, 422, "invalid_request"),
    ):
        answer = admin.put("/v1/admin/outreach/bad", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body
