"""Money over HTTP: what a client sees when all goes well, and when it does not."""

import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import pytest

from infra import tokens
from infra.clickhouse import connect
from tests.conftest import Api, NewUser, Stack, eventually


def test_a_grant_is_in_the_balance_and_in_clickhouse(stack: Stack, admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    answer = admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=500, ref="welcome")
    assert (answer.status_code, answer.json()["status"]) == (201, "completed")
    balance = ann.balance().json()
    assert (balance["balance_coins"], balance["available_coins"], balance["held_coins"], balance["seq"]) == (500, 500, 0, 2)
    rows = eventually(
        lambda: connect(stack.clickhouse).query(
            "SELECT seq, kind, coins, balance_coins, ref FROM balance_entries WHERE account = {a:String} AND seq > 1",
            parameters={"a": f"{ann.user}/coins"},
        ).result_rows
    )  # fmt: skip
    assert rows == [(2, "credit", 500, 500, "welcome")]


def test_the_same_key_changes_nothing_and_answers_the_same(admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    key = str(uuid.uuid4())
    body = {"account": f"{ann.user}/coins", "coins": 500}
    answers = [admin.place("/v1/admin/grants", key, **body) for _ in range(3)]
    assert {a.status_code for a in answers} == {201}
    assert len({a.text for a in answers}) == 1
    assert ann.balance().json()["balance_coins"] == 500


def test_the_same_key_at_once_is_one_grant(admin: Api, new_user: NewUser, stack: Stack) -> None:
    ann = new_user()
    key = str(uuid.uuid4())
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(
                lambda _: Api(stack, "root", "admin").place("/v1/admin/grants", key, account=f"{ann.user}/coins", coins=7),
                range(8),
            )
        )
    assert {a.status_code for a in answers} == {201}
    assert ann.balance().json()["balance_coins"] == 7


def test_another_request_under_the_same_key_is_a_conflict(admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    key = str(uuid.uuid4())
    admin.place("/v1/admin/grants", key, account=f"{ann.user}/coins", coins=5)
    for body in ({"account": f"{ann.user}/coins", "coins": 6}, {"account": f"{ann.user}/earnings", "coins": 5}):
        answer = admin.place("/v1/admin/grants", key, **body)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert ann.balance().json()["balance_coins"] == 5


def test_a_transfer_moves_coins_and_can_be_looked_up(admin: Api, new_user: NewUser) -> None:
    ann, bob = new_user(), new_user("streamer")
    admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=100)
    answer = admin.place("/v1/admin/transfers", payer=f"{ann.user}/coins", payee=f"{bob.user}/earnings", coins=60)
    assert answer.status_code == 201
    assert ann.balance().json()["balance_coins"] == 40
    assert bob.balance(book="earnings").json()["balance_coins"] == 60
    seen = eventually(lambda: (a := admin.get(answer.headers["location"])).status_code == 200 and a.json())
    assert (seen["status"], seen["coins"]) == ("completed", 60)
    assert ann.get(answer.headers["location"]).json()["code"] == "transfer_unknown"


def test_a_transfer_above_the_balance_is_402_with_the_shortfall(admin: Api, new_user: NewUser) -> None:
    ann, bob = new_user(), new_user()
    admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=100)
    answer = admin.place("/v1/admin/transfers", payer=f"{ann.user}/coins", payee=f"{bob.user}/coins", coins=130)
    assert (answer.status_code, answer.json()["code"], answer.json()["shortfall_coins"]) == (402, "insufficient_coins", 30)
    assert answer.headers["content-type"] == "application/problem+json"
    assert ann.balance().json()["balance_coins"] == 100


def test_refused_coins_come_back(admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=100)
    answer = admin.place("/v1/admin/transfers", payer=f"{ann.user}/coins", payee="nobody-here/coins", coins=10)
    assert (answer.status_code, answer.json()["code"]) == (404, "account_unknown")
    assert ann.balance().json() | {"cursor": 0, "as_of": 0} == {
        "account": f"{ann.user}/coins", "balance_coins": 100, "held_coins": 0, "available_coins": 100, "seq": 4,
        "debt_coins": 0, "frozen": False, "cap_left_coins": None, "cap_more_at": None,
        "as_of": 0, "cursor": 0,
    }  # fmt: skip


def test_entries_are_paged_and_a_past_balance_is_known(admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    for coins in (1, 2, 3):
        admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=coins)
    between = datetime.now(UTC).isoformat()
    time.sleep(0.01)
    admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=4)
    page = eventually(lambda: (p := ann.get("/v1/balance/entries", params={"limit": 2}).json())["entries"][:1] and p)
    page = eventually(lambda: (p := ann.get("/v1/balance/entries", params={"limit": 2}).json())["entries"][0]["seq"] == 5 and p)
    assert ([e["coins"] for e in page["entries"]], page["next_before"]) == ([4, 3], 4)
    rest = ann.get("/v1/balance/entries", params={"limit": 5, "before": page["next_before"]}).json()
    assert ([e["seq"] for e in rest["entries"]], rest["next_before"]) == ([3, 2, 1], None)
    past = ann.balance(at=between).json()
    assert (past["balance_coins"], past["seq"], past["cursor"]) == (6, 4, None)
    for at, status in (("0001-01-01T00:00:00Z", 404), ("9999-12-31T23:59:59Z", 200), ("2026-01-01T00:00:00", 422)):
        assert ann.balance(at=at).status_code == status


def test_a_sign_up_counts_once(stack: Stack) -> None:
    api = Api(stack, f"u-{uuid.uuid4().hex[:8]}")
    assert api.get("/v1/users/me").json()["code"] == "user_unknown"
    first = api.post("/v1/users", headers={"Idempotency-Key": "k"})
    assert first.status_code == 201
    again = api.post("/v1/users", headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (201, first.json())
    reused = api.post("/v1/users", headers={"Idempotency-Key": "k"}, json={"country": "DE"})
    assert (reused.status_code, reused.json()["code"]) == (409, "idempotency_key_reused")
    other = api.post("/v1/users")
    assert (other.status_code, other.json()["code"]) == (409, "already_signed_up")
    assert eventually(lambda: api.get("/v1/users/me").status_code == 200)


T = TypeVar("T")


def rows(table: Mapping[tuple[int, str], Sequence[T]]) -> list[tuple[T, int, str]]:
    """A table of what is sent by what is answered, one row for each thing that is sent."""
    return [(sent, status, code) for (status, code), column in table.items() for sent in column]


BAD_COINS = [b"-5", b"0", b'"5"', b"1.5", b"true", b"9" * 400, b"1e300"]
BAD_BODIES = {
    (400, "broken_json"): [b"{", b"\xff\xfe"],
    (422, "invalid_request"): [
        b"[]",
        b"",
        *(b'{"account":"ann/coins","coins":%b}' % coins for coins in BAD_COINS),
        b'{"account":"@promotions","coins":5}',
        b'{"account":"ann","coins":5}',
        b'{"account":"ann/coins","coins":5,"extra":1}',
    ],
    (404, "account_unknown"): [b'{"account":"nobody-at-all/coins","coins":5}'],
}


@pytest.mark.parametrize(("body", "status", "code"), rows(BAD_BODIES))
def test_a_bad_body_is_told_what_is_wrong(admin: Api, body: bytes, status: int, code: str) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json", "X-Reason": "a test"}
    answer = admin.post("/v1/admin/grants", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["detail"]


def test_a_money_command_needs_a_key(admin: Api) -> None:
    answer = admin.post("/v1/admin/grants", json={"account": "ann/coins", "coins": 5, "ref": "a test"})
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]


def bearer(project: str = "demo-olo", role: Any = "admin", **claims: Any) -> str:
    return f"Bearer {tokens.token(project, 'ann', role, **claims)}"


BAD_TOKENS: dict[tuple[int, str], list[str | None]] = {
    (401, "token_missing"): [None, "", "Basic YTpi"],
    (401, "token_expired"): [bearer(lives_s=-60)],
    (401, "token_invalid"): [
        "Bearer nonsense",
        "Bearer a.b.c",
        bearer(exp="soon"),
        bearer("another-project"),
        bearer(iss="https://evil.example/demo-olo"),
        bearer(sub=""),
        bearer(sub="a/b"),
        bearer(sub="ж" * 33),
        bearer(sub='"'),
    ],
    (403, "role_unknown"): [bearer(role="king"), bearer(role=["admin"])],
    (403, "forbidden"): [bearer(role="user")],
}


@pytest.mark.parametrize(("header", "status", "code"), rows(BAD_TOKENS))
def test_a_bad_token_is_told_what_is_wrong(stack: Stack, header: str | None, status: int, code: str) -> None:
    headers = {"Idempotency-Key": "k"} | ({"Authorization": header} if header is not None else {})
    answer = httpx.post(f"{stack.http}/v1/admin/grants", headers=headers, json={"account": "a/coins", "coins": 1})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if code != "forbidden":
        feed = httpx.get(f"{stack.http}/v1/feed", headers=headers)
        assert (feed.status_code, feed.json()["code"]) == (status, code)


def test_anothers_balance_takes_a_role(admin: Api, new_user: NewUser) -> None:
    ann, bob = new_user(), new_user()
    assert ann.balance(user=bob.user).json()["code"] == "forbidden"
    assert admin.balance(user=bob.user).status_code == 200
    assert admin.balance(user="nobody-there").json()["code"] == "account_unknown"


def test_unknown_ways_are_problems_too(stack: Stack, admin: Api) -> None:
    answer = admin.get("/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert admin.put("/v1/users").json()["code"] == "method_not_allowed"
    assert admin.post("/v1/feed").json()["code"] == "method_not_allowed"


def test_health_metrics_and_documents(stack: Stack) -> None:
    assert httpx.get(f"{stack.http}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{stack.http}/readyz").json()["status"] == "ready"
    assert "olo_http_requests_total" in httpx.get(f"{stack.http}/metrics").text
    assert "/v1/feed" in httpx.get(f"{stack.http}/openapi.json").json()["paths"]
    assert httpx.get(f"{stack.http}/docs").status_code == 200
    flow = httpx.get(stack.child("money-0")["url"]).text
    for name in ("olo_lag_records", "olo_lag_seconds", "olo_batch_records_sum", "olo_commit_seconds_sum"):
        assert name in flow
