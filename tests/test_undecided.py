"""No answer without a decision: while the flows stand still, no write of the API claims success; then everything goes on."""

import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra.config import load
from serving.app import build
from serving.runtime.commands import request_id
from tests.apphud_events import event
from tests.conftest import Api, NewUser, Phone, Phones, Stack, eventually
from tests.lab.city.app_store import AppStore
from tests.test_ads_pushes import pushed
from tests.test_migration import delivered
from tests.whole import say

FLOWS = ("money-", "live-", "growth-")
WRITES = ("post", "put", "patch", "delete")
# What answers although nobody decides, and why that claims nothing.
UNANSWERED = {
    "post /v1/sessions/{session}/beat": "nothing is decided on a beat: the log has it",
    "post /v1/chats/{user}/typing": "writes nothing: it is shown, and kept nowhere",
    "post /v1/webhooks/apple": "a purchase is noted when the log has it; what becomes of it the phone is told",
    "post /v1/webhooks/google": "likewise",
    "post /v1/payments/google": "Google is asked first, and knows no such purchase",
    "post /v1/webhooks/payouts": "likewise",
    "post /v1/webhooks/agora": "a notice is noted when the log has it; what its room makes of it is told to nobody",
    "post /v1/webhooks/twilio": "likewise",
    "post /v1/admin/queries": "changes nothing; that it is asked is noted when the log has it",
    "post /v1/admin/cohorts/preview": "writes nothing",
    "post /v1/admin/tariffs/preview": "writes nothing",
    "post /v1/admin/jobs/preview": "writes nothing",
    "post /v1/admin/outreach/preview": "writes nothing",
    "post /v1/admin/migration/feeds/{feed}/preview": "writes nothing",
    "post /v1/admin/gallery/{role}/preview": "writes nothing",
    "post /v1/admin/tariffs/backtest": "writes nothing",
    "post /v1/admin/dead-letters/redrive": "the answer says that the log has the word; what comes of it the list shows",
    "post /v1/admin/dead-letters/drop": "likewise",
    "post /v1/admin/outbox/redrive": "is looked up first, and there is no such effect",
}
# Was called a success while the live flow stood still: whose request it is, and its answer when it is decided.
ONCE_SUCCESS = [
    ("user", "put", "/v1/blocks/{me}", {"reason": "spam"}, 409, "same_user"),
    ("user", "put", "/v1/profile", {"name": "Bob"}, 200, None),
    ("user", "delete", "/v1/sessions/unknown", None, 404, "session_unknown"),
    ("admin", "put", "/v1/admin/gifts/evil", {"price_coins": 1, "share_coins": 2}, 422, "share_above_price"),
    ("admin", "put", "/v1/admin/bans/nobody", {"reason": "rude"}, 404, "user_unknown"),
    ("admin", "post", "/v1/admin/reviews/nobody/unknown", {"upheld": True}, 404, "review_unknown"),
]

OF_STREAMERS = (
    "put /v1/clips/{clip}", "put /v1/payouts/destination", "put /v1/payouts/automatic", "post /v1/payouts",
    "put /v1/price-class", "delete /v1/users/me/agency",
    "post /v1/users/me/agency/invitations/{agency}/accept", "post /v1/users/me/agency/invitations/{agency}/decline",
)  # fmt: skip
OF_AGENCIES = "/v1/agency/"

Request = tuple[Api, str, str, Any]
# Who calls, each write's request by its operation, and the API's document.
Scene = tuple[Phone, dict[str, Request], dict[str, Any]]


@contextmanager
def standing_still(stack: Stack) -> Iterator[None]:
    """Whoever decides is stopped, but not ended."""
    pids = [child["pid"] for child in stack.endpoints["children"] if child["role"].startswith(FLOWS)]
    assert len(pids) >= len(FLOWS)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def bodies(bob: str, sue: str, known: Callable[[str], Any]) -> dict[str, Any]:
    """The bodies of writes for which the document's example will not do; what all share, such as rules, is put as `known(path)`
    tells it."""
    rule = {"rule": "is", "field": "country", "values": ["XU"]}
    return {
        "post /v1/sessions": {"device": "phone"},
        "post /v1/calls": {"to": sue},
        "post /v1/gifts": {"to": sue, "gift": "undecided"},
        "post /v1/chats/{user}/messages": {"text": "hello"},
        "put /v1/chats/{user}/messages/{message}": {"text": "hello"},
        "put /v1/chats/{user}/read": {"seq": 1},
        "post /v1/chats/{user}/report": {"reason": "spam"},
        "post /v1/admin/chats/reports/{report}/read": {"reason": "ticket"},
        "post /v1/admin/chats/reports/{report}/review": {"reason": "rude", "outcome": "dismissed"},
        "post /v1/admin/grants": {"account": f"{bob}/coins", "coins": 5},
        "post /v1/admin/transfers": {"payer": f"{bob}/coins", "payee": f"{sue}/coins", "coins": 5},
        "post /v1/admin/accounts/{user}/freeze": {"ref": "ticket"},
        "post /v1/admin/accounts/{user}/unfreeze": {"ref": "ticket"},
        "post /v1/admin/accounts/{user}/write-off": {"ref": "ticket", "coins": 1, "debt_coins": 1},
        "put /v1/spending-cap": {"coins": 500},
        "put /v1/admin/accounts/{user}/spending-cap": {"coins": 500, "ref": "ticket"},
        "post /v1/admin/groups/{group}": {"users": [bob, sue]},
        "post /v1/admin/notifications/{user}": {"texts": [{"language": "en", "title": "Welcome", "body": "Say hello."}]},
        "post /v1/admin/reviews/{user}/{case_id}": {"upheld": True},
        "put /v1/admin/bans/{user}": {"reason": "rude"},
        "put /v1/admin/chats/rules": known("/v1/admin/chats/rules"),
        "put /v1/admin/block-rules": known("/v1/admin/block-rules"),
        "put /v1/admin/cohorts/{cohort}": {"rule": rule, "tag": "undecided"},
        "put /v1/admin/gallery/{role}": known("/v1/admin/gallery")["user"],
        "put /v1/admin/gifts/{item}": {"price_coins": 5, "share_coins": 2},
        "put /v1/admin/jobs/{job}": {
            "schedule": {"cron": "0 3 1 1 *"}, "command": "PutGiftItem",
            "template": {"item": "undecided", "price_coins": 5, "share_coins": 2},
        },
        "put /v1/admin/outreach/{campaign}": {
            "cohort": "there-already", "notice": [{"language": "en", "title": "Welcome", "body": "Say hello."}],
        },
        "put /v1/admin/payouts/terms": {"cents_per_100_coins": 50},
        "put /v1/payouts/destination": {"holder": "Sue", "iban": "DE89370400440532013000"},
        "post /v1/admin/payouts": {"user": sue},
        "post /v1/agency/invitations": {"user": sue, "share_bps": 2_000},
        "post /v1/admin/payouts/batches": {"payouts": ["none"]},
        "post /v1/admin/payouts/{payout}/approve": {"seen": "5f2d"},
        "post /v1/admin/payouts/{payout}/reject": {"ref": "ticket"},
        "post /v1/admin/payouts/{payout}/settle": {"status": "paid", "ref": "ticket"},
        "post /v1/payments/intents": {"product": "undecided"},
        "post /v1/payments/apple": {"signed_transaction": "e30.e30.c2ln"},
        "put /v1/admin/products/{product}": {"coins": 100},
        "put /v1/admin/postbacks/rules": known("/v1/admin/postbacks/rules"),
        "put /v1/admin/settings": known("/v1/settings"),
        "put /v1/admin/tariffs/{tariff}": {"rule": {"kind": "clip", "country": "XU"}, "payer": {}, "earner": {}},
        "put /v1/admin/questions/{question}": {"sql": "SELECT 1"},
        "put /v1/admin/price-classes/{user}": {"classes": ["gold"]},
        "put /v1/price-class": {"price_class": ""},
        "put /v1/blocks/{user}": {"reason": "spam"},
        "put /v1/clips/{clip}": {"title": "hello", "url": "https://example.com/v.mp4", "duration_s": 60},
        "put /v1/profile": {"name": "Bob"},
        "put /v1/profile/private": {"legal_name": "Bob B."},
        "put /v1/tracking": {"consents": ["ads"]},
        "post /v1/webhooks/apphud": event(uuid.uuid4().hex),
        "post /v1/webhooks/hasura": delivered(at=datetime.now(UTC)),
        "post /v1/webhooks/appsflyer": pushed(f"af-{uuid.uuid4().hex[:8]}"),
    }  # fmt: skip


def writes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every write of the API's document that has to be decided: "put /v1/profile", and what the document says of it."""
    for path, methods in document["paths"].items():
        for method in [found for found in WRITES if found in methods and f"{found} {path}" not in UNANSWERED]:
            yield f"{method} {path}", methods[method]


def example(document: dict[str, Any], write: dict[str, Any]) -> tuple[dict[str, Any] | None, Sequence[str]]:
    """The body that the document shows, and the required fields of which it has no example. (None, ()): it takes no body."""
    if not write.get("requestBody", {}).get("required"):
        return None, ()
    name = write["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[-1]
    schema = document["components"]["schemas"][name]
    shown = {name: field["example"] for name, field in schema["properties"].items() if "example" in field}
    return shown, [name for name in schema.get("required", ()) if name not in shown]


def test_every_write_has_an_example() -> None:
    document = build(load(brokers="127.0.0.1:1"))[0].openapi()
    given = bodies("bob", "sue", lambda _: {"user": {}})
    lacking = {operation: example(document, write)[1] for operation, write in writes(document)}
    say([f"{operation} is no write of the API: take its body out" for operation in given.keys() - lacking.keys()])
    say([
        f"{operation} has no example of {', '.join(fields)}: give these fields of its body `examples=[...]`,"
        " or write the body into tests/test_undecided.py"
        for operation, fields in lacking.items() if fields and operation not in given
    ])  # fmt: skip


@pytest.fixture
def scene(phones: Phones, admin: Api, stack: Stack, new_user: NewUser, app_store: AppStore) -> Scene:
    """For each write of the API's document a request that would be decided; a call rings, which commands can be sent to."""
    bob, sue = phones()
    agency = new_user("agency")

    def known(path: str) -> dict[str, Any]:
        return {name: value for name, value in admin.get(path).json().items() if name != "version"}

    given = bodies(bob.user, sue.user, known)
    given["post /v1/payments/apple"] = {"signed_transaction": app_store.sell("coins.100", str(uuid.uuid4()))}
    clip = given["put /v1/clips/{clip}"]
    assert sue.api.put("/v1/profile/private", json={"legal_name": "Susan S."}).status_code == 200
    assert sue.api.put(f"/v1/clips/clip-{sue.user}", json=clip).status_code == 200
    there = {"rule": {"rule": "is", "field": "tag", "values": ["nobody-has-it"]}, "tag": "there-already"}
    assert admin.put("/v1/admin/cohorts/there-already", json=there).status_code == 200
    call = bob.call(sue).json()["call"]
    session = bob.api.post("/v1/sessions", json={"device": "tablet"}).json()["session"]
    values = {
        "user": sue.user, "call": call, "session": session, "role": "user", "case": "unknown",
        "clip": f"clip-{sue.user}", "seq": "1",
    }  # fmt: skip
    document = httpx.get(f"{stack.http}/openapi.json").json()
    requests = {}
    for operation, write in writes(document):
        method, path = operation.split()
        api = admin if path.startswith("/v1/admin") else sue.api if operation in OF_STREAMERS else bob.api
        api = agency if path.startswith(OF_AGENCIES) else api
        filled = re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "undecided"), path)
        requests[operation] = (api, method, filled, given.get(operation) or example(document, write)[0])
    reading = f"/v1/admin/profiles/{sue.user}/private?reason=ticket"
    requests["get /v1/admin/profiles/{user}/private"] = (admin, "get", reading, None)
    requests["delete /v1/users/me"] = (new_user(), "delete", "/v1/users/me", None)
    parting = f"/v1/admin/agencies/{agency.user}/people/{sue.user}?reason=ticket"
    requests["delete /v1/admin/agencies/{agency}/people/{user}"] = (admin, "delete", parting, None)
    leaving = f"/v1/admin/users/{new_user().user}?reason=ticket"
    requests["delete /v1/admin/users/{user}"] = (admin, "delete", leaving, None)
    return bob, requests, document["paths"]


def send(api: Api, method: str, path: str, body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": f"{method}:{path}", "X-AppsFlyer-Token": "push-token", "X-Reason": "ticket"}
    headers |= {"X-Olo-Secret": "hasura-secret-of-tests", "X-Apphud-Token": "apphud-token"}
    return api.request(method, path, json=body, headers=headers)


def assert_nothing_is_claimed(operation: str, api: Api, answer: httpx.Response, document: dict[str, Any]) -> None:
    """202 with somewhere to look, just where the document says so; else 503, a problem that says when to come again."""
    method, path = operation.split()
    declared = "Location" in document[path][method]["responses"].get("202", {}).get("headers", {})
    assert answer.status_code == (202 if declared else 503), f"{operation}: {answer.status_code} {answer.text}"
    if not declared:
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["code"], answer.headers["retry-after"]) == ("not_decided", "1"), operation
        return
    looked = api.get(answer.headers["location"])
    assert looked.status_code in (200, 404), f"{operation}: {looked.text}"
    assert looked.status_code == 200 or looked.headers["content-type"] == "application/problem+json"


def test_nobody_claims_success_while_the_flows_stand_still_and_then_all_goes_on(
    stack: Stack, scene: Scene, admin: Api, new_user: NewUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, requests, document = scene
    monkeypatch.setattr("tests.conftest.PATIENCE_S", 0)
    who = {"user": bob.api, "admin": admin}
    once = [(who[role], method, path.format(me=bob.user), body) for role, method, path, body, *_ in ONCE_SUCCESS]
    locations = []
    with ThreadPoolExecutor(len(requests) + len(once)) as threads, standing_still(stack):
        answers = list(threads.map(lambda request: send(*request), [*requests.values(), *once]))
        for (operation, (api, *_)), answer in zip(requests.items(), answers, strict=False):
            assert_nothing_is_claimed(operation, api, answer, document)
            locations += [(api, answer.headers["location"])] if answer.status_code == 202 else []
        assert {(answer.status_code, answer.json()["code"]) for answer in answers[len(requests) :]} == {(503, "not_decided")}
    for api, location in locations:
        eventually(lambda api=api, location=location: api.get(location).status_code == 200)
    for request, (*_, status, code) in zip(once, ONCE_SUCCESS, strict=True):
        answer = eventually(lambda request=request: (found := send(*request)).status_code != 503 and found)
        assert (answer.status_code, answer.json().get("code")) == (status, code)
    for path in ("/v1/admin/cohorts/undecided", "/v1/admin/cohorts/there-already", "/v1/admin/outreach/undecided"):
        assert eventually(lambda path=path: admin.delete(path).status_code in (204, 404))
    ann = new_user()
    assert admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=5).status_code == 201


def test_what_became_of_a_gift_is_told_to_both_sides_and_staff(phones: Phones, admin: Api, new_user: NewUser) -> None:
    bob, sue = phones(coins=10)
    assert admin.put("/v1/admin/gifts/lily", json={"price_coins": 10, "share_coins": 4}).status_code == 200
    sent = bob.api.place("/v1/gifts", to=sue.user, gift="lily")
    short = bob.api.place("/v1/gifts", "short", to=sue.user, gift="lily")
    assert (sent.status_code, short.status_code) == (201, 402)
    for api in (bob.api, sue.api, admin):
        assert api.get(sent.headers["location"]).json() == sent.json()
    stranger = new_user().get(sent.headers["location"])
    assert (stranger.status_code, stranger.json()["code"]) == (404, "gift_not_found")
    assert bob.api.get("/v1/gifts/unknown").json()["code"] == "gift_not_found"
    refused = bob.api.get(f"/v1/gifts/{request_id(bob.user, 'gift short')}").json()
    assert (refused["status"], refused["refusal"], refused["price_coins"]) == ("refused", "insufficient_coins", 0)
