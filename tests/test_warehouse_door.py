"""The embedded warehouse's door: a password, asked of every request, and no page of another origin."""

import base64
import json
import stat
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.warehouse.door import PEOPLE, PLATFORM, RefusedError, check_origin, passwords, url, user_of
from tests.conftest import Stack

KNOWN = {PEOPLE: "pw-of-people", PLATFORM: "pw-of-platform"}
NOBODY = frozenset[str]()


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "parameters", "user"),
    [
        (basic("olo", "pw-of-people"), {}, "olo"),
        (basic("platform", "pw-of-platform"), {}, "platform"),
        ({"x-clickhouse-user": "olo", "x-clickhouse-key": "pw-of-people"}, {}, "olo"),
        ({}, {"user": "olo", "password": "pw-of-people"}, "olo"),
    ],
)
def test_each_of_clickhouses_ways_leads_in(headers: dict[str, str], parameters: dict[str, str], user: str) -> None:
    assert user_of(headers, parameters, KNOWN) == user


@pytest.mark.parametrize(
    ("headers", "parameters", "status"),
    [
        ({}, {}, 401),
        (basic("", ""), {}, 401),
        (basic("olo", "pw-of-platform"), {}, 403),
        (basic("nobody", ""), {}, 403),
        (basic("ölo", "pw-öf-people"), {}, 403),
        ({"authorization": "Basic !"}, {}, 403),
        ({"authorization": "Bearer pw-of-people"}, {}, 403),
        ({"x-clickhouse-user": "olo"}, {}, 403),
        ({"x-clickhouse-key": "pw-of-people"}, {}, 403),
        ({}, {"user": "olo"}, 403),
        (basic("olo", "pw-of-people") | {"x-clickhouse-user": "olo"}, {}, 403),
        (basic("olo", "pw-of-people"), {"password": "pw-of-people"}, 403),
    ],
)
def test_nothing_else_does(headers: dict[str, str], parameters: dict[str, str], status: int) -> None:
    with pytest.raises(RefusedError, match=r"^Code: 516\. DB::Exception: .*\(AUTHENTICATION_FAILED\)$") as refused:
        user_of(headers, parameters, KNOWN)
    assert refused.value.status == status


@given(user=st.text(), password=st.text())
def test_no_other_pair_leads_in(user: str, password: str) -> None:
    for headers, parameters in ((basic(user.replace(":", ""), password), {}), ({}, {"user": user, "password": password})):
        if KNOWN.get(user) != password:
            with pytest.raises(RefusedError):
                user_of(headers, parameters, KNOWN)


@pytest.mark.parametrize(
    ("headers", "allowed", "may"),
    [
        ({}, NOBODY, True),
        ({"host": "127.0.0.1:8123", "origin": "http://127.0.0.1:8123"}, NOBODY, True),
        ({"host": "127.0.0.1:8123", "origin": "http://127.0.0.1:8124"}, NOBODY, False),
        ({"host": "127.0.0.1:8123", "origin": "https://evil.example"}, NOBODY, False),
        ({"host": "127.0.0.1:8123", "origin": "null"}, NOBODY, False),
        ({"origin": "https://bi.example"}, frozenset({"https://bi.example"}), True),
        ({"sec-fetch-site": "cross-site"}, NOBODY, False),
        ({"sec-fetch-site": "none"}, NOBODY, True),
    ],
)
def test_pages_of_other_origins_stay_out(headers: dict[str, str], allowed: frozenset[str], may: bool) -> None:
    if may:
        check_origin(headers, allowed)
        return
    with pytest.raises(RefusedError) as refused:
        check_origin(headers, allowed)
    assert refused.value.status == 403


def test_passwords_are_made_once_and_are_their_owners(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    made = passwords(file)
    assert passwords(file) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len({*made.values()}) == 2
    parts = urlsplit(url(PEOPLE, made[PEOPLE], 8123))
    assert (parts.username, parts.password, parts.port) == (PEOPLE, made[PEOPLE], 8123)


def test_the_platforms_own_url_has_the_password_and_nobody_comes_in_without(stack: Stack) -> None:
    bare = stack.child("warehouse")["url"]
    assert httpx.get(f"{bare}/ping").text == "Ok.\n"
    without = httpx.get(bare, params={"query": "SELECT 1"})
    assert (without.status_code, without.headers["x-clickhouse-exception-code"]) == (401, "516")
    assert httpx.get(stack.clickhouse, params={"query": "SELECT 1"}).text == "1\n"
    foreign = httpx.get(stack.clickhouse, params={"query": "SELECT 1"}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert stack.clickhouse in stack.log.read_text().replace("\n", "")
    for file in ("endpoints.json", "passwords.json"):
        assert stat.S_IMODE((stack.home / file).stat().st_mode) == 0o600
    known = json.loads((stack.home / "passwords.json").read_text())
    assert urlsplit(stack.clickhouse).password == known[PEOPLE]
    assert known[PLATFORM] not in (stack.home / "endpoints.json").read_text()
