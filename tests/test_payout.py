"""Payouts: each step and each refusal by name; gross is what is paid plus the fee; batches; the bank's file by the public
schema; and by HTTP, a payout by two people, to its end."""

import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.sepa import FOREIGN, Payment, name_at_bank, transfer_file
from pipelines import payout as domain
from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, Hold, Post, Reason, Refusal, Void
from schemas.log.base import LAST, AccountId, UserId, Wake
from schemas.log.entity import broadcast_keys, log_partitions
from schemas.log.templates import sendable
from schemas.payout import (
    MAX_PAID_CENTS,
    PAYOUTS,
    TERMS,
    ApprovePayout,
    BatchClosed,
    BatchRefused,
    BatchRepeated,
    BeginBatch,
    BeginPayoutRound,
    DrawEarnings,
    EarningsDrawn,
    EndDraw,
    ExportPayout,
    PayoutRefused,
    PayoutRepeated,
    PayoutStepped,
    PinTerms,
    PutTerms,
    RejectPayout,
    RequestPayout,
    SettlePayout,
    Terms,
    TermsPinned,
    TermsRefused,
    of_batch,
    of_payout,
)
from schemas.payout_fields import PayoutRefusal, PayoutStatus
from serving.runtime.spreadsheet import cell
from tests.conftest import Api, NewUser, Stack, eventually
from tests.decisions import decisions_of, last_decision

decide = decisions_of(domain.decide_payout)
decide_batch = decisions_of(domain.decide_payout_batch)
decide_terms = decisions_of(domain.decide_payout_terms)
after = partial(last_decision, decide)
T = datetime(2030, 1, 1, tzinfo=UTC)
SUE = UserId("sue")
IBAN = "DE89370400440532013000"


def request(id_: str = "r", by: str = "sue", user: str = "sue") -> RequestPayout:
    return RequestPayout(id=id_, at=T, payout="p", user=UserId(user), by=by)


PINNED = TermsPinned(
    id="t", at=T, cause="r/terms", terms=TERMS, payout="p", version=3, cents_per_100_coins=50, fee_cents=20, minimum_coins=10
)
NO_TERMS = TermsPinned(id="t", at=T, cause="r/terms", terms=TERMS, payout="p")
DRAWN = EarningsDrawn(id="d", at=T, cause="t/draw", user=SUE, payout="p", coins=1_001, from_seq=1, to_seq=9, destination="m")
NONE = EarningsDrawn(id="d", at=T, cause="t/draw", user=SUE, payout="p", refusal=PayoutRefusal.BELOW_MINIMUM)
POOR = AccountRefused(
    id="f", at=T, cause="d/hold", account=AccountId("sue/earnings"), command="Hold", refusal=Refusal.INSUFFICIENT_COINS,
    ref="p", reason="payout", counterparty=PAYOUTS,
)  # fmt: skip


def entry(kind: EntryKind) -> EntryRecorded:
    return EntryRecorded(
        id=f"e{kind}", at=T, cause="c", account=AccountId("sue/earnings"), seq=10, kind=kind, balance_coins=0, held_coins=0,
        counterparty=PAYOUTS, reason=Reason.PAYOUT, ref="p",
    )  # fmt: skip


HELD = (request(), PINNED, DRAWN, entry(EntryKind.HOLD))
SEEN = after(*HELD)[0].seen
APPROVE = ApprovePayout(id="a", at=T, payout="p", by="fin", seen=SEEN)
EXPORT = ExportPayout(id="x", at=T, payout="p", by="fin", batch="b")
REJECT = RejectPayout(id="j", at=T, payout="p", by="fin", ref="doubtful")
EXPORTED = (*HELD, APPROVE, EXPORT)
PAID = (*EXPORTED, SettlePayout(id="s", at=T, payout="p", by="fin", status=PayoutStatus.PAID), entry(EntryKind.POST))


def settle(status: PayoutStatus, by: str = "fin") -> SettlePayout:
    return SettlePayout(id=f"s{status}", at=T, payout="p", by=by, status=status, ref="statement 12")


def test_a_payout_by_two_people_to_its_end() -> None:
    assert type(after(*HELD[:1])[1][0]) is PinTerms
    _, (draw,) = after(*HELD[:2])
    assert (type(draw), draw.reserve_days, draw.minimum_coins) == (DrawEarnings, 14, 42)
    _, (hold,) = after(*HELD[:3])
    assert (type(hold), hold.coins, hold.to, hold.ref) == (Hold, 1_001, PAYOUTS, "p")
    state, (step,) = after(*HELD)
    assert (step.status, step.cause, step.by, step.amount_cents, step.fee_cents) == (PayoutStatus.HELD, "r", "sue", 480, 20)
    state, (step,) = decide(state, APPROVE)
    assert (step.status, step.by, step.cause) == (PayoutStatus.APPROVED, "fin", "a")
    state, (step,) = decide(state, EXPORT)
    assert (step.status, step.batch, of_batch(step)) == (PayoutStatus.EXPORTED, "b", "b")
    state, (post,) = decide(state, settle(PayoutStatus.PAID))
    assert (type(post), post.coins) == (Post, 1_001)
    state, (step, end) = decide(state, entry(EntryKind.POST))
    assert (step.status, step.ref, type(end), end.paid) == (PayoutStatus.PAID, "statement 12", EndDraw, True)
    state, (back,) = decide(state, settle(PayoutStatus.RETURNED))
    assert (type(back), back.coins, back.counterparty) == (Credit, 1_001, PAYOUTS)
    state, (step, end) = decide(state, entry(EntryKind.CREDIT))
    assert (step.status, end.returned_coins, end.paid) == (PayoutStatus.RETURNED, 1_001, False)


@pytest.mark.parametrize(
    ("messages", "act", "status"),
    [
        (HELD, REJECT, PayoutStatus.REJECTED), ((*HELD, APPROVE), REJECT, PayoutStatus.REJECTED),
        (EXPORTED, settle(PayoutStatus.FAILED), PayoutStatus.FAILED),
    ],
)  # fmt: skip
def test_what_is_not_paid_is_freed_and_can_be_drawn_again(messages: tuple[Any, ...], act: Any, status: PayoutStatus) -> None:
    state, (void,) = after(*messages, act)
    assert type(void) is Void
    state, (step, end) = decide(state, entry(EntryKind.VOID))
    assert (step.status, step.cause, end.paid, end.returned_coins) == (status, act.id, False, 0)
    assert decide(state, entry(EntryKind.VOID)) == (state, ())


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        ((request(), NO_TERMS), PayoutRefusal.TERMS_UNKNOWN),
        ((request(), PINNED, NONE), PayoutRefusal.BELOW_MINIMUM),
        ((request(), PINNED, DRAWN, POOR), PayoutRefusal.ACCOUNT_REFUSES),
        ((APPROVE,), PayoutRefusal.PAYOUT_UNKNOWN),
        ((*HELD, request("r2", user="tia")), PayoutRefusal.PAYOUT_DIFFERS),
        ((request(), request("r2")), PayoutRefusal.PAYOUT_IN_PROGRESS),
        ((*HELD, EXPORT), PayoutRefusal.PAYOUT_ELSEWHERE),
        ((*EXPORTED, REJECT), PayoutRefusal.PAYOUT_ELSEWHERE),
        ((*EXPORTED, EXPORT), PayoutRefusal.PAYOUT_ELSEWHERE),
        ((*PAID, settle(PayoutStatus.FAILED)), PayoutRefusal.PAYOUT_ELSEWHERE),
        ((*HELD, REJECT, APPROVE), PayoutRefusal.PAYOUT_ELSEWHERE),
        ((*HELD, settle(PayoutStatus.HELD)), PayoutRefusal.PAYOUT_ELSEWHERE),
        ((*HELD, ApprovePayout(id="a", at=T, payout="p", by="sue", seen=SEEN)), PayoutRefusal.OWN_PAYOUT),
        ((*EXPORTED, settle(PayoutStatus.PAID, by="sue")), PayoutRefusal.OWN_PAYOUT),
        ((request(by="fin"), *HELD[1:], APPROVE), PayoutRefusal.SAME_PERSON),
        ((*HELD, ApprovePayout(id="a", at=T, payout="p", by="fin", seen="other")), PayoutRefusal.SEEN_DIFFERS),
    ],
)
def test_each_refusal_by_name(messages: tuple[Any, ...], refusal: PayoutRefusal) -> None:
    _, told = after(*messages)
    assert (type(told[0]), told[0].refusal) == (PayoutRefused, refusal)
    assert refusal is not PayoutRefusal.ACCOUNT_REFUSES or (told[0].cause, type(told[1])) == ("r", EndDraw)


def test_a_round_reaches_every_partition_once_there_are_terms() -> None:
    begin = BeginPayoutRound(id="b", at=T, terms=TERMS, round="weekly/1", by="weekly")
    _, (refused,) = decide_terms(None, begin)
    assert (type(refused), refused.refusal) == (TermsRefused, PayoutRefusal.TERMS_UNKNOWN)
    terms = Terms(version=1)
    state, (begun, *told) = decide_terms(terms, begin)
    assert (state, begun.round, {one.round for one in told}) == (terms, "weekly/1", {"weekly/1"})
    assert sorted(one.user for one in told) == sorted(broadcast_keys(log_partitions()))
    assert "BeginPayoutRound" in sendable()
    assert (
        not {"ApprovePayout", "SettlePayout", "Credit", "EndDraw", "ClaimPurchase", "AcceptInvitation", "AskToJoin"}
        & sendable().keys()
    )


def test_who_asks_again_hears_how_it_stands_and_late_words_change_nothing() -> None:
    state, (again,) = after(*HELD, request("r2"))
    assert (type(again), again.status, again.cause) == (PayoutRepeated, PayoutStatus.HELD, "r2")
    for late in (PINNED, DRAWN, entry(EntryKind.HOLD), POOR, Wake(id="w", at=T, key="p")):
        assert decide(state, late) == (state, ())
    assert decide(None, DRAWN) == (None, ())
    assert of_payout(entry(EntryKind.HOLD)) == of_payout(POOR) == "p"


def wake(after_days: int) -> Wake:
    return Wake(id="w", at=T + timedelta(days=after_days), key="p")


def test_what_nobody_decides_on_is_let_go_one_day() -> None:
    for messages in (HELD, (*HELD, APPROVE)):
        state, _ = after(*messages)
        assert decide(state, wake(399)) == (state, ())
        state, (void,) = decide(state, wake(400))
        assert (type(void), state.wake_at) == (Void, None)
        _, (step, end) = decide(state, entry(EntryKind.VOID))
        assert (step.status, step.by, type(end), end.paid) == (PayoutStatus.REJECTED, "", EndDraw, False)


def test_what_the_bank_has_is_never_let_go() -> None:
    """Its hold has no end: coins that were free again would be paid a second time by the next payout."""
    _, (hold,) = after(*HELD[:3])
    assert hold.expires_at == LAST
    for messages in (EXPORTED, PAID, (*HELD, REJECT)):
        state, _ = after(*messages)
        assert decide(state, wake(40_000))[1] == ()


@given(st.integers(1, 10**9), st.integers(1, 10_000), st.integers(0, 10_000))
def test_gross_is_what_is_paid_plus_the_fee_and_something_is_paid(coins: int, rate: int, fee: int) -> None:
    terms = TermsPinned(
        id="t", at=T, cause="r", terms=TERMS, payout="p", version=1, cents_per_100_coins=rate, fee_cents=fee, minimum_coins=1
    )
    _, (draw,) = after(request(), terms)
    drawn = EarningsDrawn(
        id="d", at=T, cause="d", user=SUE, payout="p", coins=max(coins, draw.minimum_coins), from_seq=1, to_seq=1
    )
    _, (step,) = after(request(), terms, drawn, entry(EntryKind.HOLD))
    assert step.amount_cents + step.fee_cents == step.coins * rate // 100
    assert step.amount_cents >= 1


def test_terms_count_their_changes_and_are_pinned_as_they_are() -> None:
    put = PutTerms(id="t", at=T, terms=TERMS, cents_per_100_coins=50)
    pin = PinTerms(id="q", at=T, terms=TERMS, payout="p")
    terms, (told,) = last_decision(decide_terms, put, put)
    assert (told.version, decide_terms(terms, pin)[1][0].version, decide_terms(None, pin)[1][0].version) == (2, 2, 0)


def test_a_batch_takes_what_is_approved_and_closes_when_all_have_answered() -> None:
    begin = BeginBatch(id="b1", at=T, batch="b", payouts=("p", "q", "p"), by="fin")
    state, exports = decide_batch(None, begin)
    assert [(type(one), one.payout) for one in exports] == [(ExportPayout, "p"), (ExportPayout, "q")]
    assert type(decide_batch(state, begin)[1][0]) is BatchRepeated
    _, (differs,) = decide_batch(state, BeginBatch(id="b2", at=T, batch="b", payouts=("z",), by="fin"))
    assert (type(differs), differs.refusal) == (BatchRefused, PayoutRefusal.BATCH_DIFFERS)
    stepped = PayoutStepped(id="1", at=T, cause="c", payout="p", user=SUE, status=PayoutStatus.EXPORTED, batch="b")
    left = PayoutRefused(id="2", at=T, cause="c", payout="q", refusal=PayoutRefusal.PAYOUT_ELSEWHERE, batch="b")
    assert (of_batch(stepped), of_batch(left)) == ("b", "b")
    state, told = decide_batch(state, left)
    assert told == ()
    state, (closed,) = decide_batch(state, stepped)
    assert (type(closed), closed.cause, closed.payouts, closed.left) == (BatchClosed, "b1", ("p",), ("q",))
    assert decide_batch(state, stepped) == (state, ())


def test_the_banks_file_is_valid_by_the_public_schema_and_the_same_each_time() -> None:
    payments = [
        Payment("a" * 32, "Zoë Müller & Söhne <x>", IBAN, 480, "Payout 1"),
        Payment("b" * 32, "李", "NL91ABNA0417164300", 1, "2"),
    ]  # fmt: skip
    file = transfer_file("c" * 32, T, ("Olo GmbH", IBAN), payments)
    assert file == transfer_file("c" * 32, T, ("Olo GmbH", IBAN), payments)
    assert b"pain.001.001.09" in file
    assert b"<CtrlSum>4.81</CtrlSum>" in file
    with pytest.raises(ValueError, match="schema does not take"):
        transfer_file("c" * 32, T, ("Olo GmbH", "no account"), payments)


NAMES = {
    "Zoë Müller & Söhne <x>": "Zoe Muller + Sohne x", "  李\u3000 明 ": "Li Ming", "Sue 😀": "Sue", "😀": "", "": "",
    "-- //": "", "\u202e\u200b": "", "\ud7ff": "", "ﷺ" * 70: "", "=1+1;\x7f": "1+1", "山" * 70: "Shan " * 13 + "Shan",
    "ß" * 70: "s" * 70, "]]>&amp;<!--": "+amp --",
}  # fmt: skip


def test_whatever_a_name_is_the_banks_schema_takes_what_is_left_of_it() -> None:
    """One hostile name would stop the file of all, when the others' payouts cannot be in another one any more."""
    assert {name: name_at_bank(name) for name in NAMES} == NAMES
    payments = [Payment(f"{n}", name, IBAN, MAX_PAID_CENTS, "Payout 1") for n, name in enumerate(NAMES) if NAMES[name]]
    assert b'<InstdAmt Ccy="EUR">999999999.99</InstdAmt>' in transfer_file("c", T, ("Olo GmbH", IBAN), payments)


@given(st.text(max_size=70))
def test_a_name_at_the_bank_has_its_letters_only_and_is_the_same_again(holder: str) -> None:
    name = name_at_bank(holder)
    assert (name_at_bank(name), len(name) <= 70, FOREIGN.search(name)) == (name, True, None)


def test_no_cell_of_a_table_is_a_formula() -> None:
    """A user's id may begin with "=", and a name with anything."""
    for text in ("=cmd|'calc'!A0", "+1", "-1", "@a", "\uff1d1"):
        assert cell(text) == f"'{text}"
    assert (cell("sue"), cell("")) == ("sue", "")


def test_a_payout_by_http(stack: Stack, admin: Api, new_user: NewUser) -> None:
    sue, key = new_user("streamer"), uuid.uuid4().hex[:8]
    finance = Api(stack, f"fin-{key}", "finance")
    terms = {"cents_per_100_coins": 50, "fee_cents": 20, "reserve_days": 0}
    assert finance.put("/v1/admin/payouts/terms", json=terms).status_code == 200
    assert sue.get("/v1/payouts/terms").json()["cents_per_100_coins"] == 50
    assert sue.get("/v1/payouts/destination").json()["code"] == "destination_unknown"
    bad = sue.put("/v1/payouts/destination", json={"holder": "Sue", "iban": "DE88370400440532013000"})
    assert (bad.status_code, bad.json()["code"]) == (422, "iban_invalid")
    for holder, iban, refused in (
        ("Sue", "TR330006100519786457841326", "iban_outside_sepa"), ("😀", "GB82WEST12345698765432", "holder_unwritable")
    ):  # fmt: skip
        bad = sue.put("/v1/payouts/destination", json={"holder": holder, "iban": iban})
        assert (bad.status_code, bad.json()["code"]) == (422, refused), bad.text
    put = sue.put("/v1/payouts/destination", json={"holder": "Sue Strom", "iban": "DE89 3704 0044 0532 0130 00"})
    assert (put.status_code, put.json()["iban"]) == (200, "DE89**************3000")
    poor = sue.post("/v1/payouts", headers={"Idempotency-Key": "poor"})
    assert (poor.status_code, poor.json()["code"]) == (409, "below_minimum"), poor.text
    grant = admin.place("/v1/admin/grants", account=f"{sue.user}/earnings", coins=1_001)
    assert grant.status_code == 201
    asked = eventually(lambda: (a := sue.post("/v1/payouts", headers={"Idempotency-Key": "first"})).status_code == 201 and a)
    payout = asked.json()
    assert (payout["status"], payout["coins"], payout["amount_cents"]) == ("held", 1_001, 480)
    assert sue.post("/v1/payouts", headers={"Idempotency-Key": "first"}).json()["payout"] == payout["payout"]
    held = sue.balance(book="earnings").json()
    assert (held["available_coins"], held["held_coins"]) == (0, 1_001)
    path = f"/v1/admin/payouts/{payout['payout']}"
    assert new_user().get(f"/v1/payouts/{payout['payout']}").json()["code"] == "payout_unknown"
    looked = finance.get(f"/v1/payouts/{payout['payout']}").json()
    seen = looked["seen"]
    assert looked["maker"] == sue.user
    for body, code in (({"seen": "other"}, "seen_differs"), ({"seen": seen}, None)):
        answer = finance.post(f"{path}/approve", json=body)
        assert answer.json().get("code") == code, answer.text
    batch = finance.post(
        "/v1/admin/payouts/batches", json={"payouts": [payout["payout"], "none"]}, headers={"Idempotency-Key": f"b{key}"}
    ).json()
    assert (batch["payouts"], batch["left"]) == ([payout["payout"]], ["none"])
    file = finance.get(f"/v1/admin/payouts/batches/{batch['batch']}/file")
    assert (file.status_code, file.headers["content-type"]) == (200, "application/xml"), file.text
    assert IBAN in file.text
    assert "4.80" in finance.get(f"/v1/admin/payouts/batches/{batch['batch']}/file", params={"kind": "csv"}).text
    assert finance.post(f"{path}/reject", json={"ref": "late"}).json()["code"] == "payout_elsewhere"
    paid = finance.post(f"{path}/settle", json={"status": "paid", "ref": "statement 12"})
    assert (paid.status_code, paid.json()["status"]) == (200, "paid"), paid.text
    assert sue.balance(book="earnings").json()["balance_coins"] == 0
    about: dict[str, str | int] = {"subject": sue.user, "limit": 500}
    due = {"approvePayout", "settlePayout"}  # an act on a payout is about its payee
    assert eventually(lambda: due <= {act["operation"] for act in admin.get("/v1/admin/audit", params=about).json()["acts"]})
    rows = eventually(lambda: [row for row in sue.get("/v1/payouts").json()["payouts"] if row["status"] == "paid"])
    assert rows[0]["payout"] == payout["payout"]
    assert rows[0] in eventually(lambda: finance.get("/v1/admin/payouts", params={"status": "paid"}).json()["payouts"])


def test_a_round_asks_for_what_an_agency_has_that_wants_it(stack: Stack, admin: Api, new_user: NewUser) -> None:
    stars, key = new_user("agency"), uuid.uuid4().hex[:8]
    finance = Api(stack, f"fin-{key}", "finance")
    assert finance.put("/v1/admin/payouts/terms", json={"cents_per_100_coins": 50, "reserve_days": 0}).status_code == 200
    assert stars.put("/v1/payouts/destination", json={"holder": "Stars", "iban": IBAN}).json()["automatic"] is False
    assert stars.put("/v1/payouts/automatic", json={"automatic": True}).json() == {"automatic": True}
    assert admin.place("/v1/admin/grants", account=f"{stars.user}/earnings", coins=200).status_code == 201

    def asked() -> Any:
        assert finance.place("/v1/admin/payouts/rounds").status_code == 201
        return stars.get("/v1/payouts").json()["payouts"]

    (payout,) = eventually(asked)
    assert (payout["status"], payout["coins"], payout["amount_cents"]) == ("held", 200, 100)
    assert stars.get("/v1/payouts/destination").json()["automatic"] is True
