"""The account of an erased user where users sign in: who owes its deletion, how it is asked for, and what answers mean."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import jwt
import pytest

from infra.config import DEMO_PROJECT, Config, load
from infra.vendors import identity
from infra.vendors.answers import Attempt
from pipelines.outbox import decide_outbox
from schemas.log.base import UserId
from schemas.outbox import SIGN_IN, AttemptOutcome, EffectDue, EffectKind
from schemas.user import UserErased
from tests.decisions import decisions_of
from tests.lab.city.push_vendors import PROJECT, Keys

T = datetime(2030, 1, 1, tzinfo=UTC)
DUE = EffectDue(
    id="d", at=T, cause="x", effect="delete_account/ann", kind=EffectKind.DELETE_ACCOUNT, provider=SIGN_IN, subject="ann",
    attempt=1, expires_at=T + timedelta(days=30),
)  # fmt: skip
ACCEPTED, REFUSED, FAILED = AttemptOutcome.ACCEPTED, AttemptOutcome.REFUSED, AttemptOutcome.FAILED
Try = Callable[..., Attempt]


@pytest.fixture
def settings(push_keys: Keys) -> Config:
    return load(
        firebase_project=PROJECT, firebase_key_file=push_keys.environment["OLO_FCM_KEY_FILE"], firebase_url="http://toolkit"
    )


class Toolkit:
    """The stand-in: it checks each request against the contract, gives tokens, and answers by this list."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.deleted: list[str] = []
        self.bearers: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            told = jwt.decode(parse_qs(request.content.decode())["assertion"][0], options={"verify_signature": False})
            assert told["scope"] == identity.SCOPE
            return httpx.Response(
                200, json={"access_token": f"t{len(self.bearers)}", "expires_in": 3600, "token_type": "Bearer"}
            )
        assert (request.method, request.url.path) == ("POST", f"/v1/projects/{PROJECT}/accounts:delete")
        self.bearers.append(request.headers["authorization"])
        status, body = self.answers.pop(0)
        if status == 200:
            self.deleted.append(json.loads(request.content)["localId"])
        return httpx.Response(status, content=body if isinstance(body, bytes) else json.dumps(body).encode())


DONE = (200, {"kind": "identitytoolkit#DeleteAccountResponse"})


def error(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"code": status, "message": message}}


@pytest.mark.parametrize(
    ("answer", "outcome", "doubtful"),
    [
        (DONE, ACCEPTED, False),
        (error(400, "USER_NOT_FOUND"), ACCEPTED, False),
        (error(400, "USER_NOT_FOUND : There is no user record."), ACCEPTED, False),
        (error(400, "INVALID_ID_TOKEN"), REFUSED, False),
        (error(403, "INSUFFICIENT_PERMISSION"), REFUSED, False),
        (error(404, "PROJECT_NOT_FOUND"), REFUSED, False),
        (error(429, "QUOTA_EXCEEDED"), FAILED, False),
        (error(503, "UNAVAILABLE"), FAILED, True),
        ((200, b"<html>"), FAILED, True),
        ((200, [1]), FAILED, True),
        ((400, {"error": "USER_NOT_FOUND"}), REFUSED, False),
        ((400, b"\xff"), REFUSED, False),
    ],
)
def test_what_an_answer_means(attempt: Try, settings: Config, answer: tuple[int, Any], outcome: str, doubtful: bool) -> None:
    toolkit = Toolkit(answer)
    made = attempt(DUE, toolkit, settings)
    assert (made.outcome, made.doubtful) == (outcome, doubtful), made.detail
    assert toolkit.deleted == (["ann"] if answer[0] == 200 else [])


def test_a_token_that_is_not_taken_is_renewed_once(attempt: Try, settings: Config) -> None:
    renewed = Toolkit(error(401, "expired"), DONE)
    assert attempt(DUE, renewed, settings).outcome is ACCEPTED
    assert len(set(renewed.bearers)) == 2
    assert attempt(DUE, Toolkit(error(401, "x"), error(401, "x")), settings).outcome is REFUSED


def test_who_has_no_credential_is_told_what_to_do(attempt: Try, settings: Config, tmp_path: Path) -> None:
    nobody = Toolkit()
    for said, made in (
        ("the demo project has no accounts", attempt(DUE, nobody, load(firebase_project=DEMO_PROJECT))),
        ("OLO_FIREBASE_KEY_FILE is not set", attempt(DUE, nobody, load(firebase_project="olo-live"))),
        ("users sign in at olo-live", attempt(DUE, nobody, settings.model_copy(update={"firebase_project": "olo-live"}))),
        ("OLO_FIREBASE_KEY_FILE: ", attempt(DUE, nobody, settings.model_copy(update={"firebase_key_file": f"{tmp_path}/x"}))),
    ):
        assert said in made.detail
        assert made.outcome is (ACCEPTED if "demo" in said else REFUSED)
    assert not nobody.bearers


def test_an_erasure_owes_it_once() -> None:
    decide = decisions_of(decide_outbox)
    erased = UserErased(id="e", at=T, cause="c", user=UserId("ann"), by="ann", reason="")
    effect, (due,) = decide(None, erased)
    assert (due.effect, due.kind, due.provider, due.subject) == (
        "delete_account/ann",
        EffectKind.DELETE_ACCOUNT,
        SIGN_IN,
        "ann",
    )
    assert due.expires_at == T + timedelta(days=30)
    assert not decide(effect, erased)[1]
