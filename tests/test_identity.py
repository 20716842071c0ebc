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
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from infra.config import DEMO_PROJECT, Config, load
from infra.vendors import identity
from infra.vendors.answers import Attempt
from pipelines.outbox import decide_outbox
from schemas.log.base import UserId, Wake
from schemas.mission_control_roles import BOOK, RolesChanged
from schemas.outbox import SIGN_IN, AttemptOutcome, EffectDue, EffectKind, ReportAttempt
from schemas.user import Role, UserErased
from tests.decisions import decisions_of
from tests.lab.city.push_vendors import PROJECT, Keys
from tests.long_lists import long_lists

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
        self.updated: list[dict[str, str]] = []
        self.bearers: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            told = jwt.decode(parse_qs(request.content.decode())["assertion"][0], options={"verify_signature": False})
            assert told["scope"] == identity.SCOPE
            return httpx.Response(
                200, json={"access_token": f"t{len(self.bearers)}", "expires_in": 3600, "token_type": "Bearer"}
            )
        assert request.method == "POST"
        assert request.url.path in (f"/v1/projects/{PROJECT}/accounts:delete", f"/v1/projects/{PROJECT}/accounts:update")
        self.bearers.append(request.headers["authorization"])
        status, body = self.answers.pop(0)
        if request.url.path.endswith("update"):
            self.updated.append(json.loads(request.content))
        elif status == 200:
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


def changed(version: int, *roles: Role, given: bool = True) -> RolesChanged:
    return RolesChanged(
        id=f"c{version}", at=T, cause="x", book=BOOK, user=UserId("ann"), roles=roles, version=version, given=given,
        role=Role.SUPPORT, by=UserId("root"), signed_up=Role.STREAMER,
    )  # fmt: skip


def report(due: EffectDue, outcome: AttemptOutcome) -> ReportAttempt:
    return ReportAttempt(id="r", at=T, effect=due.effect, attempt=due.attempt, outcome=outcome)


def test_claims_are_those_that_the_log_gave(attempt: Try, settings: Config) -> None:
    decide = decisions_of(decide_outbox)
    _, (given,) = decide(None, changed(1, Role.SUPPORT, Role.FINANCE))
    _, (taken,) = decide(None, changed(2, given=False))
    toolkit = Toolkit((200, {"kind": "identitytoolkit#SetAccountInfoResponse"}), error(400, "USER_NOT_FOUND"))
    assert [attempt(due, toolkit, settings).outcome for due in (given, taken)] == [ACCEPTED, ACCEPTED]
    one, other = toolkit.updated
    assert (one["localId"], one.get("validSince")) == ("ann", None)
    assert json.loads(one["customAttributes"]) == {"role": "finance", "roles": ["support", "finance"]}
    assert json.loads(other["customAttributes"]) == {"role": "streamer", "roles": []}
    assert int(other["validSince"]) == int(T.timestamp())
    assert attempt(replace(given, claims=None), toolkit, settings).outcome is REFUSED


STEPS = long_lists(st.sampled_from(("change", "repeat", "accepted", "failed", "refused", "wake")), 30)


@given(STEPS)
def test_the_newest_claims_are_told_last_and_one_at_a_time(steps: list[str]) -> None:
    """Law: at most one attempt is with dispatch; when nothing is due or waiting, the last that was told are the newest."""
    decide, effect, version = decisions_of(decide_outbox), None, 0
    open_: list[EffectDue] = []
    told = [0]
    for step in [*steps, "accepted", "wake", "accepted", "accepted"]:
        if step in ("change", "repeat"):
            version += step == "change" or not version
            effect, facts = decide(effect, changed(version, Role.SUPPORT))
        elif step == "wake":
            later = max(T, effect.wake_at) if effect and effect.wake_at and effect.next_at else T
            effect, facts = decide(effect, Wake(id="w", at=later, key="set_claims/ann"))
        elif open_:
            due = open_.pop()
            told.append(due.claims.version if due.claims else 0)
            effect, facts = decide(effect, report(due, AttemptOutcome(step)))
        else:
            continue
        open_ += [fact for fact in facts if isinstance(fact, EffectDue)]
        assert len(open_) <= 1
        assert told == sorted(told)
    assert not open_
    assert told[-1] == version
