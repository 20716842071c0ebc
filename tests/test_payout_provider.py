"""A provider that pays payouts over the outbox: only its own word ends a payment, under one id; what is unknown is locked."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra.config import load
from infra.vendors import attempt
from pipelines.outbox import decide_outbox
from pipelines.payee import decide_payee
from pipelines.payout import decide_payout
from schemas.balance import Post, Void
from schemas.log.base import LAST, UserId, Wake
from schemas.outbox import (
    AttemptOutcome,
    Effect,
    EffectDue,
    EffectKind,
    EffectStatus,
    OweEffect,
    PaymentEnded,
    RedriveEffect,
    ReportAttempt,
    erased_effects,
)
from schemas.payee import Payee
from schemas.payout import DestinationGone, PayByProvider, Payout, SendPayout, SettlePayout
from schemas.payout_fields import PAYOUT_PROVIDER, Paying, PayoutRefusal, PayoutStatus, pay_id
from schemas.user import UserErased
from tests.conftest import Api, NewUser, Stack, eventually
from tests.decisions import decisions_of
from tests.lab.city.payout_provider import ProviderServer

decide, outbox, payee = decisions_of(decide_payout), decisions_of(decide_outbox), decisions_of(decide_payee)
T = datetime(2030, 1, 1, tzinfo=UTC)
SUE = UserId("sue")
IBAN = "DE89370400440532013000"
PAYING = Paying(SUE, 480, "EUR", "Sue Strom", IBAN)
APPROVED = Payout(
    user=SUE, status=PayoutStatus.APPROVED, currency="EUR", amount_cents=480, coins=1_000, destination="m", maker="sue",
    version=1,
)  # fmt: skip
SEND = SendPayout(id="s", at=T, payout="p", by="fin")
SENT, (_, PAY) = decide(APPROVED, SEND)
OWED = OweEffect(
    id="o", at=T, effect=pay_id("p"), kind=EffectKind.PAY, provider=PAYOUT_PROVIDER, subject="p", expires_at=LAST, paying=PAYING
)  # fmt: skip
OWES, (DUE,) = outbox(None, OWED)


def ended(*, paid: bool) -> PaymentEnded:
    return PaymentEnded(id="e", at=T, cause="c", effect=pay_id("p"), payout="p", paid=paid)


def report(outcome: AttemptOutcome, **more: Any) -> ReportAttempt:
    return ReportAttempt(id="r", at=T, effect=pay_id("p"), attempt=1, outcome=outcome, **more)


def test_what_is_sent_is_locked_until_the_provider_says_what_became_of_it() -> None:
    assert SENT is not None
    assert (SENT.status, SENT.provider) == (PayoutStatus.EXPORTED, PAYOUT_PROVIDER)
    assert (type(PAY), PAY.amount_cents) == (PayByProvider, 480)
    for status in (PayoutStatus.PAID, PayoutStatus.FAILED):
        _, (refused,) = decide(SENT, SettlePayout(id="x", at=T, payout="p", by="fin", status=status))
        assert refused.refusal is PayoutRefusal.PROVIDER_DECIDES
    assert decide(SENT, SEND)[1][0].refusal is PayoutRefusal.PAYOUT_ELSEWHERE
    for word, order, to in ((True, Post, PayoutStatus.PAID), (False, Void, PayoutStatus.FAILED)):
        settling, (asked,) = decide(SENT, ended(paid=word))
        assert (type(asked), settling.settling) == (order, to)
        assert decide(settling, ended(paid=not word)) == (settling, ()), "it answers twice"
    gone = DestinationGone(id="g", at=T, cause="c", user=SUE, payout="p")
    assert type(decide(SENT, gone)[1][0]) is Void
    assert decide(APPROVED, ended(paid=True)) == (APPROVED, ())


def test_the_payee_says_where_to_if_that_is_what_was_seen() -> None:
    known = Payee(holder="Sue Strom", iban=IBAN, destination="m")
    _, (owed,) = payee(known, PAY)
    assert (owed.effect, owed.kind, owed.expires_at, owed.paying) == ("pay/p", EffectKind.PAY, LAST, PAYING)
    for state in (Payee(holder="x", iban=IBAN, destination="other"), None):
        assert type(payee(state, PAY)[1][0]) is DestinationGone
    erased, _ = payee(known, UserErased(id="u", at=T, cause="c", user=SUE))
    assert type(payee(erased, PAY)[1][0]) is DestinationGone


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (report(AttemptOutcome.ACCEPTED, status=200), EffectStatus.ACCEPTED),
        (report(AttemptOutcome.REFUSED, status=200), EffectStatus.REFUSED),
        (report(AttemptOutcome.REFUSED), EffectStatus.WAITING),
        (report(AttemptOutcome.REFUSED, status=200, doubtful=True), EffectStatus.WAITING),
        (report(AttemptOutcome.FAILED, doubtful=True), EffectStatus.WAITING),
        (report(AttemptOutcome.ROUTED, status=200), EffectStatus.REFUSED),
    ],
)
def test_only_the_providers_word_ends_a_payment(said: ReportAttempt, status: EffectStatus) -> None:
    state, told = outbox(OWES, said)
    assert state.status is status
    assert [fact.paid for fact in told if isinstance(fact, PaymentEnded)] == {
        EffectStatus.ACCEPTED: [True], EffectStatus.REFUSED: [False], EffectStatus.WAITING: [],
    }[status]  # fmt: skip
    assert (state.paying.iban == "") == (status is not EffectStatus.WAITING), "an account is forgotten with the end"
    assert outbox(state, RedriveEffect(id="d", at=T, effect="pay/p", expires_at=LAST, by="ops")) == (state, ())


def test_who_is_erased_has_no_account_any_more_and_what_was_sent_is_asked_about_still() -> None:
    common = erased_effects((SUE,))
    wake = Wake(id="w", at=T, key="pay/p")
    waits, _ = outbox(OWES, report(AttemptOutcome.FAILED, doubtful=True))
    assert waits.behind(common)
    blank, told = outbox(waits, wake, common)
    assert (told, blank.paying, blank.status, blank.behind(common)) == (
        (),
        Paying(SUE, 480, "EUR"),
        EffectStatus.WAITING,
        False,
    )
    late, (due,) = outbox(None, OWED, common)
    assert (due.paying, late.paying) == (Paying(SUE, 480, "EUR"), Paying(SUE, 480, "EUR"))
    never = report(AttemptOutcome.REFUSED, status=400)
    assert outbox(late, never)[0].status is EffectStatus.REFUSED, "it was never sent"
    again = Effect(**{name: getattr(blank, name) for name in blank.__struct_fields__} | {"status": EffectStatus.DUE})
    assert outbox(again, never)[0].status is EffectStatus.WAITING, "an earlier attempt may be on its way"


ANSWERS: list[tuple[list[tuple[int, Any]], AttemptOutcome, list[str]]] = [
    ([(404, {}), (201, {"status": "paid"})], AttemptOutcome.ACCEPTED, ["GET", "PUT"]),
    ([(404, {}), (202, {"status": "pending"})], AttemptOutcome.FAILED, ["GET", "PUT"]),
    ([(404, {}), (422, {"status": "failed"})], AttemptOutcome.REFUSED, ["GET", "PUT"]),
    ([(404, {}), (422, {"error": "iban"})], AttemptOutcome.FAILED, ["GET", "PUT"]),
    ([(404, {}), (404, {})], AttemptOutcome.FAILED, ["GET", "PUT"]),
    ([(200, {"status": "paid"})], AttemptOutcome.ACCEPTED, ["GET"]),
    ([(200, {"status": "failed"})], AttemptOutcome.REFUSED, ["GET"]),
    ([(200, {"status": "sleeping"})], AttemptOutcome.FAILED, ["GET"]),
    ([(200, ["paid"])], AttemptOutcome.FAILED, ["GET"]),
    ([(503, {"status": "failed"})], AttemptOutcome.FAILED, ["GET"]),
    ([(401, {})], AttemptOutcome.FAILED, ["GET"]),
    ([(301, {})], AttemptOutcome.FAILED, ["GET"]),
]


@pytest.mark.parametrize(("answers", "outcome", "methods"), ANSWERS)
def test_the_provider_is_asked_before_it_is_told(
    answers: list[tuple[int, Any]], outcome: AttemptOutcome, methods: list[str]
) -> None:
    asked: list[httpx.Request] = []

    def provider(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        status, body = answers[len(asked) - 1]
        return httpx.Response(status, json=body)

    config = load(payout_url="http://provider/v1/", payout_key="secret")
    assert isinstance(DUE, EffectDue)
    tried = attempt(DUE, config, httpx.Client(transport=httpx.MockTransport(provider)))
    assert (tried.outcome, [request.method for request in asked]) == (outcome, methods)
    assert {str(request.url) for request in asked} == {"http://provider/v1/payments/pay%2Fp"}
    assert {request.headers["authorization"] for request in asked} == {"Bearer secret"}
    if len(asked) > 1:
        body = {"amount_cents": 480, "currency": "EUR", "iban": IBAN, "holder": "Sue Strom"}
        assert json.loads(asked[1].content) == body


def test_an_outage_and_a_missing_setting_are_no_word() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer", request=request)

    client = httpx.Client(transport=httpx.MockTransport(away))
    assert isinstance(DUE, EffectDue)
    tried = attempt(DUE, load(payout_url="http://provider", payout_key="secret"), client)
    assert (tried.outcome, tried.doubtful) == (AttemptOutcome.FAILED, True)
    assert attempt(DUE, load(), client).outcome is AttemptOutcome.FAILED


def test_a_provider_that_stumbles_pays_once_and_what_came_back_is_found_by_asking(
    stack: Stack, admin: Api, new_user: NewUser, payout_provider: ProviderServer
) -> None:
    finance = Api(stack, f"fin-{uuid.uuid4().hex[:8]}", "finance")
    assert finance.put("/v1/admin/payouts/terms", json={"cents_per_100_coins": 50, "reserve_days": 0}).status_code == 200
    sent = {}
    for _ in range(3):
        sue = new_user("streamer")
        assert sue.put("/v1/payouts/destination", json={"holder": "Sue", "iban": IBAN}).status_code == 200
        assert admin.place("/v1/admin/grants", account=f"{sue.user}/earnings", coins=200).status_code == 201
        asked = eventually(lambda sue=sue: (a := sue.place("/v1/payouts", "first")).status_code == 201 and a.json())
        path = f"/v1/admin/payouts/{asked['payout']}"
        assert finance.post(f"{path}/send").json()["code"] == "payout_elsewhere"
        seen = finance.get(f"/v1/payouts/{asked['payout']}").json()["seen"]
        assert finance.post(f"{path}/approve", json={"seen": seen}).status_code == 200
        assert finance.post(f"{path}/send").json()["status"] == "exported"
        sent[asked["payout"]] = sue
    ends = ("paid", "failed")
    for payout, sue in sent.items():
        stands = eventually(lambda p=payout: (s := finance.get(f"/v1/payouts/{p}").json()["status"]) in ends and s, 60.0)
        assert (stands == "paid") == (payout_provider.provider.paid.get(pay_id(payout)) == 100)
        left = eventually(lambda sue=sue: not (b := sue.balance(book="earnings").json())["held_coins"] and b)
        assert left["balance_coins"] == (0 if stands == "paid" else 200)
    assert payout_provider.provider.changed == []
    for payout in sent:
        if payout_provider.provider.paid.get(pay_id(payout)):
            payout_provider.provider.returned.add(pay_id(payout))
    for _ in range(2):
        assert stack.olo("payouts", "ask").returncode == 0
    for payout, sue in sent.items():
        came_back = pay_id(payout) in payout_provider.provider.returned
        due = "returned" if came_back else "failed"
        eventually(lambda p=payout, due=due: finance.get(f"/v1/payouts/{p}").json()["status"] == due)
        eventually(lambda sue=sue: sue.balance(book="earnings").json()["balance_coins"] == 200)
