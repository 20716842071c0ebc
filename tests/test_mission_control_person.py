"""A person's page: what the facts say of people, written down a second time; who may see what; and over HTTP."""

import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pytest

from schemas.log.topics import ENTITIES
from schemas.mission_control_roles import PERMISSIONS, Permission
from schemas.tables import PROJECTIONS
from schemas.user import Role
from serving.mission_control_person import TAKES, MomentKind
from tests.conftest import Api, NewUser, Stack, eventually
from tests.golden import golden_lines
from tests.tables import Tables

MOMENTS: Final = next(one for one in PROJECTIONS if one.table == "person_moments")
TOPIC_OF: Final = {fact.__name__: entity.events for entity in ENTITIES for fact in entity.facts}
# The fields by which a fact is somebody's.
WHOSE: Final = {"user", "caller", "sender", "account", "subjects"}
# Facts about people, of entities of which a page tells, of which it does not: answers, refusals of orders, steps on the way.
UNTOLD: Final = {
    "AccountRefused", "LotsRead", "TrackingPut", "PostbackForgone", "BlockRefused", "CallRinging", "CallConnected",
    "RoomOpened", "MessageBarred", "EditAdmitted", "ChatRead", "ChatMuted", "ItemHidden", "ChatHidden", "ChatRefused",
    "FavoriteRefused", "FavoriteAnswered", "GiftRepeated", "TagRefused", "NoticeRepeated", "PushHeld",
    "NotificationPreferencesPut", "NotificationRefused", "DestinationRefused", "EarningsDrawn", "PayoutRepeated",
    "PrivateProfileRefused", "ProfileRefused", "PurchaseRepeated", "ReviewRefused", "RoleUnchanged", "RoleRefused",
    "StaffActed", "SignUpRepeated", "MembershipRefused", "PriceClassRefused", "UserRefused", "PresenceTold",
    "ErasureRepeated", "DestinationGone",
}  # fmt: skip
THINGS: Final = (
    "operation", "ref", "hold", "call", "gift", "purchase", "payout", "cohort", "tag", "campaign", "notification", "occurrence",
    "report", "session", "device", "case", "price_class",
)  # fmt: skip
NOTES: Final = (
    "refusal", "code", "outcome", "reason", "no_push", "withdrawal", "end", "step", "why", "status", "conversion", "item",
    "product", "role", "kind", "platform", "country",
)  # fmt: skip
Row = dict[str, Any]


def first(fact: Row, names: tuple[str, ...]) -> str:
    """The first of these that says something."""
    return next((str(fact[name]) for name in names if isinstance(fact.get(name), str | int) and fact[name]), "")


def moments(fact: Row, kind: str) -> Iterator[Row]:
    """What a fact says of people."""
    owner, _, book = fact.get("account", "").partition("/")
    one = owner or first(fact, ("user", "caller", "sender"))
    other = first(fact, ("counterparty", "peer", "callee", "receiver", "agency", "by", "reviewer"))
    people = [(one, other, True)]
    if kind == "staff_act":
        people = [(subject, fact["staff"], False) for subject in fact.get("subjects", ())]
    elif other and kind in ("blocks", "call", "chat", "chat_report", "gift", "membership"):
        people.append((other, one, False))
    for user, peer, acted in people:
        coins = fact.get("coins", 0)
        if kind == "gift":
            coins = -fact.get("price_coins", 0) if acted else fact.get("share_coins", 0)
        yield {
            "user": user, "kind": kind, "type": fact["type"], "acted": acted, "peer": peer, "coins": coins, "book": book,
            "balance_coins": fact.get("balance_coins", 0), "thing": first(fact, THINGS), "note": first(fact, NOTES),
        }  # fmt: skip


def told(fact: Row) -> bool:
    """Whether a person's page tells of it; of a chat's items, messages: calls and gifts tell of themselves."""
    return bool(WHOSE & fact.keys()) and fact["type"] not in UNTOLD and not (fact["type"] == "ItemPosted" and "kind" in fact)


def test_what_the_facts_say_of_people(tables: Tables) -> None:
    """Each golden fact of these entities, in the table and written down here."""
    base = tables.database("persons")
    facts = [fact for fact in map(json.loads, golden_lines()) if TOPIC_OF.get(fact["type"]) in MOMENTS.topics]
    lines = [
        json.dumps({"topic": TOPIC_OF[fact["type"]], "partition": 3, "offset": n, "key": "", "value": json.dumps(fact)})
        for n, fact in enumerate(facts)
    ]
    base.run("INSERT INTO log (topic, partition, offset, key, value)", "\n".join(lines).encode())
    base.run(MOMENTS.insert())
    names = ("user", "kind", "type", "acted", "peer", "coins", "book", "balance_coins", "thing", "note", "offset")
    found = [dict(zip(names, row, strict=True)) for row in base.run(f"SELECT {', '.join(names)} FROM person_moments FINAL")]
    due = [
        moment | {"offset": n}
        for n, fact in enumerate(facts)
        if told(fact)
        for moment in moments(fact, TOPIC_OF[fact["type"]].removesuffix(".events"))
    ]
    plain = [{name: value if isinstance(value, str) else int(value) for name, value in row.items()} for row in found]

    def key(row: Row) -> tuple[int, str, bool]:
        return int(row["offset"]), row["user"], row["acted"]

    assert sorted(plain, key=key) == sorted(due, key=key)
    assert {row["type"] for row in due} >= {"EntryRecorded", "CallEnded", "GiftSent", "StaffAnswered", "PurchaseRefunded"}
    assert all(row["user"] for row in due)


def test_a_page_tells_of_every_fact_or_says_that_it_does_not() -> None:
    facts = [fact for entity in ENTITIES if entity.events in MOMENTS.topics for fact in entity.facts]
    said = {fact.__name__ for fact in facts if WHOSE & set(fact.__struct_fields__)}
    named = {name for name in said if f"'{name}'" in MOMENTS.select}
    assert said - named == UNTOLD
    assert {f"{kind}.events" for kind in MomentKind} == set(MOMENTS.topics)


@pytest.mark.parametrize("role", [role for role in Role if Permission.PEOPLE_LOOK in PERMISSIONS.get(role, ())])
def test_a_kind_is_shown_to_whoever_may_see_it_elsewhere(role: Role) -> None:
    hidden = {kind for kind, takes in TAKES.items() if takes not in PERMISSIONS[role]}
    assert hidden == ({MomentKind.STAFF, MomentKind.STAFF_ACT} if role is Role.SUPPORT else set())


def test_a_person_over_http(stack: Stack, new_user: NewUser) -> None:
    """Money, a block, a ban and what staff did, newest first, page by page; support does not see the audit."""
    bob, ann, root = new_user(), new_user(), Api(stack, f"root-{uuid.uuid4().hex[:8]}", "admin")
    path = f"/v1/admin/people/{bob.user}"
    assert root.place("/v1/admin/grants", account=f"{bob.user}/coins", coins=42, ref="Bob asked").status_code == 201
    assert ann.put(f"/v1/blocks/{bob.user}", json={"reason": "spam"}).status_code == 200
    assert root.put(f"/v1/admin/bans/{bob.user}", json={"reason": "rude"}).status_code == 204
    due = {"UserSignedUp", "EntryRecorded", "UserBlocked", "UserBanned", "StaffAnswered"}

    def seen() -> Row | None:
        page: Row = root.get(path).json()
        return page if {one["type"] for one in page["moments"]} >= due else None

    page = eventually(seen)
    assert (page["banned"], page["banned_until"], page["online"], page["hidden"]) == (True, None, False, [])
    assert [one["balance_coins"] for one in page["holdings"]] == [42, 0]
    assert page["moments"] == sorted(page["moments"], key=lambda one: one["at"], reverse=True)
    block = next(one for one in page["moments"] if one["type"] == "UserBlocked")
    assert (block["acted"], block["peer"], block["note"]) == (False, ann.user, "spam")
    grant = next(one for one in page["moments"] if one["type"] == "EntryRecorded" and one["coins"] == 42)
    assert (grant["book"], grant["balance_coins"], grant["thing"]) == ("coins", 42, "Bob asked")
    older = root.get(path, params={"before": grant["at"], "limit": "1"}).json()
    assert len(older["moments"]) >= 1
    assert older["moments"][0]["at"] < grant["at"]
    assert older["next_before"] == older["moments"][-1]["at"]
    only = root.get(path, params={"kind": ["blocks", "user"]}).json()
    assert {one["kind"] for one in only["moments"]} == {"blocks", "user"}
    support = Api(stack, f"sue-{uuid.uuid4().hex[:8]}", "support").get(path).json()
    assert set(support["hidden"]) == {"staff", "staff_act"}
    assert "StaffAnswered" not in {one["type"] for one in support["moments"]}
    assert root.get(f"/v1/admin/people/nobody-{uuid.uuid4()}").json()["code"] == "user_unknown"
    assert root.get(path, params={"kind": "weather"}).status_code == 422
