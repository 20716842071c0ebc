"""A transfer is done once and answered every time."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from pipelines.transfer import decide_transfer
from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, Reason, Refusal, Transfer
from schemas.log.base import REMEMBERED_FOR, AccountId, Message, TransferId, Wake
from schemas.transfer import MAX_ASKED, PlaceTransfer, TransferConflicted, TransferRepeated, TransferSettled, TransferStatus
from tests.decisions import all_decisions, decisions_of

decide = decisions_of(decide_transfer)
T = datetime(2030, 1, 1, tzinfo=UTC)


def place(message: str = "m1", coins: int = 5, payer: str = "ann/coins", payee: str = "bob/coins") -> PlaceTransfer:
    return PlaceTransfer(
        id=message, at=T, transfer=TransferId("t"), payer=AccountId(payer), payee=AccountId(payee), coins=coins,
        reason=Reason.TRANSFER,
    )  # fmt: skip


def entry(kind: EntryKind, account: str = "bob/coins") -> EntryRecorded:
    return EntryRecorded(
        id="e", at=T, cause="c", account=AccountId(account), seq=2, kind=kind, balance_coins=1, held_coins=0, transfer="t"
    )


def refused(account: str, refusal: Refusal = Refusal.INSUFFICIENT_COINS, short: int = 0) -> AccountRefused:
    return AccountRefused(
        id="r", at=T, cause="c", account=AccountId(account), command="x", refusal=refusal, shortfall_coins=short, transfer="t"
    )


play = partial(all_decisions, decide)


@pytest.mark.parametrize(
    ("request_", "leg", "ending", "status"),
    [
        (place(), Transfer, [entry(EntryKind.DEBIT, "ann/coins"), entry(EntryKind.CREDIT)], TransferStatus.COMPLETED),
        (place(payer="@promotions"), Credit, [entry(EntryKind.CREDIT)], TransferStatus.COMPLETED),
        (place(payee="@shop"), Transfer, [entry(EntryKind.DEBIT, "ann/coins")], TransferStatus.COMPLETED),
        (place(), Transfer, [refused("ann/coins")], TransferStatus.REFUSED),
        (place(payer="@promotions"), Credit, [refused("bob/coins", Refusal.ACCOUNT_UNKNOWN)], TransferStatus.REFUSED),
        (
            place(),
            Transfer,
            [entry(EntryKind.DEBIT, "ann/coins"), refused("bob/coins"), entry(EntryKind.RETURN, "ann/coins")],
            TransferStatus.REFUSED,
        ),
    ],
)
def test_one_leg_is_asked_for_and_the_end_is_told_once(
    request_: PlaceTransfer, leg: type[Message], ending: list[EntryRecorded | AccountRefused], status: TransferStatus
) -> None:
    state, told = play(request_, *ending, *ending)
    assert [type(message) for message in told] == [leg, TransferSettled]
    assert told[1].outcome.status is state.outcome.status is status
    assert told[1].cause == "m1"


def test_a_refusal_names_the_account_and_the_shortfall() -> None:
    _, told = play(place(), refused("ann/coins", short=3))
    outcome = told[-1].outcome
    assert (outcome.refusal, outcome.account, outcome.shortfall_coins) == (Refusal.INSUFFICIENT_COINS, "ann/coins", 3)


def test_between_two_outside_parties_nothing_is_booked() -> None:
    _, told = play(place(payer="@a", payee="@b"))
    assert [type(message) for message in told] == [TransferSettled]
    assert told[0].outcome.refusal is Refusal.ACCOUNT_UNKNOWN


def test_a_repeat_is_answered_with_the_same_outcome() -> None:
    ending = [entry(EntryKind.DEBIT, "ann/coins"), entry(EntryKind.CREDIT)]
    _, told = play(place(), place("m2"), *ending, place("m3"))
    answers = {message.cause: type(message) for message in told[1:]}
    assert answers == {"m1": TransferSettled, "m2": TransferRepeated, "m3": TransferRepeated}
    assert len({message.outcome for message in told[1:]}) == 1
    assert len({message.id for message in told}) == len(told)


def test_the_same_message_twice_is_one_request() -> None:
    state, told = play(place(), place())
    assert (len(told), state.asked) == (1, ("m1",))


def test_other_contents_under_the_same_id_are_a_conflict() -> None:
    _, told = play(place(), place("m2", coins=6))
    assert isinstance(told[1], TransferConflicted)
    assert (told[1].refusal, told[1].cause) == (Refusal.IDEMPOTENCY_KEY_REUSED, "m2")


def test_the_waiting_are_bounded() -> None:
    _, told = play(*(place(f"m{n}") for n in range(MAX_ASKED + 1)))
    assert told[-1].refusal is Refusal.IN_PROGRESS


def test_it_is_forgotten_after_a_day_but_not_before_it_ended() -> None:
    done, _ = play(place(), refused("ann/coins"))
    assert decide(done, Wake(id="w", at=T, key="t")) == (done, ())
    assert decide(done, Wake(id="w", at=T + REMEMBERED_FOR, key="t")) == (None, ())
    open_, _ = play(place())
    later, _ = decide(open_, Wake(id="w", at=T + REMEMBERED_FOR, key="t"))
    assert later.forget_at == T + 2 * REMEMBERED_FOR
    assert decide(None, Wake(id="w", at=T + timedelta(days=9), key="t")) == (None, ())
