"""Signing in by Firebase in a real Chromium, at a serving process in production beside the run's platform, which verifies what
the stand-in signs."""

import threading
from collections.abc import Iterator

import firebase_admin._token_gen
import httpx
import pytest
import uvicorn
from playwright.sync_api import BrowserContext, expect

from infra.config import load
from infra.ports import free_port
from serving.__main__ import Server, options
from serving.app import build
from tests.chromium import name, violations
from tests.conftest import Stack, eventually
from tests.lab.city.sign_in import FirebaseSignIn


@pytest.fixture
def google() -> Iterator[FirebaseSignIn]:
    """Who signs people in, with tokens that live for four seconds: a page renews them after two."""
    google = FirebaseSignIn(lives_s=4)
    yield google
    google.close()


@pytest.fixture
def production(stack: Stack, home: str, google: FirebaseSignIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a serving process in production, on the log and the pages of the run's platform."""
    monkeypatch.setattr(firebase_admin._token_gen, "ID_TOKEN_CERT_URI", google.certificates)
    where = {"brokers": stack.brokers, "clickhouse_url": stack.clickhouse, "home": stack.home}
    config = load(env="production", **where, **google.settings)
    app, front, hub = build(config)
    port = free_port(set())
    server = Server(
        uvicorn.Config(front, host="127.0.0.1", port=port, **options(config, app.state.rates)), hub, app.state.board
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: _is_ready(url))
    yield url
    server.should_exit = True
    thread.join(30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_people_and_staff_sign_in_are_renewed_and_signed_out(
    context: BrowserContext, production: str, google: FirebaseSignIn
) -> None:
    """A wrong password is told; a token is renewed before it expires; who is disabled is signed out, with why."""
    ann, root = name(), name()
    google.people = {"ann@olo.example": ("secret", ann, "user"), "root@olo.example": ("open sesame", root, "admin")}
    page = context.new_page()
    page.goto(f"{production}/phone")
    page.get_by_label("E-mail address").fill("ann@olo.example")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The address or the password is wrong.")
    assert violations(page) == []
    page.get_by_label("Password").fill("secret")
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("heading", name=ann)).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("live")
    people = page.get_by_role("button", name="People")

    def renewed() -> bool:
        people.click()
        return ann in google.renewed

    eventually(renewed)
    expect(page.get_by_role("status")).to_have_text("live")
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    google.disabled.add(ann)
    expect(page.get_by_role("alert")).to_have_text("This account is disabled.")
    panel = context.new_page()
    panel.goto(f"{production}/panel")
    panel.get_by_label("Address").fill("root@olo.example")
    panel.get_by_label("Password").fill("open sesame")
    panel.get_by_role("button", name="Sign in").click()
    expect(panel.get_by_text(f"{root}, admin")).to_be_visible()
    panel.get_by_role("button", name="Sign out").click()
    expect(panel.get_by_label("Password")).to_have_value("")
    answer = httpx.post(f"{production}/development/tokens", json={"user": "root", "role": "admin"}, trust_env=False)
    assert answer.status_code == 404
