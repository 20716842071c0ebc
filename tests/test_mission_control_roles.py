"""Roles: each refusal by name, the laws of the book, and that its word counts at once, whatever a token claims."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import product

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mission_control_roles import decide_staff
from schemas.chat_report import CHAT_REPORT, ChatReport, ReportReason
from schemas.log.base import UserId, Wake
from schemas.log.templates import sendable
from schemas.mission_control import STAFF_ACT
from schemas.mission_control_roles import (
    BOOK,
    GIVEN,
    MAX_STAFF,
    MEANING,
    PERMISSIONS,
    STAFF,
    GiveRole,
    Permission,
    RoleRefusal,
    RoleRefused,
    RolesChanged,
    RoleUnchanged,
    StaffBook,
    TakeRole,
)
from schemas.user import USER, Role, User, UserErased
from tests.conftest import Api, NewUser, Stack, eventually
from tests.decisions import decisions_of
from tests.front import AT, Front, bearer, code
from tests.long_lists import long_lists
from tests.people import ANN, BOB, EVE, SUE

decide = decisions_of(decide_staff)
T = datetime(2030, 1, 1, tzinfo=UTC)
ADMIN, SUPPORT, FINANCE, AUDITOR = Role.ADMIN, Role.SUPPORT, Role.FINANCE, Role.AUDITOR


def give(user: str, role: Role, by: str, *claimed: Role) -> GiveRole:
    return GiveRole(id="g", at=T, book=BOOK, user=UserId(user), role=role, by=UserId(by), claimed=claimed, why="because")


def take(user: str, role: Role, by: str, *claimed: Role) -> TakeRole:
    return TakeRole(id="t", at=T, book=BOOK, user=UserId(user), role=role, by=UserId(by), claimed=claimed, why="because")


KNOWN: dict[str, tuple[Role, ...]] = {ANN: (ADMIN,), BOB: (SUPPORT,), SUE: ()}
FULL: dict[str, tuple[Role, ...]] = {**{f"u{number}": (SUPPORT,) for number in range(MAX_STAFF - 1)}, ANN: (ADMIN,)}
REFUSED = [
    (KNOWN, give(BOB, Role.STREAMER, ANN), RoleRefusal.ROLE_NOT_GIVEN),
    (KNOWN, take(BOB, Role.USER, EVE), RoleRefusal.ROLE_NOT_GIVEN),
    (KNOWN, give(EVE, SUPPORT, BOB), RoleRefusal.NOT_PERMITTED),
    (KNOWN, give(EVE, SUPPORT, BOB, ADMIN), RoleRefusal.NOT_PERMITTED),
    (KNOWN, give(EVE, SUPPORT, SUE, ADMIN), RoleRefusal.NOT_PERMITTED),
    (KNOWN, take(ANN, ADMIN, EVE), RoleRefusal.NOT_PERMITTED),
    (KNOWN, take(BOB, SUPPORT, BOB), RoleRefusal.NOT_PERMITTED),
    (KNOWN, give(ANN, FINANCE, ANN), RoleRefusal.OWN_ROLE),
    (FULL, give(EVE, SUPPORT, ANN), RoleRefusal.STAFF_FULL),
    (KNOWN, take(ANN, ADMIN, ANN), RoleRefusal.LAST_ADMIN),
    ({}, take(ANN, ADMIN, ANN, ADMIN), RoleRefusal.LAST_ADMIN),
]


@pytest.mark.parametrize(("people", "message", "refusal"), REFUSED)
def test_each_refusal_by_name(people: dict[str, tuple[Role, ...]], message: GiveRole | TakeRole, refusal: RoleRefusal) -> None:
    book = StaffBook(people, 1)
    after, (fact,) = decide(book, message)
    assert (after, fact.refusal) == (book, refusal)


def test_nobody_gives_what_they_may_not_do_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """No role but admin gives roles today; one that would does not give more than it may."""
    more = {**PERMISSIONS, SUPPORT: PERMISSIONS[SUPPORT] | {Permission.ROLES_CHANGE}}
    for module in ("pipelines.mission_control_roles", "schemas.mission_control_roles"):
        monkeypatch.setattr(f"{module}.PERMISSIONS", more)
    for role in (ADMIN, FINANCE, AUDITOR):
        _, (fact,) = decide(StaffBook(KNOWN, 1), give(EVE, role, BOB))
        assert fact.refusal is RoleRefusal.ROLE_ABOVE_OWN
    assert isinstance(decide(StaffBook(KNOWN, 1), give(EVE, SUPPORT, BOB))[1][0], RolesChanged)


def test_the_first_word_is_of_both_and_is_final() -> None:
    book, (ann, root) = decide(None, give(ANN, SUPPORT, EVE, ADMIN, Role.USER))
    assert (ann.user, ann.roles, ann.role, ann.given, ann.by, ann.version) == (ANN, (SUPPORT,), SUPPORT, True, EVE, 1)
    assert (root.user, root.roles, root.role, root.by, root.version) == (EVE, (ADMIN,), None, "", 2)
    assert book.people == {EVE: (ADMIN,), ANN: (SUPPORT,)}
    book, (taken,) = decide(book, take(BOB, ADMIN, EVE))
    assert (taken.user, taken.roles, taken.given, book.people[BOB]) == (BOB, (), False, ())
    assert isinstance(decide(book, give(ANN, SUPPORT, EVE))[1][0], RoleUnchanged)
    assert decide(book, Wake(id="w", at=T, key=BOOK)) == (book, ())
    gone, told = decide(book, UserErased(id="e", at=T, cause="x", user=EVE))
    assert (gone.people, told) == ({ANN: (SUPPORT,), BOB: ()}, ())
    assert decide(None, UserErased(id="e", at=T, cause="x", user=EVE)) == (None, ())


def test_of_two_admins_who_take_each_other_one_stays() -> None:
    book = StaffBook({ANN: (ADMIN,), BOB: (ADMIN,)}, 1)
    book, _ = decide(book, take(BOB, ADMIN, ANN))
    book, (fact,) = decide(book, take(ANN, ADMIN, BOB, ADMIN))
    assert fact.refusal is RoleRefusal.NOT_PERMITTED
    assert book.people == {ANN: (ADMIN,), BOB: ()}


PEOPLE = st.sampled_from((ANN, BOB, EVE, SUE))
ROLES = st.sampled_from(Role)
CLAIMS = st.sampled_from(((), (ADMIN,), (SUPPORT,), (Role.STREAMER,)))
CHANGES = st.tuples(st.booleans(), PEOPLE, ROLES, PEOPLE, CLAIMS)


@given(long_lists(CHANGES, 25))
def test_the_laws_of_the_book(changes: list[tuple[bool, UserId, Role, UserId, tuple[Role, ...]]]) -> None:
    """There is an admin once there was one; nobody's roles grow by themselves; the facts, in order, are the book."""
    book, told = StaffBook(), dict[str, tuple[Role, ...]]()
    for gives, user, role, by, claimed in changes:
        message = give(user, role, by, *claimed) if gives else take(user, role, by, *claimed)
        before = book
        book, facts = decide(before, message)
        for fact in facts:
            if isinstance(fact, RolesChanged):
                told[fact.user] = fact.roles
        assert told == book.people
        assert (book == before) == all(isinstance(fact, RoleRefused | RoleUnchanged) for fact in facts)
        assert book.people.keys() >= before.people.keys()
        had = before.people.get(user, ())
        if user == by:
            assert set(book.people.get(user, ())) <= {*had, *(claimed if user not in before.people else ())}
        if book != before:
            may = before.people.get(by, claimed)
            assert ADMIN in may
            assert any(ADMIN in roles for roles in book.people.values())
        assert all(GIVEN.issuperset(roles) for roles in book.people.values())


def test_permissions_are_said_and_an_auditor_sees_all_and_changes_nothing() -> None:
    assert MEANING.keys() == set(Permission)
    assert PERMISSIONS.keys() == set(Role)
    assert PERMISSIONS[AUDITOR] == {one for one in Permission if one.looks}
    for role in (SUPPORT, FINANCE):
        assert {one for one in PERMISSIONS[role] if one.looks} <= PERMISSIONS[AUDITOR]
        assert PERMISSIONS[role] < PERMISSIONS[ADMIN]


def test_the_logs_word_counts_and_only_without_it_the_tokens() -> None:
    front = Front()
    front.app.state.views.of(USER)["left"] = User(ADMIN, AT)
    front.app.state.views.of(STAFF)[BOOK] = StaffBook({"left": (), "new": (AUDITOR,), "both": (SUPPORT, FINANCE)}, 3)

    def asks(user: str, claim: str, method: str, path: str) -> tuple[int, str]:
        return code(front.ask(method, path, headers=bearer(user, claim) | {"X-Reason": "because"}))

    assert asks("left", "admin", "GET", "/v1/admin/roles") == (403, "forbidden")
    assert asks("root", "admin", "GET", "/v1/admin/roles") == (200, "")
    assert asks("new", "user", "GET", "/v1/admin/roles") == (200, "")
    assert asks("new", "admin", "DELETE", "/v1/admin/bans/bob") == (403, "forbidden")
    assert asks("both", "user", "DELETE", "/v1/admin/bans/bob") == (503, "not_decided")
    for user, claim, roles, final in (
        ("both", "streamer", ["streamer", "support", "finance"], True),
        ("bob", "user", ["user"], False),
    ):
        own = front.ask("GET", "/v1/users/me/roles", headers=bearer(user, claim)).json()
        assert (own["roles"], own["final"], bool(own["permissions"])) == (roles, final, final)


def test_nobody_shuts_out_who_may_do_more() -> None:
    front = Front()
    views = front.app.state.views
    views.of(STAFF)[BOOK] = StaffBook({"fin": (FINANCE,), "boss": (ADMIN,), "left": ()}, 3)
    views.of(USER)["left"] = User(ADMIN, AT)
    for user, expected in (
        ("boss", (403, "role_above_own")), ("root", (403, "role_above_own")), ("fin", (403, "role_above_own")),
        ("left", (503, "not_decided")), ("bob", (503, "not_decided")),
    ):  # fmt: skip
        views.of(CHAT_REPORT)["r"] = ChatReport(BOB, UserId(user), ReportReason.SPAM, AT, "r", seqs=(1,), left=0)
        help_ = bearer("help", "support")
        ban = front.ask("PUT", f"/v1/admin/bans/{user}", headers=help_, json={"reason": "rude"})
        decided = {"reason": "rude", "outcome": "banned"}
        review = front.ask("POST", "/v1/admin/chats/reports/r/review", headers=help_, json=decided)
        assert [code(ban), code(review)] == [expected] * 2, user


def test_no_job_gives_roles_or_writes_what_staff_did() -> None:
    assert not {command.__name__ for entity in (STAFF, STAFF_ACT) for command in entity.commands} & sendable().keys()


def test_a_reason_is_asked_for() -> None:
    front = Front()
    answer = front.ask("PUT", "/v1/admin/people/ann/roles/support", headers=bearer("root", "admin"))
    assert code(answer) == (422, "reason_missing")
    assert front.commands.asked == []


def test_a_role_counts_at_once_and_one_of_two_admins_stays(stack: Stack, new_user: NewUser) -> None:
    """On the platform: the log makes staff of somebody, and nobody of staff, whatever tokens claim; races are decided."""
    name, why = uuid.uuid4().hex[:8], {"X-Reason": "a test"}
    root, other = (Api(stack, f"{side}-{name}", "admin") for side in ("root", "other"))
    helper, bob = new_user(), new_user()

    def role(by: Api, method: str, who: Api, role: str) -> str:
        answer = by.request(method, f"/v1/admin/people/{who.user}/roles/{role}", headers=why)
        return "" if answer.status_code == 204 else str(answer.json()["code"])

    assert helper.get("/v1/admin/roles").json()["code"] == "forbidden"
    assert role(root, "PUT", helper, "support") == ""
    assert helper.put(f"/v1/admin/bans/{bob.user}", json={"reason": "rude"}).status_code == 204
    assert helper.get("/v1/admin/roles").json()["code"] == "forbidden"
    assert role(helper, "PUT", bob, "support") == "forbidden"
    assert role(root, "PUT", root, "finance") == "own_role"
    assert role(root, "PUT", helper, "streamer") == "role_not_given"
    assert role(root, "DELETE", helper, "support") == ""
    assert helper.delete(f"/v1/admin/bans/{bob.user}").json()["code"] == "forbidden"
    assert role(root, "PUT", other, "admin") == ""
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda pair: role(pair[0], "DELETE", pair[1], "admin"), [(root, other), (other, root)]))
    assert answers.count("") == 1
    assert {*answers} <= {"", "forbidden", "not_permitted"}
    stays = root if answers[0] == "" else other
    people = {one["user"]: one["roles"] for one in stays.get("/v1/admin/roles").json()["people"]}
    assert (people[root.user], people[other.user]).count(["admin"]) == 1
    assert people[helper.user] == []
    rows = eventually(lambda: list(helper.get("/v1/users/me/export").json()["tables"]["role_changes"]))
    assert {(row["role"], row["given"]) for row in rows} <= {("support", True), ("support", False)}


def test_every_role_is_let_in_by_its_permissions_at_every_route(stack: Stack, new_user: NewUser) -> None:
    """On the platform, for each role and each operation of the document that it has: let in, or 403. Roles of staff are given
    by the log, to people whose tokens claim none. The requests have no bodies and are about nobody: they do nothing."""
    operations = [
        (method, re.sub(r"\{\w+\}", "nobody", path), Permission(operation["x-permission"]))
        for path, methods in httpx.get(f"{stack.http}/openapi.json").json()["paths"].items()
        for method, operation in methods.items()
        if "x-permission" in operation
    ]
    assert {permission for *_, permission in operations} == set(Permission)
    root, people = Api(stack, f"root-{uuid.uuid4().hex[:8]}", "admin"), {role: new_user() for role in Role}
    people[Role.STREAMER] = new_user("streamer")
    for role in GIVEN:
        path = f"/v1/admin/people/{people[role].user}/roles/{role}"
        assert root.put(path, headers={"X-Reason": "a matrix"}).status_code == 204

    def asked(row: tuple[Role, tuple[str, str, Permission]]) -> str:
        role, (method, path, permission) = row
        with people[role].stream(method, path, headers={"Idempotency-Key": "k"}) as answer:
            told = answer.read().decode() if answer.status_code == 403 else ""
        denied = '"forbidden"' in told
        return "" if denied == (permission not in PERMISSIONS[role]) else f"{role} {method} {path}: {answer.status_code} {told}"

    with ThreadPoolExecutor(8) as threads:
        assert not [wrong for wrong in threads.map(asked, product(Role, operations)) if wrong]
