"""Four eyes: each refusal by name; a command is sent once, behind a second person's word on what they have seen."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.mission_control_approval import decide_approval
from schemas.adjustment import Act, PlaceAdjustment
from schemas.balance import Reason
from schemas.log.base import AccountId, TransferId, UserId, Wake, now
from schemas.migration import PutMigrationFeed
from schemas.mission_control_approval import (
    APPROVAL,
    APPROVAL_LIVES,
    FOUR_EYES,
    Approval,
    ApprovalAsked,
    ApprovalExpired,
    ApprovalGiven,
    ApprovalRefusal,
    ApprovalRejected,
    ApprovalRepeated,
    ApprovalStatus,
    AskApproval,
    GiveApproval,
    RejectApproval,
    needs_approval,
    seen_of,
)
from schemas.payment import PutProduct
from schemas.transfer import PlaceTransfer
from serving.runtime.commands import SENT, Commands
from serving.runtime.eyes import four_eyes, template_of
from serving.runtime.problems import Problem
from tests.conftest import Api, NewUser, Stack, eventually
from tests.decisions import decisions_of
from tests.front import Front, bearer, code
from tests.long_lists import long_lists
from tests.people import ANN, BOB, EVE, SUE
from tests.test_migration import OPENS

decide = decisions_of(decide_approval)
T = datetime(2030, 1, 1, tzinfo=UTC)
KIND, TEMPLATE = "PlaceTransfer", '{"transfer":"t","payer":"@promotions","payee":"ann/coins","coins":500,"reason":"grant"}'
SEEN = seen_of(KIND, TEMPLATE)
PRODUCT = '{"product":"p","coins":500}'
PLACE = PlaceTransfer(
    id="c", at=now(), transfer=TransferId("t"), payer=AccountId("@promotions"), payee=AccountId("ann/coins"), coins=500,
    reason=Reason.GRANT, ref="x", by=BOB,
)  # fmt: skip


def ask(maker: UserId = BOB, template: str = TEMPLATE, command: str = KIND) -> AskApproval:
    return AskApproval(id="a", at=T, approval="1", maker=maker, command=command, template=template, why="because")


def give(by: UserId = SUE, seen: str = SEEN, at: datetime = T) -> GiveApproval:
    return GiveApproval(id="g", at=at, approval="1", by=by, seen=seen)


def reject(by: UserId = SUE) -> RejectApproval:
    return RejectApproval(id="r", at=T, approval="1", by=by, why="too much")


def late(after: timedelta = APPROVAL_LIVES) -> Wake:
    return Wake(id="w", at=T + after, key="1")


OPEN: Approval = decide(None, ask())[0]
OVER = replace(OPEN, status=ApprovalStatus.REJECTED, by=EVE, over_at=T)
REFUSED: list[tuple[Approval | None, Any, ApprovalRefusal]] = [
    (OPEN, ask(EVE), ApprovalRefusal.IDEMPOTENCY_KEY_REUSED),
    (OPEN, ask(template=PRODUCT, command="PutProduct"), ApprovalRefusal.IDEMPOTENCY_KEY_REUSED),
    (None, ask(template="{"), ApprovalRefusal.TEMPLATE_INVALID),
    (None, ask(template='{"user":"ann","reason":"rude"}', command="Ban"), ApprovalRefusal.TEMPLATE_INVALID),
    (None, ask(template='{"by":"ann"}'), ApprovalRefusal.TEMPLATE_INVALID),
    (None, ask(command="GiveRole"), ApprovalRefusal.TEMPLATE_INVALID),
    (None, ask(ANN), ApprovalRefusal.OWN_BENEFIT),
    (None, give(), ApprovalRefusal.APPROVAL_UNKNOWN),
    (None, reject(), ApprovalRefusal.APPROVAL_UNKNOWN),
    (OVER, give(), ApprovalRefusal.APPROVAL_OVER),
    (OVER, reject(), ApprovalRefusal.APPROVAL_OVER),
    (OPEN, give(at=T + APPROVAL_LIVES), ApprovalRefusal.APPROVAL_OVER),
    (OPEN, give(BOB), ApprovalRefusal.OWN_APPROVAL),
    (OPEN, give(ANN), ApprovalRefusal.BENEFICIARY),
    (OPEN, give(seen="0" * 64), ApprovalRefusal.APPROVAL_CHANGED),
    (replace(OPEN, template="{}"), give(seen=seen_of(KIND, "{}")), ApprovalRefusal.TEMPLATE_INVALID),
]


@pytest.mark.parametrize(("approval", "message", "refusal"), REFUSED)
def test_each_refusal_by_name(approval: Approval | None, message: Any, refusal: ApprovalRefusal) -> None:
    after, (fact,) = decide(approval, message)
    assert (after, fact.refusal) == (approval, refusal)


def test_what_is_approved_is_sent_as_it_was_seen() -> None:
    after, (given, sent) = decide(OPEN, give())
    assert (given.maker, given.by, given.sent, given.beneficiaries) == (BOB, SUE, "g/send", (ANN,))
    assert (sent.id, sent.payee, sent.coins, sent.by, sent.at) == ("g/send", "ann/coins", 500, "approval/1", T)
    again, (repeated,) = decide(after, give())
    assert (again, type(repeated), repeated.status) == (after, ApprovalRepeated, ApprovalStatus.APPROVED)
    assert decide(after, give(EVE))[1][0].refusal is ApprovalRefusal.APPROVAL_OVER
    assert decide(OPEN, reject(BOB))[1][0].by == BOB, "its maker takes it back"
    assert decide(after, late()) == (None, ())


WORDS = st.sampled_from([ask(), ask(EVE), give(), give(BOB), give(ANN), give(EVE), give(seen="x"), reject(), reject(BOB),
                         late(), late(2 * APPROVAL_LIVES)])  # fmt: skip


@given(long_lists(WORDS, 25))
def test_a_command_is_sent_once_by_two_who_do_not_gain(messages: list[Any]) -> None:
    """Law: until it is forgotten, an approval that was asked for ends once; what is sent has a maker and another approver."""
    state: Approval | None = None
    asked = ended = 0
    for message in messages:
        before = state
        state, told = decide(state, message)
        asked += sum(isinstance(one, ApprovalAsked) for one in told)
        ended += sum(isinstance(one, ApprovalGiven | ApprovalRejected | ApprovalExpired) for one in told)
        assert asked - ended == (state is not None and state.status is ApprovalStatus.OPEN)
        for sent in (one for one in told if isinstance(one, PlaceTransfer)):
            assert before is not None
            assert message.by not in (before.maker, *before.beneficiaries)
            assert (message.seen, before.status, sent.coins) == (before.seen, ApprovalStatus.OPEN, before.coins)
        assert state is None or state.maker not in state.beneficiaries


def test_what_moves_more_than_the_limit_takes_a_second_person() -> None:
    product = PutProduct(id="c", at=now(), product="p", coins=500, by=BOB)
    forgiven = PlaceAdjustment(
        id="c", at=now(), adjustment=TransferId("d"), account=AccountId("ann/coins"), act=Act.WRITE_OFF, coins=500,
        debt_coins=900, ref="x", by=BOB,
    )  # fmt: skip
    feed = PutMigrationFeed(
        id="c", at=now(), feed="f", by=BOB, table="public.wallets", key=("user",), rules=(OPENS,), total_coins=500
    )  # fmt: skip
    for command in (PLACE, product, forgiven, feed):
        assert [needs_approval(command, limit) for limit in (0, 499, 500)] == [False, True, False]
        found = four_eyes(499)(command, BOB)
        assert found is not None
        assert (found.status, found.code, found.more["command"]) == (403, "approval_needed", type(command).__name__)
        template = json.dumps(template_of(command))
        approval, _ = decide(None, ask(BOB, template, type(command).__name__))
        _, (_, sent) = decide(approval, give(seen=approval.seen))
        assert replace(sent, id=command.id, at=command.at, by=command.by) == command, "what is refused is what is asked for"
    assert four_eyes(500)(PLACE, BOB) is None
    assert {type(PLACE), type(product), type(forgiven), type(feed)} == FOUR_EYES.keys()


def test_staff_alone_sends_nothing_above_the_limit() -> None:
    """It is asked at the one place where commands are sent; what no staff asks for goes on."""
    commands = Commands.__new__(Commands)
    commands._eyes = four_eyes(499)
    token = SENT.set([])
    try:
        with pytest.raises(Problem, match="second person"):
            asyncio.run(commands.ask(PLACE, cast(Any, object)))
    finally:
        SENT.reset(token)


@pytest.mark.parametrize("limit", [0, 499, 500])
def test_nobody_of_staff_gives_themselves_anything(limit: int) -> None:
    """Not below the limit either: a hundred small grants are a large one."""
    forgiven = PlaceAdjustment(
        id="c", at=now(), adjustment=TransferId("d"), account=AccountId("ann/coins"), act=Act.WRITE_OFF, coins=1,
        debt_coins=900, ref="x", by=ANN,
    )  # fmt: skip
    for command in (replace(PLACE, coins=1, by=ANN), forgiven):
        found = four_eyes(limit)(command, ANN)
        assert found is not None
        assert (found.status, found.code) == (403, "own_benefit")
        assert four_eyes(500)(replace(command, by=BOB), BOB) is None


def test_no_job_gives_its_maker_coins() -> None:
    front = Front(four_eyes_coins=0)
    job = {"schedule": {"cron": "0 3 1 1 *"}, "command": KIND, "template": json.loads(TEMPLATE)}
    assert code(front.ask("PUT", "/v1/admin/jobs/j", headers=bearer("ann", "admin"), json=job)) == (403, "own_benefit")
    assert front.commands.asked == []


def test_no_job_sends_what_takes_a_second_person() -> None:
    front = Front(four_eyes_coins=499)
    job = {"schedule": {"cron": "0 3 1 1 *"}, "command": KIND, "template": json.loads(TEMPLATE)}
    assert code(front.ask("PUT", "/v1/admin/jobs/j", headers=bearer("root", "admin"), json=job)) == (403, "approval_needed")
    assert front.commands.asked == []


def test_two_of_staff_grant_coins(stack: Stack, new_user: NewUser) -> None:
    """On the platform: one asks, cannot approve, another one approves, and the coins come once."""
    name = uuid.uuid4().hex[:8]
    maker, other = (Api(stack, f"{side}-{name}", "finance") for side in ("maker", "other"))
    ann = new_user()
    template = json.loads(TEMPLATE) | {"transfer": f"t-{name}", "payee": f"{ann.user}/coins"}
    body = {"command": KIND, "template": template, "reason": "ticket 4711"}
    asked = maker.place("/v1/admin/approvals", name, **body)
    assert asked.status_code == 201, asked.text
    approval = asked.json()
    assert maker.place("/v1/admin/approvals", name, **body).json() == approval
    assert (approval["coins"], approval["beneficiaries"], approval["status"]) == (500, [ann.user], "open")
    assert approval["approval"] in [one["approval"] for one in other.get("/v1/admin/approvals").json()]
    path, seen = f"/v1/admin/approvals/{approval['approval']}", {"seen": approval["seen"]}
    assert maker.post(f"{path}/approve", json=seen).json()["code"] == "own_approval"
    assert other.post(f"{path}/approve", json={"seen": "0" * 64}).json()["code"] == "approval_changed"
    assert ann.balance().json()["balance_coins"] == 0
    for _ in range(2):
        assert other.post(f"{path}/approve", json=seen).json()["status"] == "approved"
    assert eventually(lambda: ann.balance().json()["balance_coins"]) == 500
    assert other.post(f"{path}/reject", json={"reason": "too late"}).json()["code"] == "approval_over"
    assert other.get(path).json()["by"] == other.user
    assert approval["approval"] not in [one["approval"] for one in other.get("/v1/admin/approvals").json()]
    taken = maker.place("/v1/admin/approvals", f"{name}-2", **body).json()["approval"]
    assert maker.post(f"/v1/admin/approvals/{taken}/reject", json={"reason": "a mistake"}).json()["status"] == "rejected"
    wrong = body | {"command": "Ban"}
    assert maker.place("/v1/admin/approvals", **wrong).json()["code"] == "command_forbidden"


def test_an_unknown_approval_is_named() -> None:
    front = Front()
    assert code(front.ask("GET", "/v1/admin/approvals/x", headers=bearer("fin", "finance"))) == (404, "approval_unknown")
    front.app.state.views.of(APPROVAL)["x"] = OPEN
    assert front.ask("GET", "/v1/admin/approvals/x", headers=bearer("fin", "finance")).json()["seen"] == SEEN
