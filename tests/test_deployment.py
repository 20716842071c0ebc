"""The files of a deployment, read as files: who reaches the platform, as whom it runs, how it ends, what production refuses."""

import os
import re
import stat
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from infra.config import EMULATOR_VARIABLE, Config, ConfigError, load
from infra.endpoints import only_one
from infra.supervisor import STOP_S
from serving.runtime.auth import may_watch
from serving.runtime.problems import Problem
from tests.front import Front, code
from tests.sources import ROOT

DEPLOY = ROOT / "infra" / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
SERVICES: dict[str, Any] = import_module("yaml").safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def test_nothing_is_published_beyond_the_loopback_with_tokens_that_anybody_can_forge() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_service_comes_again_and_the_platform_ends_in_its_own_time() -> None:
    assert {service.get("restart") for service in SERVICES.values()} == {"unless-stopped"}
    # those that need others, then the foundations
    assert int(SERVICES["olo"]["stop_grace_period"].removesuffix("s")) > 2 * STOP_S


def test_the_image_runs_as_nobody_special_and_says_how_it_is() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    users = re.findall(r"^USER (\w+)$", last, re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
    assert "HEALTHCHECK" in last
    assert "apt-get" not in last
    assert "COPY . " not in DOCKERFILE, "what is copied is named"


def test_what_is_copied_is_there_and_what_is_this_machines_stays_here() -> None:
    ignored = set((ROOT / ".dockerignore").read_text().split("\n"))
    assert {".git", ".venv", ".uv", ".olo", "tests", "olo.toml", ".env*"} <= ignored
    for names in re.findall(r"^COPY ([^-].*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in names.split():
            assert (ROOT / name).exists(), name
            assert name not in ignored, name


def test_the_installer_of_the_image_is_that_of_the_bootstrap() -> None:
    (version,) = re.findall(r"UV_VERSION=(\S+)", (ROOT / "infra" / "bootstrap.sh").read_text())
    assert f"uv=={version}" in DOCKERFILE


def test_what_lies_in_the_home_is_its_owners(tmp_path: Path) -> None:
    home, before = tmp_path / "olo", os.umask(0o022)
    try:
        home.mkdir(mode=0o755)
        with only_one(home):
            (home / "logs").mkdir()
            (home / "secret").write_text("x")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())}
    assert modes == {"olo": 0o700, "lock": 0o600, "logs": 0o700, "secret": 0o600}


PRODUCTION = {"env": "production", "firebase_project": "olo-live"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"env": "production"}, "OLO_FIREBASE_PROJECT"),
        (PRODUCTION | {"clickhouse_url": "http://olo:olo-development@x:8123/olo"}, "OLO_CLICKHOUSE_URL"),
        ({"http_host": "0.0.0.0"}, "OLO_HTTP_HOST"),
        ({"http_host": "::"}, "OLO_HTTP_HOST"),
        ({"metrics_token": "too-short"}, "OLO_METRICS_TOKEN"),
        ({"http_host": "olo.example"}, "OLO_HTTP_HOST"),
    ],
)
def test_defaults_of_development_are_refused_where_they_do_harm(
    given: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"^{named}: ") as error:
        load(**given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        PRODUCTION | {"http_host": "0.0.0.0"}, {"http_host": "127.0.0.2"}, {"http_host": "::1"}, {"http_host": "localhost"},
        {"http_host": "0.0.0.0", "forgeable_tokens_beyond_loopback": True},
    ],
)  # fmt: skip
def test_what_is_said_in_words_is_done(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(EMULATOR_VARIABLE, raising=False)
    load(**given)


TOKEN = "a-token-of-prometheus"


@pytest.mark.parametrize(
    ("settings", "header", "address", "answered"),
    [
        ({}, "", "127.0.0.1", None), ({}, "", "::1", None), ({}, "", "::ffff:127.0.0.1", None),
        ({}, "", "192.0.2.1", "token_missing"), ({}, "", "", "token_missing"),
        ({}, f"Bearer {TOKEN}", "192.0.2.1", "token_missing"),
        (PRODUCTION, "", "127.0.0.1", "token_missing"), (PRODUCTION, "Bearer ", "127.0.0.1", "token_missing"),
        ({"metrics_token": TOKEN}, "", "127.0.0.1", "token_missing"),
        ({"metrics_token": TOKEN}, f"Bearer {TOKEN}", "192.0.2.1", None),
        (PRODUCTION | {"metrics_token": TOKEN}, f"bearer  {TOKEN} ", "192.0.2.1", None),
        (PRODUCTION | {"metrics_token": TOKEN}, f"Bearer {TOKEN}x", "127.0.0.1", "token_invalid"),
        (PRODUCTION | {"metrics_token": TOKEN}, "Bearer ", "127.0.0.1", "token_invalid"),
        (PRODUCTION | {"metrics_token": TOKEN}, "Bearer \ud800\xe9", "127.0.0.1", "token_invalid"),
        (PRODUCTION | {"metrics_token": TOKEN}, TOKEN, "127.0.0.1", "token_missing"),
        (PRODUCTION | {"metrics_for_everybody": True}, "", "192.0.2.1", None),
    ],
)  # fmt: skip
def test_who_is_told_the_metrics(settings: dict[str, Any], header: str, address: str, answered: str | None) -> None:
    with pytest.raises(Problem) if answered else nullcontext() as error:
        may_watch(Config(**settings), header or None, address)
    if error:
        assert (error.value.status, error.value.code) == (401, answered)


def test_the_metrics_route_asks() -> None:
    front = Front()
    assert "olo_http_requests_total" in front.ask("GET", "/metrics", address="127.0.0.1").text
    refused = front.ask("GET", "/metrics")
    assert code(refused) == (401, "token_missing")
    assert "olo_" not in refused.text
