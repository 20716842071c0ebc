"""What a provider of payouts tells by itself: what came back comes back once, whenever and however often it is told."""

import hmac
import json
from hashlib import sha256
from itertools import permutations
from typing import Any, Final

import httpx
import pytest

from infra.vendors.answers import Attempt
from infra.vendors.payouts import _word
from pipelines.payout import decide_payout
from schemas.balance import Credit, EntryKind
from schemas.outbox import AttemptOutcome
from schemas.payout import PAYOUT, EndDraw, Payout, PayoutStepped, ReturnPayout
from schemas.payout_fields import PayoutStatus
from tests.decisions import all_decisions
from tests.front import Front
from tests.test_payout import T, entry
from tests.test_payout_provider import APPROVED, SENT, ended

SECRET: Final = "payout-secret-of-tests"
PATH: Final = "/v1/webhooks/payouts"
BACK: Final = ReturnPayout(id="b", at=T, payout="p", by="payout_provider")


def played(messages: tuple[Any, ...], state: Payout | None = SENT) -> tuple[Payout, list[Any]]:
    """The state behind the messages; the ledger answers what it is asked at once."""
    told: list[Any] = []
    for message in messages:
        state, more = all_decisions(decide_payout, message, state=state)
        told += more
        while orders := [one for one in more if type(one).__name__ in ("Post", "Void", "Credit")]:
            kind = {"Post": EntryKind.POST, "Void": EntryKind.VOID, "Credit": EntryKind.CREDIT}[type(orders[0]).__name__]
            state, more = all_decisions(decide_payout, entry(kind), state=state)
            told += more
    assert state is not None
    return state, told


@pytest.mark.parametrize("order", list(permutations((ended(paid=True), BACK, BACK))))
def test_what_came_back_is_paid_first_and_returned_once(order: tuple[Any, ...]) -> None:
    state, told = played(order)
    assert (state.status, state.settling, state.returning) == (PayoutStatus.RETURNED, None, False)
    steps = [one.status for one in told if isinstance(one, PayoutStepped)]
    assert steps == [PayoutStatus.PAID, PayoutStatus.RETURNED]
    assert sum(isinstance(one, Credit) for one in told) == 1
    assert [(one.paid, one.returned_coins) for one in told if isinstance(one, EndDraw)] == [(True, 0), (False, 1_000)]
    assert played((BACK,), state) == (state, [])


def test_what_never_left_does_not_come_back() -> None:
    state, told = played((BACK, ended(paid=False), BACK))
    assert (state.status, [type(one) for one in told if isinstance(one, Credit)]) == (PayoutStatus.FAILED, [])
    assert played((BACK,), APPROVED) == (APPROVED, []), "no provider was asked"


def test_a_payment_that_came_back_was_paid_when_it_is_asked_about() -> None:
    said = _word(httpx.Response(200, json={"status": "returned"}))
    assert said == Attempt(AttemptOutcome.ACCEPTED, 200, "returned")


def test_who_tells_is_known_by_the_signature_and_strange_notices_are_kept() -> None:
    front = Front(payout_webhook_secret=SECRET)
    assert SENT is not None
    front.app.state.views.of(PAYOUT)["p"] = SENT

    def tell(body: Any, secret: str = SECRET, at: Front = front) -> tuple[int, str]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        signature = hmac.new(secret.encode(), content, sha256).hexdigest()
        answer = at.ask("POST", PATH, content=content, headers={"X-Payout-Signature": signature})
        return answer.status_code, answer.json().get("code") or answer.json()["status"]

    back = {"payment": "pay/p", "status": "returned"}
    assert tell(back, "guess") == tell(back, at=Front()) == (401, "signature_invalid")
    assert front.ask("POST", PATH, json=back).status_code == 401
    assert front.commands.asked == []
    bad: tuple[Any, ...] = (b"{", [], {"payment": "pay/"}, {"payment": "p", "status": "paid"}, back | {"status": "lost"})
    for wrong in bad:
        assert tell(wrong) == (400, "notice_unreadable")
    assert tell(b"[" * 5_000) == (400, "json_too_deep"), "what nobody parses is kept, too"
    assert tell(back | {"payment": "pay/another"}) == (200, "kept")
    assert tell(back | {"status": "paid"}) == (200, "noted")
    assert tell(back) == tell(back) == (200, "noted")
    assert [type(one).__name__ for one in front.commands.asked] == [*["DeadLetter"] * 7, "ReturnPayout", "ReturnPayout"]
