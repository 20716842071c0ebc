"""Global settings: changed live, kept as versions, and an app below the lowest version gets 426 with the store's link."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.settings import decide_settings
from schemas.log.base import Wake
from schemas.settings import AppSettings, PlatformSettings, PutSettings, version_number
from tests.conftest import Api, NewUser, Stack, eventually
from tests.decisions import decisions_of

decide = decisions_of(decide_settings)
T = datetime(2030, 1, 1, tzinfo=UTC)


def test_each_change_is_a_version() -> None:
    put = PutSettings(id="p", at=T, name="app", settings=AppSettings({"ios": PlatformSettings("2")}), by="root")
    first, _ = decide(None, put)
    second, (fact,) = decide(first, put)
    assert (first.version, second.version, fact.version) == (1, 2, 2)
    assert decide(second, Wake(id="w", at=T, key="app")) == (second, ())


@pytest.mark.parametrize(
    ("one", "other"), [("3.12", "3.2"), ("10", "9.9.9"), ("1.0.1", "1"), ("2.0.0.1", "2")]
)  # fmt: skip
def test_versions_compare_by_number(one: str, other: str) -> None:
    assert version_number(one) > version_number(other)
    assert version_number(f"{other}.0") == version_number(other)


@pytest.fixture
def platform(admin: Api) -> Iterator[dict[str, Any]]:
    """Settings for a platform of this test's own; other tests' phones name none."""
    body = {
        "platforms": {"ios": {"lowest_version": "3.2", "recommended_version": "3.5", "store_url": "https://apps.example/olo"}}
    }
    answer = admin.put("/v1/admin/settings", json=body)
    assert answer.status_code == 200, answer.text
    eventually(lambda: admin.get("/v1/settings").json()["version"] == answer.json()["version"])
    yield answer.json()
    admin.put("/v1/admin/settings", json={})


def test_an_app_that_is_too_old_is_sent_to_the_store(platform: dict[str, Any], new_user: NewUser, stack: Stack) -> None:
    ann = new_user()
    old = ann.get("/v1/balance", headers={"X-App-Platform": "ios", "X-App-Version": "3.1.9"})
    assert (old.status_code, old.json()["code"], old.json()["store_url"]) == (426, "app_too_old", "https://apps.example/olo")
    assert ann.get("/v1/feed", headers={"X-App-Platform": "ios", "X-App-Version": "3"}).status_code == 426
    eventually(lambda: ann.balance().status_code == 200)  # the account is opened behind the sign-up's answer
    for fine in ({"X-App-Version": "3.2"}, {"X-App-Version": "3.12.0"}, {}):
        assert ann.get("/v1/balance", headers={"X-App-Platform": "ios", **fine}).status_code == 200
    assert ann.get("/v1/balance", headers={"X-App-Platform": "android", "X-App-Version": "1"}).status_code == 200
    odd = ann.get("/v1/balance", headers={"X-App-Platform": "ios", "X-App-Version": "new"})
    assert (odd.status_code, odd.json()["code"]) == (400, "app_version_invalid")
    known = ann.get("/v1/settings", headers={"X-App-Platform": "ios", "X-App-Version": "1", "Authorization": ""})
    assert known.json()["platforms"]["ios"]["recommended_version"] == "3.5", "an old app can still ask what is wrong"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"platforms": {"ios": {"lowest_version": "new"}}}, "invalid_request"),
        ({"platforms": {"ios": {"lowest_version": "3", "recommended_version": "2"}}}, "invalid_settings"),
        ({"platforms": {"IOS": {}}}, "invalid_request"),
        ({"surprise": 1}, "invalid_request"),
    ],
)
def test_settings_that_cannot_be_are_refused(admin: Api, body: dict[str, Any], code: str) -> None:
    answer = admin.put("/v1/admin/settings", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_only_an_admin_changes_settings(new_user: NewUser) -> None:
    assert new_user().put("/v1/admin/settings", json={}).status_code == 403
