"""The gate: every route says who is let in, and who is banned or a stranger is let in to what is theirs only."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from pipelines.runtime.lane import _usual_ways
from schemas.billing import BILL, BillStepped
from schemas.billing_rules import CallKind
from schemas.log.codec import decoder_of, encode
from schemas.log.entity import without
from schemas.log.topics import SUBSCRIPTIONS
from schemas.user import USER, BanState, Role, User
from schemas.video import CALL, Call, CallStatus
from serving.erasure import REFUSED as ERASED
from serving.parts import parts
from serving.runtime import auth, gate
from serving.runtime.auth import Caller
from serving.runtime.problems import Problem
from serving.runtime.refusals import RefusalTables
from serving.runtime.staff import May
from serving.user import REFUSED
from tests.conftest import Api, NewUser, Phones, Stack, eventually
from tests.front import Front, bearer
from tests.golden import golden_lines
from tests.people import BOB, SUE

GOLDEN: Final = golden_lines()
GATES: Final = {
    gate.acting: "acting", gate.acting_streamer: "streamer", gate.acting_payee: "payee", gate.acting_agency: "agency",
    gate.looking: "looking", auth._caller: "own",
}  # fmt: skip
RANK: Final = ("streamer", "payee", "agency", "acting", "staff", "looking", "own")
# What a banned person, or a stranger, may do all the same: read what is theirs. (The feed, too, which is no route.)
OWN: Final = {
    "GET /v1/audit",
    "GET /v1/balance", "GET /v1/balance/entries", "GET /v1/balance/lots",
    "GET /v1/blocks", "GET /v1/calls/{call}", "GET /v1/calls/{call}/receipt",
    "GET /v1/chats", "GET /v1/chats/{user}", "GET /v1/chats/{user}/messages/{message}",
    "GET /v1/favorites", "GET /v1/followers", "GET /v1/followers/users", "GET /v1/gifts/{gift}",
    "GET /v1/notifications", "GET /v1/users/me/notification-preferences",
    "GET /v1/profile/private", "GET /v1/transfers/{transfer}", "GET /v1/users/me", "GET /v1/users/me/export",
    "GET /v1/users/me/agency",
    "GET /v1/users/me/roles", "GET /v1/payouts", "GET /v1/payouts/{payout}", "GET /v1/payouts/destination",
    "GET /v1/price-class", "GET /v1/spending-cap", "GET /v1/subscriptions",
}  # fmt: skip
OTHERS: Final = {
    "POST /v1/users": "a stranger signs up; who is banned has signed up before, and is told so",
    "DELETE /v1/users/me": "to be forgotten is a banned person's right, too",
    "PUT /v1/tracking": "consent is its person's to give and to take back, whatever else they may not do",
}
PUBLIC: Final = {
    "GET /v1/settings": "an app asks before anybody has signed in",
    "POST /v1/webhooks/appsflyer": "the sender is known by a secret of its own",
    "POST /v1/webhooks/agora": "likewise",
    "POST /v1/webhooks/twilio": "likewise",
    "POST /v1/webhooks/hasura": "the sender is known by a secret of its own",
    "POST /v1/webhooks/apphud": "likewise",
    "POST /v1/webhooks/payouts": "what the payouts' provider has signed is known by its signature",
    "POST /v1/webhooks/google": "what Google has signed is known by its signature",
    "POST /v1/webhooks/apple": "what Apple has signed is known by its signature",
}
STREAMERS: Final = {
    "PUT /v1/clips/{clip}", "PUT /v1/price-class", "DELETE /v1/users/me/agency",
    "POST /v1/users/me/agency/invitations/{agency}/accept", "POST /v1/users/me/agency/invitations/{agency}/decline",
}  # fmt: skip
PAYEES: Final = {"PUT /v1/payouts/destination", "PUT /v1/payouts/automatic", "POST /v1/payouts"}
AGENCIES: Final = {
    "GET /v1/agency", "GET /v1/agency/people", "DELETE /v1/agency/people/{user}", "GET /v1/agency/statements/{month}",
    "POST /v1/agency/invitations", "DELETE /v1/agency/invitations/{user}",
}  # fmt: skip
LOOKING: Final = {
    "GET /v1/clips", "GET /v1/gallery", "GET /v1/gallery/stream", "GET /v1/gifts",
    "GET /v1/payouts/terms", "GET /v1/products", "GET /v1/profiles/{user}",
}  # fmt: skip


def calls(dependant: Dependant) -> Iterator[Callable[..., Any] | None]:
    for one in dependant.dependencies:
        yield one.call
        yield from calls(one)


def let_in() -> dict[str, str]:
    """Whom each route lets in: the strictest of its gates."""
    found = {}
    for part in parts():
        for route in cast(list[APIRoute], part.router.routes):
            names = {"staff" if isinstance(call, May) else GATES.get(cast(Any, call)) for call in calls(route.dependant)}
            (method,) = route.methods or ("",)
            found[f"{method} {route.path}"] = next((name for name in RANK if name in names), "public")
    return found


def test_every_route_says_who_is_let_in() -> None:
    found = let_in()
    assert {route for route, name in found.items() if name == "public"} == PUBLIC.keys()
    assert {route for route, name in found.items() if name == "own"} == OWN | OTHERS.keys()
    assert {route for route, name in found.items() if name == "looking"} == LOOKING
    assert {route for route, name in found.items() if name == "streamer"} == STREAMERS
    assert {route for route, name in found.items() if name == "payee"} == PAYEES
    assert {route for route, name in found.items() if name == "agency"} == AGENCIES
    staff = {route for route in found if "/admin/" in route}
    assert {route for route, name in found.items() if name == "staff"} == staff, "a route of staff's takes a permission"


def test_what_phones_must_not_see_of_a_fact_is_hidden_and_all_else_is_shown() -> None:
    """Law: of every fact that is shown, exactly the declared fields have their defaults; the fact itself keeps them."""
    hidden = set()
    for subscription in SUBSCRIPTIONS:
        for line in GOLDEN:
            if subscription.hides and json.loads(line)["type"] == subscription.fact.__name__:
                fact = decoder_of((subscription.fact,))(line.encode())
                if not subscription.key(fact):
                    continue
                shown = json.loads(encode(without(fact, subscription.hides)))
                assert shown == {name: value for name, value in json.loads(line).items() if name not in subscription.hides}
                assert json.loads(encode(fact)) == json.loads(line)
                hidden |= {(subscription.fact.__name__, name) for name in json.loads(line).keys() - shown.keys()}
    ended = {("CallEnded", "reason"), ("CallEnded", "by")}
    erased = {("UserErased", "by"), ("UserErased", "reason")}
    chat = {("ItemPosted", "share_coins"), ("ItemPosted", "price_coins"), ("ChatRead", "unread")}
    told = {("UserBanned", "by"), ("ConsequenceDrawn", "by"), ("BillStepped", "seconds_left")}
    told |= {
        ("Notified", "due_at"),
        ("Notified", "no_push"),
        ("Notified", "by"),
        ("ItemPosted", "quiet"),
        ("ItemPosted", "muted"),
        ("MembershipStepped", "by"),
        ("MembershipStepped", "ref"),
        ("PayoutStepped", "by"),
        ("PayoutStepped", "ref"),
        ("PayoutStepped", "seen"),
    }
    assert hidden == told | ended | chat | erased | {("UserWarned", "report")}


def test_the_host_hides_on_feeds_only() -> None:
    """A bill's step: the payer's feed and the events topic have the seconds, the earner's feed has not."""
    ways = _usual_ways(BILL)[BillStepped]
    assert ways[0] == "bill.events"
    assert [(topic, hides) for topic, _, _, hides in ways[1]] == [("feed", ()), ("feed", ("seconds_left",))]


BANNED = BanState("rude", "root", datetime(2030, 1, 1, tzinfo=UTC))
SIGNED_UP: dict[str, User | None] = {
    "stranger": None,
    "user": User(Role.USER, BANNED.at),
    "streamer": User(Role.STREAMER, BANNED.at),
    "banned": User(Role.STREAMER, BANNED.at, ban=BANNED),
    "erased": User(Role.USER, BANNED.at, erased_at=BANNED.at),
    "of a case": User(Role.STREAMER, BANNED.at, case_bans={"spam-1": BANNED}),
}
ROWS = [
    # who by the sign-up, the token's role; looking, acting, acting as a streamer (None: let in)
    ("stranger", Role.STREAMER, None, "user_unknown", "user_unknown"),
    ("stranger", Role.ADMIN, None, "user_unknown", "user_unknown"),
    ("user", Role.USER, None, None, "forbidden"),
    ("user", Role.STREAMER, None, None, "forbidden"),
    ("streamer", Role.STREAMER, None, None, None),
    ("streamer", Role.USER, None, None, "forbidden"),
    ("banned", Role.STREAMER, "banned", "banned", "banned"),
    ("of a case", Role.STREAMER, "banned", "banned", "banned"),
    ("erased", Role.STREAMER, "user_erased", "user_erased", "user_erased"),
    ("banned", Role.ADMIN, "banned", "banned", "banned"),
]


BANNED_FRONT: Final = Front()
for role in Role:
    BANNED_FRONT.app.state.views.of(USER)[f"bad-{role}"] = User(role, BANNED.at, ban=BANNED)
BANNED_FRONT.app.state.views.of(CALL)["c1"] = Call(
    status=CallStatus.ENDED, caller=BOB, callee=SUE, kind=CallKind.DIRECT, placed_by="m", placed_at=BANNED.at
)


@pytest.mark.parametrize("role", Role)
def test_who_is_banned_reads_what_is_theirs_whatever_their_role(role: Role) -> None:
    """Each route as a banned user of each role asks for what is bob's: 403, or, of what is theirs, nothing that is his."""
    for route in sorted(let_in().keys() - PUBLIC.keys() - OTHERS.keys()):
        method, path = route.split()
        path = path.replace("{call}", "c1").replace("{role}", "user").replace("{user}", "bob")
        path = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
        sent = len(BANNED_FRONT.commands.taken)
        of_bob = {"user": "bob"} if path in ("/v1/balance", "/v1/balance/entries", "/v1/balance/lots") else {}
        headers = bearer(f"bad-{role}", role) | {"Idempotency-Key": "k"}
        answer = BANNED_FRONT.ask(method, path, params=of_bob | {"reason": "x"}, headers=headers)
        assert len(BANNED_FRONT.commands.taken) == sent, route
        if route not in OWN:
            assert answer.status_code == 403, (route, answer.text)
            assert answer.json()["code"] == "banned" or role is not Role.ADMIN, route
        elif of_bob or "{" in route:
            assert answer.status_code in (403, 404), (route, answer.text)


class _Views:
    ready = True

    def of(self, _: Any) -> dict[str, User]:
        return {name: user for name, user in SIGNED_UP.items() if user is not None}


def code_of(step: Callable[..., Any], caller: Caller, request: Any) -> str | None:
    try:
        assert asyncio.run(step(caller, request)) is caller
    except Problem as problem:
        return problem.code
    return None


@pytest.mark.parametrize(("who", "role", "looks", "acts", "streams"), ROWS)
def test_who_passes_which_gate(who: str, role: Role, looks: str | None, acts: str | None, streams: str | None) -> None:
    tables = RefusalTables([REFUSED, ERASED])
    request = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(views=_Views(), refusals=tables)))
    caller = Caller(user=who, role=role, expires_at=0)

    def through(*steps: Callable[..., Any]) -> str | None:
        return next((code for step in steps if (code := code_of(step, caller, request))), None)

    assert through(gate.looking) == looks
    assert through(gate.looking, gate.acting) == acts
    assert through(gate.looking, gate.acting, gate.acting_streamer) == streams
    assert gate.takes_part(cast(Any, _Views()), who) is (acts is None)


def test_who_is_banned_gives_and_offers_nothing_and_reads_what_is_theirs(
    phones: Phones, admin: Api, new_user: NewUser, stack: Stack
) -> None:
    bob, sue = phones(coins=100)
    ann, clip = new_user(), f"clip-{sue.user}"
    assert admin.put("/v1/admin/gifts/gated", json={"price_coins": 20, "share_coins": 10}).status_code == 200
    offer = {"title": "hello", "url": "https://example.com/v.mp4", "duration_s": 60}
    assert sue.api.put(f"/v1/clips/{clip}", json=offer).status_code == 200
    assert sue.api.put("/v1/profile", json={"name": "Sue"}).status_code == 200
    stranger = Api(stack, f"stranger-{sue.user}", "streamer")
    for path, body in (
        ("/v1/profile", {"name": "x"}),
        (f"/v1/clips/{clip}-2", offer),
        (f"/v1/blocks/{sue.user}", {"reason": "spam"}),
    ):
        assert stranger.put(path, json=body).json()["code"] == "user_unknown"
    for phone in (bob, sue):
        assert admin.put(f"/v1/admin/bans/{phone.user}", json={"reason": "rude"}).status_code == 204
    eventually(lambda: bob.api.get("/v1/users/me").json()["banned"] and sue.api.get("/v1/users/me").json()["banned"])
    assert bob.api.place("/v1/gifts", to=ann.user, gift="gated").json()["code"] == "banned"
    assert bob.api.get("/v1/clips").json()["code"] == "banned"
    assert sue.api.put(f"/v1/clips/{clip}", json=offer).json()["code"] == "banned"
    assert bob.api.balance().json()["available_coins"] == 100
    assert not [one for one in ann.get("/v1/clips").json() if one["clip"] == clip]
    assert ann.get(f"/v1/profiles/{sue.user}").status_code == 404
    assert ann.post(f"/v1/clips/{clip}/plays").json()["code"] == "callee_offline"
    told = bob.wait_for("UserBanned")
    assert (told["reason"], "by" in told) == ("rude", False)
