"""Migration over HTTP: who posts is known by a secret, rules are published and tried, and an old back end moves over."""

import contextlib
import json
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import msgspec
from msgspec.structs import replace

from infra.kafka import read_topic
from schemas.migration import MIGRATION_ROW, MoveRow
from schemas.migration_rules import MigrationRule
from schemas.profile import PROFILE as PROFILE_ENTITY
from tests.conftest import Api, NewUser, Stack, eventually
from tests.front import Front, bearer
from tests.test_migration import OPENS, PROFILE, delivered

ROOT: Final = bearer("root", "admin")
SECRET: Final = "hasura-secret-of-tests"
ROWS: Final = 500


def test_who_posts_is_known_by_the_secret_and_a_broken_delivery_is_kept() -> None:
    front = Front(hasura_webhook_secret=SECRET)
    right = {"X-Olo-Secret": SECRET}
    for headers in ({}, {"X-Olo-Secret": "guess"}, {"Authorization": "Bearer "}, {"X-Olo-Secret": "ü"}):
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        assert front.ask("POST", "/v1/webhooks/hasura", json=delivered(), headers=sent).json()["code"] == "token_invalid"
    assert Front().ask("POST", "/v1/webhooks/hasura", json=delivered(), headers=right).status_code == 401
    for body, code in ((b"{", "broken_json"), (b'"x"', "delivery_invalid"), (b"[" * 90, "json_too_deep")):
        answer = front.ask("POST", "/v1/webhooks/hasura", content=body, headers=right)
        assert (answer.status_code, answer.json()["status"]) == (200, "kept")
        assert code in answer.json()["why"]
    assert [one.topic for one in front.commands.asked] == ["webhooks.hasura"] * 3  # type: ignore[attr-defined]
    assert front.ask("POST", "/v1/webhooks/hasura", content=b"x" * 80_000, headers=right).status_code == 413
    assert front.ask("POST", "/v1/webhooks/hasura", json=delivered(at=datetime.now(UTC)), headers=right).status_code == 503
    assert type(front.commands.asked[-1]) is MoveRow


def published(*rules: MigrationRule, **more: Any) -> dict[str, Any]:
    return {"table": "public.users", "key": ["id"], "rules": msgspec.to_builtins(rules), **more}


def test_rules_are_held_against_what_they_may_build_before_they_are_published() -> None:
    front, path = Front(), "/v1/admin/migration/feeds/users_profile"
    bad = front.ask("PUT", path, json=published(OPENS), headers=ROOT)
    assert (bad.status_code, bad.json()["code"]) == (422, "invalid_rules")
    assert bad.json()["errors"][0]["where"] == "total_coins"
    for role, status in (("user", 403), ("finance", 403), ("support", 403)):
        assert front.ask("PUT", path, json=published(PROFILE), headers=bearer("eve", role)).status_code == status
    assert front.ask("PUT", path, json=published(PROFILE), headers=ROOT).status_code == 503
    assert front.ask("GET", path, headers=ROOT).json()["code"] == "feed_unknown"
    preview = {"delivery": json.dumps(delivered(at=datetime.now(UTC))), "rules": published(PROFILE)}
    answer = front.ask("POST", f"{path}/preview", json=preview, headers=ROOT).json()
    assert (answer["outcome"], answer["rule"], answer["command"]["name"]) == ("moved", "profile", "Bob")
    broken = preview | {"delivery": json.dumps(delivered(at=datetime.now(UTC), born="soon"))}
    (problem,) = front.ask("POST", f"{path}/preview", json=broken, headers=ROOT).json()["problems"]
    assert problem == {"where": "rules[0].fields.age", "what": "value_unfit: it is no date"}
    other = front.ask("POST", "/v1/admin/migration/feeds/others/preview", json=preview, headers=ROOT).json()
    assert other["problems"][0]["where"] == "trigger.name"


def test_an_old_back_end_moves_over_and_a_mended_rule_takes_what_was_put_aside(
    stack: Stack, admin: Api, new_user: NewUser
) -> None:
    """A profile, twice and in the wrong order; a delivery that a rule could not take, redriven; an opening balance, once."""
    bob, name = new_user(), uuid.uuid4().hex[:8]
    at = datetime.now(UTC)

    def post(feed: str, event: str, **given: Any) -> dict[str, Any]:
        body = delivered(given.pop("op", "INSERT"), f"{event}-{name}", given.pop("at", at), id=bob.user, **given)
        body["trigger"]["name"] = f"{feed}-{name}"
        answer = httpx.post(f"{stack.http}/v1/webhooks/hasura", json=body, headers={"X-Olo-Secret": SECRET})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def publish(feed: str, *rules: MigrationRule, **more: Any) -> int:
        answer = admin.put(f"/v1/admin/migration/feeds/{feed}-{name}", json=published(*rules, **more))
        assert answer.status_code == 200, answer.text
        return int(answer.json()["version"])

    assert post("users", "e0")["status"] == "feed_unknown"
    assert publish("users", PROFILE) == 1
    assert post("users", "e2", display_name="Newer", at=at + timedelta(seconds=1))["status"] == "moved"
    assert post("users", "e2", display_name="Newer", at=at + timedelta(seconds=1))["status"] == "repeated"
    assert post("users", "e1", display_name="Older")["status"] == "superseded"
    assert eventually(lambda: bob.get(f"/v1/profiles/{bob.user}").json().get("name")) == "Newer"
    kept = post("users", "e3", born="soon", display_name="Mended", at=at + timedelta(seconds=2))
    assert (kept["status"], "value_unfit" in kept["why"]) == ("kept", True)
    again = stack.olo("dead-letters", "redrive", kept["letter"])
    assert (again.returncode, "it is as it was" in again.stderr) == (2, True)
    assert publish("users", replace(PROFILE, fields=PROFILE.fields[:2])) == 2
    done = stack.olo("dead-letters", "redrive", kept["letter"])
    assert (done.returncode, "put_profile" in done.stdout) == (0, True), done.stderr
    assert eventually(lambda: bob.get(f"/v1/profiles/{bob.user}").json()["name"] == "Mended")
    publish("wallets", OPENS, total_coins=500)
    for event in ("w1", "w2"):
        assert post("wallets", event, op="MANUAL", balance="120.75", at=at + timedelta(seconds=3))["status"] == "moved"
    assert eventually(lambda: bob.balance().json()["balance_coins"] == 120)
    assert post("wallets", "w1", op="MANUAL", balance="120.75")["status"] in ("repeated", "superseded")
    shown = admin.get(f"/v1/admin/migration/feeds/wallets-{name}").json()
    assert (shown["opened_coins"], shown["version"]) == (120, 1)


def test_an_event_makes_one_command_when_each_comes_twice_and_who_decides_and_who_serves_is_killed(
    stack: Stack, admin: Api
) -> None:
    """500 rows, each told twice at once and again until it is taken; live and serving die by SIGKILL meanwhile."""
    name, at = uuid.uuid4().hex[:8], datetime.now(UTC)
    feed = f"killed-{name}"
    assert admin.put(f"/v1/admin/migration/feeds/{feed}", json=published(PROFILE)).status_code == 200
    told, over = Counter[str](), threading.Event()

    def tell(number: int, client: httpx.Client) -> None:
        body = delivered("INSERT", f"e{number}-{name}", at, id=f"{feed}-{number}") | {"trigger": {"name": feed}}
        while not over.is_set():
            with contextlib.suppress(httpx.TransportError):
                answer = client.post("/v1/webhooks/hasura", json=body, headers={"X-Olo-Secret": SECRET})
                if answer.status_code == 200:
                    told[answer.json()["status"]] += 1
                    return
            time.sleep(0.2)

    with (
        httpx.Client(base_url=stack.http, timeout=10, trust_env=False) as client,
        ThreadPoolExecutor(16) as phones,
        ThreadPoolExecutor(2) as killers,
    ):
        everything = [phones.submit(tell, number, client) for number in list(range(ROWS)) * 2]
        try:
            eventually(lambda: sum(told.values()) > ROWS // 5)
            list(killers.map(stack.kill, ("live-0", "serving-0")))
            eventually(lambda: all(one.done() for one in everything), 90.0)
        finally:
            over.set()
    assert (sum(told.values()), set(told) <= {"moved", "repeated"}) == (2 * ROWS, True), told
    noted, made = Counter[str](), Counter[str]()
    for record in (*read_topic(stack.config, MIGRATION_ROW.events), *read_topic(stack.config, PROFILE_ENTITY.inbox)):
        found = json.loads(record.value() or b"{}")
        if found.get("type") == "RowNoted" and found["feed"] == feed:
            noted[found["event"]] += 1
        elif found.get("type") == "PutProfile" and found["user"].startswith(feed):
            made[found["user"]] += 1
    assert (len(noted), set(noted.values()), len(made), set(made.values())) == (ROWS, {1}, ROWS, {1})
