"""The audit of staff's requests: of every route, before anything is done, without what is personal."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.log.base import Message
from schemas.mission_control import AnswerAct, NoteAct
from schemas.mission_control_roles import PERMISSIONS, Permission
from schemas.user import Role
from serving.profile import PrivateProfileBody
from serving.runtime.asked import Asked
from serving.runtime.problems import unavailable
from serving.transfer import GrantBody, TransferBody
from tests.conftest import Api, NewUser, Stack, eventually
from tests.front import Front, bearer, code

FRONT = Front()
DOCUMENT: dict[str, Any] = FRONT.app.openapi()
ROOT = bearer("root", "admin")
WRITTEN = st.text(st.characters(exclude_categories=["Cs"]), min_size=3, max_size=30)


def operations() -> Iterator[tuple[str, str, str]]:
    """Staff's operations: id, method, and a path about bob."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if "x-permission" in operation:
                filled = path.replace("{user}", "bob").replace("{role}", "user")
                yield operation["operationId"], method.upper(), re.sub(r"\{\w+\}", "x", filled)


STAFFS = sorted(operations())
# A stream that ends when whoever follows it goes: here nobody would.
ENDLESS = {"followNow"}


def sent(method: str, path: str, headers: dict[str, str], front: Front = FRONT, **how: Any) -> list[Message]:
    """What a request made the application send."""
    before = len(front.commands.taken)
    front.ask(method, path, headers=headers | {"Idempotency-Key": "k"}, **how)
    return front.commands.taken[before:]


def test_every_route_of_staff_has_a_permission_in_the_document() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            assert ("/admin/" in path) == ("x-permission" in operation), path
            assert operation.get("x-permission", Permission.AUDIT_LOOK) in list(Permission)


def test_who_may_only_look_changes_nothing() -> None:
    """What a `*.look` lets in is a GET, or one of these, which write nothing but that somebody has read."""
    previews = {f"preview{thing}" for thing in ("Campaign", "Cohort", "Gallery", "Job", "Tariff")}
    reads = previews | {"backtestTariff", "openChatReport", "runQuery"}
    reads.add("previewMigration")
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if "x-permission" in operation and Permission(operation["x-permission"]).looks:
                assert method == "get" or operation["operationId"] in reads, f"{method} {path}"


@pytest.mark.parametrize(("operation", "method", "path"), [one for one in STAFFS if one[0] not in ENDLESS])
def test_an_act_is_noted_first_and_answered_last(operation: str, method: str, path: str) -> None:
    for role in (Role.ADMIN, Role.FINANCE):
        first, *others, last = sent(method, path, bearer("root", role), params={"reason": "a ticket"})
        assert isinstance(first, NoteAct)
        assert isinstance(last, AnswerAct)
        assert (first.staff, first.roles, first.operation, first.act) == ("root", (role,), operation, last.act)
        assert not any(isinstance(one, NoteAct | AnswerAct) for one in others)
        allowed = Permission(first.permission) in PERMISSIONS[role]
        assert allowed == ((last.status, last.code) != (403, "forbidden"))
        assert allowed or not others
    assert sent(method, path, bearer("bob")) == []


@pytest.mark.parametrize(("operation", "method", "path"), STAFFS)
def test_nothing_is_done_that_the_log_has_not_noted(
    operation: str, method: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del operation

    async def lost(*_: Message) -> None:
        raise unavailable("log_unreachable", "the log takes nothing")

    monkeypatch.setattr(FRONT.commands, "tell", lost)
    answer = FRONT.ask(method, path, headers=ROOT | {"Idempotency-Key": "k"})
    assert code(answer) == (503, "log_unreachable")


def test_a_reason_comes_by_the_header_the_query_or_the_body() -> None:
    ban = ("PUT", "/v1/admin/bans/bob")
    rows: list[tuple[tuple[str, str], dict[str, Any], str]] = [
        (ban, {"json": {"reason": "rude"}}, "rude"),
        (ban, {"json": {"reason": "rude"}, "reason": "Beschwerde über Bob"}, "Beschwerde über Bob"),
        (("POST", "/v1/admin/grants"), {"json": {"account": "bob/coins", "coins": 5, "ref": "ticket 4711"}}, "ticket 4711"),
        (("DELETE", "/v1/admin/users/bob"), {"params": {"reason": "a letter"}}, "a letter"),
        (ban, {"content": b"{"}, ""),
        (ban, {"content": b"[]"}, ""),
        (ban, {"content": b'{"reason": "a\\n\\tb"}'}, "a  b"),
        (ban, {"content": b'{"reason": 5}'}, ""),
    ]
    for (method, path), how, why in rows:
        headers = ROOT | ({"X-Reason": how.pop("reason").encode()} if "reason" in how else {})
        taken = sent(method, path, headers, **how)
        assert [one.why.strip() for one in taken if isinstance(one, NoteAct)] == ([why] if taken else [])
    for bad in (b"x" * 257, b"a\tb"):
        assert code(FRONT.ask(*ban, headers=ROOT | {"X-Reason": bad}, json={"reason": "x"})) == (422, "reason_invalid")


ROWS = [
    (GrantBody, {"account": "bob/coins", "coins": 5, "ref": "Bob asked"}, ("bob",), {"account": "bob/coins", "coins": 5}),
    (TransferBody, {"payer": "bob/coins", "payee": "@shop", "coins": 5}, ("bob",), {"payee": "@shop"}),
    (TransferBody, {"payer": "bob/coins", "payee": "+4915112345678/coins", "coins": 5}, ("bob",), {"coins": 5}),
    (None, {"user": "bob"}, (), {}),
]


@pytest.mark.parametrize(("model", "body", "subjects", "kept"), ROWS)
def test_what_is_kept_of_a_body_are_its_numbers_and_ids(model: Any, body: Any, subjects: Any, kept: Any) -> None:
    asked = Asked({}, {}, json.dumps(body).encode(), model)
    assert asked.subjects == subjects
    found = json.loads(asked.text)["body"]
    assert kept.items() <= found.items()
    assert all(found[name] == value or str(found[name]).startswith("sha256:") for name, value in body.items() if name in found)
    assert "4915112345678" not in asked.text
    assert "asked" not in asked.text


@given(st.dictionaries(st.sampled_from(sorted(PrivateProfileBody.model_fields)) | WRITTEN, WRITTEN, max_size=4))
def test_no_word_of_anybodys_is_kept(body: dict[str, str]) -> None:
    """Law: nothing that somebody wrote stands in the audit, whatever field it came in; what is kept is JSON."""
    text = Asked({}, {}, json.dumps(body).encode(), PrivateProfileBody).text
    assert json.loads(text).keys() <= {"body", "bytes", "sha256"}
    written = [value for value in json.loads(text).get("body", {}).values() if value]
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in written)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 50_000, b'{"a":' + b"9" * 400 + b"}", b'{"a":NaN}', b"x" * 9_000, b"\xff"])
def test_any_bytes_can_be_kept(body: bytes) -> None:
    text = Asked({"user": "a@b", "x": "Sue Smith"}, {"x": "a b", "reason": "secret"}, body, GrantBody).text
    assert len(text) <= 2_000
    assert "NaN" not in text
    assert "Smith" not in text
    assert "secret" not in text


def test_every_route_of_staff_is_in_the_audit_and_a_person_sees_what_was_done(stack: Stack, new_user: NewUser) -> None:
    """On the platform: of each operation an act with its outcome comes back, newest first, page by page."""
    bob, walker = new_user(), Api(stack, f"walker-{uuid.uuid4().hex[:8]}", "admin")
    for _, method, path in STAFFS:
        about = path.replace("bob", bob.user)
        if method != "DELETE" or "/users/" not in path:
            with walker.stream(method, about, headers={"Idempotency-Key": "k", "X-Reason": "a walk"}):
                pass
    assert walker.put(f"/v1/admin/bans/{bob.user}", json={"reason": "rude"}).status_code == 204
    who = {"who": walker.user, "limit": "20"}

    def outcomes(found: list[dict[str, Any]]) -> set[tuple[str, int]]:
        return {(one["operation"], one["status"]) for one in found}

    def acts() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = []
        before: dict[str, str] = {}
        while True:
            page = walker.get("/v1/admin/audit", params=who | before).json()
            found += page["acts"]
            if page["next_before"] is None:
                break
            before = {"before": page["next_before"]}
        named = {one["operation"] for one in found if one["answered"]}
        # The ban is the last act, behind one that the walk has asked for in vain.
        whole = named >= {name for name, _, path in STAFFS} - {"eraseUser"} and ("banUser", 204) in outcomes(found)
        return found if whole else None

    found = eventually(acts)
    assert [one["acted_at"] for one in found] == sorted((one["acted_at"] for one in found), reverse=True)
    assert len({one["act"] for one in found}) == len(found)
    ban = next(one for one in found if one["operation"] == "banUser" and one["status"] == 204)
    assert (ban["subjects"], ban["why"], ban["permission"], ban["roles"]) == ([bob.user], "rude", "people.change", ["admin"])
    assert len(ban["commands"]) == 1
    own = eventually(lambda: [one for one in bob.get("/v1/audit").json()["acts"] if ("banUser", 204) in outcomes([one])])
    assert (own[0]["roles"], walker.user in json.dumps(own)) == (["admin"], False)
    of_bob = walker.get("/v1/admin/audit", params={"subject": bob.user}).json()["acts"]
    assert {tuple(one["subjects"]) for one in of_bob} == {(bob.user,)}
