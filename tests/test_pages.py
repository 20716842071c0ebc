"""The pages' files as serving gives them, and how a build that fails is told."""

import asyncio
import json
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from infra import pages as building
from infra.config import Config, ConfigError, Environment, load
from infra.errors import UsageError
from serving.runtime import pages, problems

POLICY = "default-src 'none'; connect-src 'self'; img-src 'self' data:"
SCRIPT = "const words = 'words';\n" * 100


class Served:
    """The pages' routes, asked without a network."""

    def __init__(self, files: Path, config: Config | None = None, address: str = "127.0.0.1") -> None:
        app = FastAPI()
        problems.install(app)
        pages.install(app, config or load(), files)
        self._transport = httpx.ASGITransport(app, client=(address, 1))

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://olo") as client:
                return await client.request(method, path, **how)

        return asyncio.run(asked())

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.ask("GET", path, **how)

    def post(self, path: str, **how: Any) -> httpx.Response:
        return self.ask("POST", path, **how)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A built page."""
    (tmp_path / "_app" / "immutable").mkdir(parents=True)
    (tmp_path / "_app" / "immutable" / "start.abc.js").write_text(SCRIPT)
    (tmp_path / "index.html").write_text(f'<!doctype html><title>Olo</title><meta content="{POLICY}"><p>the page</p>')
    (tmp_path / building.MARK).write_text("secret of nobody")
    return tmp_path


@pytest.mark.parametrize("path", ["/phone", "/phone?two", "/phone/", "/phone/any/path", "/panel", "/panel/person"])
def test_each_path_of_a_page_is_the_document(files: Path, path: str) -> None:
    answer = Served(files).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<p>the page</p>" in answer.text
    assert POLICY in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def told(page: str) -> dict[str, str]:
    """How people sign in, as the document says."""
    content = page.partition('<meta name="olo-sign-in" content="')[2].partition('"')[0]
    return json.loads(unescape(content))  # type: ignore[no-any-return]


def test_how_people_sign_in_stands_in_the_document_and_firebase_is_asked_where_it_has_a_key(files: Path) -> None:
    production = load().model_copy(update={"env": Environment.PRODUCTION})
    assert told(Served(files).get("/phone").text) == {"kind": "development"}
    assert told(Served(files, production).get("/panel").text) == {"kind": "none"}
    keyed = production.model_copy(update={"firebase_api_key": "AIza-k_1"})
    page = Served(files, keyed).get("/phone").text
    url, token_url = "https://identitytoolkit.googleapis.com", "https://securetoken.googleapis.com"
    assert told(page) == {"kind": "firebase", "key": "AIza-k_1", "url": url, "token_url": token_url}
    assert f"connect-src 'self' {url} {token_url}; img-src" in page


def test_the_built_document_has_the_place_of_the_policy_that_is_widened() -> None:
    """What `document_of` looks for; the pages are built where npm's packages are to be had."""
    policy = (building.SOURCES / "vite.config.ts").read_text()
    assert "'connect-src': ['self']" in policy
    assert "</title>" in (building.SOURCES / "src" / "app.html").read_text()


@pytest.mark.parametrize(
    "url", ["https://a b", "https://a;script-src *", "javascript:x", 'https://a"', "https://a/'x'", "https://a/"]
)
def test_an_address_that_would_change_the_policy_is_refused(url: str) -> None:
    for name in ("firebase_url", "firebase_token_url"):
        with pytest.raises(ConfigError, match=f"OLO_{name.upper()}"):
            load(**{name: url})


def test_a_document_that_is_known_is_not_sent_again(files: Path) -> None:
    served = Served(files)
    mark = served.get("/phone").headers["etag"]
    again = served.get("/phone", headers={"If-None-Match": mark})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == "frame-ancestors 'none'"
    (files / "index.html").write_text("<p>another</p>")
    assert served.get("/phone", headers={"If-None-Match": mark}).status_code == 200


def test_hashed_files_are_kept_for_good_and_sent_compressed(files: Path) -> None:
    answer = Served(files).get("/_app/immutable/start.abc.js")
    assert answer.text == SCRIPT
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "path", ["/phones", "/sources.sha256", "/_app/immutable/gone.js", "/_app/immutable/..%2f..%2findex.html", "/_app/"]
)
def test_nothing_else_is_there(files: Path, path: str) -> None:
    assert Served(files).get(path).status_code == 404


def test_pages_that_are_not_built_say_how_to_build_them(tmp_path: Path) -> None:
    client = Served(tmp_path / "nothing")
    answer = client.get("/phone")
    assert (answer.status_code, answer.json()["code"]) == (503, "pages_missing")
    assert "make web" in answer.json()["detail"]
    assert client.get("/_app/immutable/start.abc.js").status_code == 404


def test_a_source_that_changes_is_built_anew_and_what_is_made_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "SOURCES", tmp_path)
    (tmp_path / "src").mkdir()
    page = tmp_path / "src" / "page.svelte"
    page.write_text("one")
    first = building.fingerprint()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "of_others.js").write_text("made")
    (tmp_path / "src" / "api.d.ts").write_text("made")
    assert building.fingerprint() == first
    page.write_text("two")
    second = building.fingerprint()
    page.rename(tmp_path / "src" / "other.svelte")
    assert len({first, second, building.fingerprint()}) == 3


def test_a_build_that_fails_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise UsageError("npm-cli ci failed: npm error code ENOTFOUND\nnpm error network\n")

    monkeypatch.setattr(building, "build", fails)
    with pytest.raises(SystemExit) as ended:
        building.main()
    assert ended.value.code == 2
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert "ENOTFOUND" in told
    assert "make web" in told


def test_the_lock_names_no_host_that_packages_come_from() -> None:
    lock = (building.SOURCES / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
