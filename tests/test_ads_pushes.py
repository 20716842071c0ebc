"""Attribution on the real platform: AppsFlyer's pushes, good and bad, met with sign-ups; marketing's export."""

import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from infra.clickhouse import connect
from tests.conftest import Api, NewUser, Stack, eventually


def af_time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def pushed(install: str, name: str = "install", at: datetime | None = None, **more: Any) -> dict[str, Any]:
    at = at or datetime.now(UTC)
    return {
        "appsflyer_id": install, "event_name": name, "event_time": af_time(at), "install_time": af_time(at),
        "media_source": "snapchat_int", "campaign": "Autumn", "af_c_id": "c1", "af_adset_id": "s1", "af_ad_id": "a1",
        "af_ad": "Hello", "platform": "ios", "country_code": "DE", "app_id": "id123456789", "is_retargeting": None,
        "os_version": "17.4.1", "a_field_that_came_later": {"x": [1]}, **more,
    }  # fmt: skip


def post(stack: Stack, body: bytes | dict[str, Any], token: str = "push-token", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{stack.http}/v1/webhooks/appsflyer", content=content, headers={"X-AppsFlyer-Token": token, **headers})


def test_a_push_and_a_sign_up_meet_and_the_repeat_is_told(stack: Stack, admin: Api, new_user: NewUser) -> None:
    first, second = (f"af-{uuid.uuid4().hex[:8]}" for _ in range(2))
    body = pushed(first)
    assert post(stack, body).json() == {"status": "recorded"}
    assert post(stack, body).json() == {"status": "repeated"}
    ann = new_user(appsflyer_id=first, country="DE")
    bob = new_user(appsflyer_id=second)
    assert httpx.post(
        f"{stack.http}/v1/webhooks/appsflyer", json=pushed(second, media_source="organic", campaign=None),
        headers={"Authorization": "push-token"},
    ).json() == {"status": "recorded"}  # fmt: skip
    found = {}
    for api in (ann, bob):
        found[api.user] = eventually(
            lambda api=api: (a := admin.get(f"/v1/admin/attribution/{api.user}").json()).get("touch") and a
        )
    assert (found[ann.user]["touch"]["network"], found[ann.user]["touch"]["campaign"]) == ("snapchat", "Autumn")
    assert found[bob.user]["touch"]["network"] == "organic"
    client = connect(stack.clickhouse)
    sql = "SELECT user, network, counts FROM attributions FINAL WHERE user IN {u:Array(String)}"

    def rows() -> list[tuple[Any, ...]]:
        return [tuple(row) for row in client.query(sql, parameters={"u": [ann.user, bob.user]}).result_rows]

    assert sorted(eventually(lambda: len(rows()) == 2 and rows())) == sorted(
        [(ann.user, "snapchat", True), (bob.user, "organic", True)]
    )
    kept = "SELECT details, raw FROM pushes FINAL WHERE install = {i:String}"
    ((details, raw),) = eventually(lambda: client.query(kept, parameters={"i": first}).result_rows)
    assert (json.loads(details), raw) == ({"os_version": "17.4.1"}, "")


def test_a_customer_who_is_named_by_an_address_is_nobody(stack: Stack, admin: Api) -> None:
    install, address = (f"{kind}{uuid.uuid4().hex[:8]}" for kind in ("af-", "secret"))
    body = pushed(install, customer_user_id=f"{address}@example.com", idfa=address, ip="203.0.113.7", user_agent=address)
    assert post(stack, body).json() == {"status": "recorded", "unattributed": "contact"}
    assert admin.get(f"/v1/admin/attribution/{address}@example.com").status_code == 422
    client = connect(stack.clickhouse)
    kept = "SELECT user, JSONExtractString(details, 'unattributed') FROM pushes FINAL WHERE install = {i:String}"
    assert eventually(lambda: client.query(kept, parameters={"i": install}).result_rows) == [("", "contact")]
    question = "SELECT count() FROM log WHERE position(value, {a:String}) > 0 OR position(key, {a:String}) > 0"
    assert client.query(question, parameters={"a": address}).result_rows == [(0,)]


def test_a_return_by_another_campaign_takes_over(stack: Stack, admin: Api, new_user: NewUser) -> None:
    install = f"af-{uuid.uuid4().hex[:8]}"
    post(stack, pushed(install))
    ann = new_user(appsflyer_id=install)
    post(stack, pushed(install, "re-attribution", campaign="Winter", at=datetime.now(UTC) + timedelta(seconds=5)))

    def campaign() -> str | None:
        return (admin.get(f"/v1/admin/attribution/{ann.user}").json().get("touch") or {}).get("campaign")

    eventually(lambda: campaign() == "Winter")


def test_who_is_named_over_http_is_credited_in_the_warehouse(stack: Stack, admin: Api, new_user: NewUser) -> None:
    """Two installs, the earlier one pushed later; values that were dead letters once; names that a spreadsheet would run."""
    first, second = (f"af-{uuid.uuid4().hex[:8]}" for _ in range(2))
    campaign = f"=HYPERLINK({first})"
    now = datetime.now(UTC)
    post(stack, pushed(first, at=now - timedelta(seconds=60), media_source="Facebook Ads", event_value="1" * 25_000))
    ann = new_user(appsflyer_id=first)
    more = {"campaign": campaign, "customer_user_id": ann.user, "event_value": "ц" * 25_000, "attributed_touch_time": "N/A"}
    earlier = pushed(second, at=now - timedelta(hours=1), **more)
    assert post(stack, json.dumps(earlier, ensure_ascii=False).encode()).json() == {"status": "recorded"}
    where = f"/v1/admin/attribution/{ann.user}"
    touch = eventually(lambda: (found := admin.get(where).json().get("touch") or {}).get("campaign") == campaign and found)
    assert touch["network"] == "snapchat"
    client = connect(stack.clickhouse)
    credited = "SELECT network, installed, signed_up FROM campaign_funnel WHERE campaign = {c:String}"
    assert eventually(lambda: client.query(credited, parameters={"c": campaign}).result_rows == [("snapchat", 1, 1)])
    unread = "SELECT unread FROM pushes FINAL WHERE install IN {i:Array(String)} ORDER BY touch_at"
    due = [(["attributed_touch_time"],), ([],)]
    assert eventually(lambda: client.query(unread, parameters={"i": [first, second]}).result_rows == due)
    day = f"{now:%Y-%m-%d}"
    export = admin.get("/v1/admin/attribution/export", params={"from": f"{now - timedelta(hours=1):%Y-%m-%d}", "to": day}).text
    assert f"'{campaign}" in [line["campaign"] for line in csv.DictReader(io.StringIO(export))]


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "broken_json"),
        (b"[]", 422, "push_invalid"),
        (pushed(""), 422, "push_invalid"),
        (pushed("af", name=""), 422, "push_invalid"),
        (pushed("af") | {"event_time": "yesterday"}, 422, "push_invalid"),
        (pushed("af", at=NOW + timedelta(hours=3)), 422, "event_time_implausible"),
        (pushed("af", at=NOW - timedelta(days=900)), 422, "event_time_implausible"),
    ],
)
def test_a_push_that_cannot_be_is_answered_and_kept(stack: Stack, body: bytes | dict[str, Any], status: int, code: str) -> None:
    answer = post(stack, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "it is kept as the dead letter webhooks.appsflyer/0/" in answer.json()["detail"]


def test_a_kept_push_is_shown_and_not_redriven(stack: Stack) -> None:
    place = post(stack, b"{").json()["detail"].rpartition(" ")[2]
    shown = stack.olo("dead-letters", "show", place)
    assert "webhook_invalid: broken_json" in shown.stdout
    redriven = stack.olo("dead-letters", "redrive", place)
    assert (redriven.returncode, "POST it again" in redriven.stderr) == (2, True)


def test_a_push_without_the_token_is_nobodys(stack: Stack) -> None:
    for token in ("", "wrong"):
        answer = post(stack, pushed("af"), token)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
    assert post(stack, b"x" * 70_000).json()["code"] == "body_too_large"


def test_marketing_gets_its_export_in_every_format(stack: Stack, admin: Api, new_user: NewUser) -> None:
    install, campaign = f"af-{uuid.uuid4().hex[:8]}", f"camp-{uuid.uuid4().hex[:6]}"
    post(stack, pushed(install, campaign=campaign))
    ann = new_user(appsflyer_id=install)
    assert admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=400, reason="purchase").status_code == 201
    day = f"{datetime.now(UTC):%Y-%m-%d}"

    def rows(format_: str, network: str = "snapchat") -> bytes:
        asked = {"from": day, "to": day, "network": network, "format": format_}
        answer = admin.get("/v1/admin/attribution/export", params=asked)
        assert answer.status_code == 200
        return answer.content

    due = {"installs": 1, "sign_ups": 1, "purchasers": 1, "purchases": 1, "coins_bought": 400, "calls": 0}
    (row,) = eventually(lambda: [one for one in map(json.loads, rows("json").splitlines()) if one["campaign"] == campaign
                                 and {name: int(one[name]) for name in due} == due])  # fmt: skip
    assert (row["campaign_id"], row["ad_id"], row["platform"], row["country"]) == ("c1", "a1", "ios", "DE")
    assert campaign in pq.read_table(io.BytesIO(rows("parquet"))).column("campaign").to_pylist()
    by_hand = stack.olo("attribution", "export", "--from", day, "--to", day, "--network", "snapchat", "--format", "csv")
    assert campaign in [line["campaign"] for line in csv.DictReader(io.StringIO(by_hand.stdout))]
    assert stack.olo("attribution", "export", "--from", "2026-02-01", "--to", "2026-01-01").returncode == 2
    assert (
        admin.get("/v1/admin/attribution/export", params={"from": day, "to": "2020-01-01"}).json()["code"] == "invalid_request"
    )
    funnel = "SELECT installed, signed_up, purchased, called FROM campaign_funnel WHERE campaign = {c:String}"
    assert connect(stack.clickhouse).query(funnel, parameters={"c": campaign}).result_rows == [(1, 1, 1, 0)]
