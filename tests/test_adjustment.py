"""Adjustments: each once, each refusal by name; every request is answered; and by HTTP, a freeze, its end, a look at lots."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import adjustment
from schemas.adjustment import (
    MAX_ASKED,
    Act,
    AdjustmentConflicted,
    AdjustmentInbox,
    AdjustmentRepeated,
    AdjustmentSettled,
    AskLots,
    LotsTold,
    PlaceAdjustment,
)
from schemas.balance import (
    AccountRefused,
    EntryKind,
    EntryRecorded,
    Freeze,
    LotsRead,
    ReadLots,
    Refusal,
    SetCap,
    Unfreeze,
    WriteOff,
)
from schemas.log.base import AccountId, Message, TransferId, Wake
from tests.conftest import Api, NewUser, eventually
from tests.decisions import decisions_of, last_decision
from tests.long_lists import long_lists

decide = decisions_of(adjustment.decide_adjustment)
after = partial(last_decision, decide)
T = datetime(2030, 1, 1, tzinfo=UTC)
ANN = AccountId("ann/coins")


def place(id_: str = "m", act: Act = Act.WRITE_OFF, ref: str = "ticket") -> PlaceAdjustment:
    return PlaceAdjustment(
        id=id_, at=T, adjustment=TransferId("a"), account=ANN, act=act, ref=ref, coins=3, debt_coins=8, by="root"
    )


DONE = EntryRecorded(
    id="e", at=T, cause="m/write_off", account=ANN, seq=2, kind=EntryKind.WRITE_OFF, balance_coins=0, held_coins=0,
    debt_coins=5, transfer="a",
)  # fmt: skip
REFUSED = AccountRefused(
    id="e", at=T, cause="m/write_off", account=ANN, command="WriteOff", refusal=Refusal.DEBT_CHANGED, transfer="a"
)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (Act.FREEZE, Freeze), (Act.UNFREEZE, Unfreeze), (Act.WRITE_OFF, WriteOff), (Act.CAP, SetCap), (Act.STAFF_CAP, SetCap),
    ],
    ids=str,
)  # fmt: skip
def test_each_act_is_one_command_of_the_account(act: Act, kind: type[Message]) -> None:
    _, (told,) = after(place(act=act))
    assert (type(told), told.account, told.ref, told.transfer) == (kind, ANN, "ticket", "a")


@pytest.mark.parametrize(("answer", "refusal"), [(DONE, None), (REFUSED, Refusal.DEBT_CHANGED)], ids=str)
def test_who_asks_again_hears_the_same(answer: AdjustmentInbox, refusal: Refusal | None) -> None:
    state, told = after(place(), place("n"), answer)
    assert [(type(one), one.cause, one.refused) for one in told] == [
        (AdjustmentSettled, "m", refusal), (AdjustmentRepeated, "n", refusal),
    ]  # fmt: skip
    assert decide(state, answer) == (state, ())
    _, (again,) = decide(state, place("o"))
    assert (type(again), again.refused, again.after.debt_coins) == (AdjustmentRepeated, refusal, 0 if refusal else 5)
    assert decide(state, Wake(id="w", at=T, key="a")) == (state, ())
    assert decide(state, Wake(id="w", at=T + timedelta(days=2), key="a")) == (None, ())


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        ((place(), place("n", ref="other")), Refusal.IDEMPOTENCY_KEY_REUSED),
        (tuple(place(f"m{n}") for n in range(MAX_ASKED + 1)), Refusal.IN_PROGRESS),
    ],
)
def test_requests_that_are_not_taken(messages: tuple[PlaceAdjustment, ...], refusal: Refusal) -> None:
    _, (fact,) = after(*messages)
    assert (type(fact), fact.refusal) == (AdjustmentConflicted, refusal)


def test_a_look_at_lots_keeps_nothing() -> None:
    state, (asked,) = after(AskLots(id="q", at=T, adjustment=TransferId("q"), account=ANN))
    assert (state, type(asked), asked.request) == (None, ReadLots, "q")
    state, (told,) = after(LotsRead(id="r", at=T, cause="q/lots", account=ANN, request=TransferId("q")))
    assert (state, type(told), told.cause) == (None, LotsTold, "q")


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 9)), st.tuples(st.just("answer"), st.integers(0, 1))
)  # fmt: skip


@given(long_lists(STEPS, 30))
def test_every_request_is_answered_and_the_account_is_asked_once(steps: list[tuple[str, int]]) -> None:
    state: Any = None
    told, asked = list[Any](), set()
    for step, number in [*steps, ("answer", 0)]:
        if step == "ask":
            asked.add(f"m{number}")
            state, more = decide(state, place(f"m{number}"))
        else:
            state, more = decide(state, (DONE, REFUSED)[number])
        told += more
    assert sum(isinstance(one, WriteOff) for one in told) == bool(asked)
    outcomes = [one for one in told if isinstance(one, AdjustmentSettled)]
    assert {one.cause for one in outcomes} == asked
    assert sum(type(one) is AdjustmentSettled for one in outcomes) == bool(asked)
    assert len({one.refusal for one in outcomes}) <= 1


def test_a_freeze_and_its_end_by_the_staff(admin: Api, new_user: NewUser) -> None:
    bob = new_user()
    account, path = f"{bob.user}/coins", f"/v1/admin/accounts/{bob.user}"
    grant = {"account": account, "coins": 5, "ref": "case 7", "expires_at": "2190-01-01T00:00:00Z"}
    assert admin.post("/v1/admin/grants", json=grant, headers={"Idempotency-Key": f"g-{bob.user}"}).status_code == 201
    past = admin.post("/v1/admin/grants", json=grant | {"expires_at": "2020-01-01T00:00:00Z"}, headers={"Idempotency-Key": "p"})
    assert (past.status_code, past.json()["code"]) == (422, "expires_in_past")
    lots = bob.get("/v1/balance/lots").json()["lots"]
    assert [(lot["coins"], lot["expires_at"]) for lot in lots] == [(5, "2190-01-01T00:00:00Z")]
    assert admin.get(f"{path}/lots").json()["lots"] == lots

    def act(what: str, key: str, **more: Any) -> Any:
        return admin.post(f"{path}/{what}", json={"ref": "case 7"} | more, headers={"Idempotency-Key": f"{key}-{bob.user}"})

    for _ in range(2):
        assert (act("freeze", "f").status_code, act("freeze", "f").json()["balance_coins"]) == (200, 5)
    assert eventually(lambda: bob.balance().json()["frozen"])
    (held, _) = admin.get(f"/v1/admin/people/{bob.user}").json()["holdings"]
    assert (held["account"], held["frozen"]) == (account, True)
    spend = {"payer": account, "payee": "@shop", "coins": 1, "ref": "case 7"}
    frozen = admin.post("/v1/admin/transfers", json=spend, headers={"Idempotency-Key": f"s-{bob.user}"})
    assert (frozen.status_code, frozen.json()["code"]) == (409, "account_frozen")
    assert act("unfreeze", "f").json()["code"] == "idempotency_key_reused"
    assert act("unfreeze", "u").status_code == 200
    assert admin.post("/v1/admin/transfers", json=spend, headers={"Idempotency-Key": f"t-{bob.user}"}).status_code == 201
    assert eventually(lambda: bob.balance().json()["balance_coins"] == 4)
    assert bob.balance().json()["frozen"] is False
    owes = act("write-off", "w", coins=1, debt_coins=1)
    assert (owes.status_code, owes.json()["code"]) == (409, "debt_changed")
    nobody = admin.post("/v1/admin/accounts/nobody/freeze", json={"ref": "x"}, headers={"Idempotency-Key": "n"})
    assert (nobody.status_code, nobody.json()["code"]) == (404, "account_unknown")
