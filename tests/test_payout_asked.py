"""What a provider has paid is asked about again for some weeks: what came back is found once, and nothing else moves coins."""

from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
from msgspec.structs import replace

from infra import payouts_asked
from infra.config import load
from infra.payouts_asked import PATIENCE, ask_all, is_asked
from infra.vendors.payouts import ProviderAwayError, stands
from schemas.balance import EntryKind
from schemas.log.base import now
from schemas.payout import Payout, ReturnPayout, Terms
from schemas.payout_fields import PayoutStatus
from tests.test_payout import T, entry
from tests.test_payout_provider import SENT, decide, ended
from tests.test_payout_returned import BACK, played

CONFIG: Final = load(payout_url="http://provider", payout_key="secret")
Answers = dict[str, tuple[int, Any]]


def client_of(answers: Answers, asked: list[str]) -> httpx.Client:
    """A provider that says what it is told to, by payout; of others it has not heard."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        name = request.url.path.rpartition("/")[2].removeprefix("pay%2F")
        asked.append(name)
        status, body = answers.get(name, (404, {"error": "unknown"}))
        if not status:
            raise httpx.ReadTimeout("no answer", request=request)
        return httpx.Response(status, content=body) if isinstance(body, bytes) else httpx.Response(status, json=body)

    return httpx.Client(transport=httpx.MockTransport(answer))


def paid(ask_days: int = 30) -> Payout:
    assert SENT is not None
    state, _ = played((ended(paid=True),), replace(SENT, ask_days=ask_days))
    return state


def test_a_payment_is_asked_about_for_the_days_of_its_terms() -> None:
    state = paid()
    assert (state.status, state.ask_until) == (PayoutStatus.PAID, T + timedelta(days=30))
    assert Terms().ask_days == 30
    rows = [
        (state, T, True), (state, T + timedelta(days=29), True), (state, T + timedelta(days=30), False),
        (paid(0), T, False), (replace(state, ask_until=None), T, False), (replace(state, provider=""), T, False),
        (played((BACK,), state)[0], T, False), (SENT, T, False), (Terms(), T, False),
    ]  # fmt: skip
    for one, at, due in rows:
        assert is_asked(one, at) is due
    by_bank, _ = decide(
        replace(state, provider="", status=PayoutStatus.EXPORTED, settling=PayoutStatus.PAID), entry(EntryKind.POST)
    )
    assert (by_bank.status, by_bank.ask_until) == (PayoutStatus.PAID, None)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Payout], list[tuple[str, Any]]]:
    """Payouts as the log has them, and what it is told."""
    known: dict[str, Payout] = {}
    told: list[tuple[str, Any]] = []

    def states(_: Any, __: Any, keep: Any) -> Any:
        return ((name, one) for name, one in known.items() if keep(name, one))

    monkeypatch.setattr(payouts_asked, "states_of", states)
    monkeypatch.setattr(payouts_asked, "tell", lambda _, __, key, command: told.append((key, command)))
    return known, told


def test_what_came_back_is_told_and_what_cannot_be_is_for_a_person(
    log: tuple[dict[str, Payout], list[tuple[str, Any]]],
) -> None:
    known, told = log
    until = now() + timedelta(days=1)
    for number, name in enumerate(("back", "paid", "pending", "failed", "unknown", "over")):
        known[name] = replace(paid(), ask_until=until + timedelta(days=-number if name == "over" else number))
    asked: list[str] = []
    answers = {
        name: (200, {"status": "returned" if name == "back" else name}) for name in ("back", "paid", "pending", "failed")
    }
    run = ask_all(CONFIG, client_of(answers, asked), 0)
    assert asked == ["back", "paid", "pending", "failed", "unknown"], "those that are asked about longest first"
    assert [(key, type(one), one.payout) for key, one in told] == [("back", ReturnPayout, "back")]
    assert (run.asked, run.returned, run.left) == (5, ("back",), 0)
    assert dict(run.strange) == {"pending": "pending", "failed": "failed", "unknown": "that it has never heard of it"}
    state, _ = played((told[0][1], BACK, told[0][1]), known["back"])
    assert (state.status, state.settling) == (PayoutStatus.RETURNED, None)


def test_a_provider_that_does_not_answer_is_not_asked_for_long(log: tuple[dict[str, Payout], list[tuple[str, Any]]]) -> None:
    known, told = log
    known |= {f"p{number}": replace(paid(), ask_until=now() + timedelta(days=1)) for number in range(20)}
    asked: list[str] = []
    with pytest.raises(ProviderAwayError):
        ask_all(CONFIG, client_of(dict.fromkeys(known, (0, None)), asked), 0)
    assert (len(asked), told) == (PATIENCE, [])
    some: Answers = {name: (0, None) if name < "p18" else (200, {"status": "paid"}) for name in list(known)[::3]}
    assert ask_all(CONFIG, client_of({**dict.fromkeys(known, (200, {"status": "paid"})), **some}, asked), 0).strange == ()


@pytest.mark.parametrize(
    "said", [(500, {"status": "returned"}), (401, {}), (200, []), (200, {"status": ["returned"]}), (200, b"<html>"), (0, None)]
)
def test_what_is_no_word_of_the_providers_moves_nothing(said: tuple[int, Any]) -> None:
    with pytest.raises(ProviderAwayError):
        stands(CONFIG, client_of({"p": said}, []), "p")


def test_no_more_than_so_many_are_asked_about_in_a_run(
    log: tuple[dict[str, Payout], list[tuple[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, _ = log
    monkeypatch.setattr(payouts_asked, "MOST", 2)
    known |= {f"p{number}": replace(paid(), ask_until=now() + timedelta(days=9 - number)) for number in range(3)}
    asked: list[str] = []
    run = ask_all(CONFIG, client_of(dict.fromkeys(known, (200, {"status": "paid"})), asked), 0)
    assert (asked, run.left) == (["p2", "p1"], 1)
