"""Payouts in simulated schedules: all laws hold, and planted bugs are found."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from msgspec.structs import replace

from pipelines.agency import decide_membership
from pipelines.balance import decide_account
from pipelines.outbox import decide_outbox
from pipelines.payee import decide_payee
from pipelines.payout import decide_payout
from pipelines.runtime.core import Decider
from pipelines.runtime.simulator import search, tell
from schemas.agency import MEMBERSHIP, AcceptInvitation, Membership, MembershipInbox
from schemas.balance import ACCOUNT, Account, AccountInbox
from schemas.log.base import Message
from schemas.log.entity import Entity
from schemas.outbox import OUTBOX, AttemptOutcome, Effect, OutboxInbox, ReportAttempt
from schemas.payee import PAYEE, Payee, PayeeInbox
from schemas.payout import PAYOUT, DrawEarnings, EndDraw, ExportPayout, Payout, PayoutInbox, SettlePayout
from schemas.payout_fields import PayoutStatus
from tests.lab.simulated_payouts import SETUP

SEEDS = settings().max_examples // 2


def test_all_laws_hold_over_many_schedules() -> None:
    failure = search(SETUP, range(SEEDS))
    assert failure is None, tell(failure)


def forgets_what_went_out(state: Payee | None, message: PayeeInbox) -> tuple[Payee | None, Sequence[Message]]:
    """A draw does not take off what went out."""
    return decide_payee(replace(state, debits_coins=0) if isinstance(message, DrawEarnings) and state else state, message)


def draws_what_is_too_young(state: Payee | None, message: PayeeInbox) -> tuple[Payee | None, Sequence[Message]]:
    """A draw knows no reserve."""
    return decide_payee(state, replace(message, reserve_days=0) if isinstance(message, DrawEarnings) else message)


def loses_what_was_not_paid(state: Payee | None, message: PayeeInbox) -> tuple[Payee | None, Sequence[Message]]:
    """What came to nothing is done with, as if it had been paid."""
    return decide_payee(state, replace(message, paid=True) if isinstance(message, EndDraw) else message)


def is_sent_twice(state: Payout | None, message: PayoutInbox) -> tuple[Payout | None, Sequence[Message]]:
    """A second batch takes what the first one has taken."""
    sent = isinstance(message, ExportPayout) and state is not None and state.status is PayoutStatus.EXPORTED
    return decide_payout(replace(state, status=PayoutStatus.APPROVED) if sent and state else state, message)


def forgets_what_is_left_of_a_coin(state: Account | None, message: AccountInbox) -> tuple[Account | None, Sequence[Message]]:
    """Each earning's share is rounded down by itself."""
    if state is not None and state.share is not None:
        state = replace(state, share=replace(state.share, carried=0))
    return decide_account(state, message)


def belongs_to_two(state: Membership | None, message: MembershipInbox) -> tuple[Membership | None, Sequence[Message]]:
    """A streamer joins an agency without leaving another."""
    joins = isinstance(message, AcceptInvitation) and state is not None and state.agency
    return decide_membership(replace(state, agency="") if joins and state else state, message)


def takes_any_no_for_the_providers(state: Effect | None, message: OutboxInbox) -> tuple[Effect | None, Sequence[Message]]:
    """What nobody has answered was not sent."""
    if isinstance(message, ReportAttempt) and message.outcome is AttemptOutcome.FAILED:
        message = replace(message, outcome=AttemptOutcome.REFUSED, status=500, doubtful=False)
    return decide_outbox(state, message)


def is_settled_by_hand(state: Payout | None, message: PayoutInbox) -> tuple[Payout | None, Sequence[Message]]:
    """Finance may say what became of what the provider has."""
    by_hand = isinstance(message, SettlePayout) and state is not None
    return decide_payout(replace(state, provider="") if by_hand and state else state, message)


@pytest.mark.parametrize(
    ("entity", "bug"),
    [
        (PAYEE, forgets_what_went_out), (PAYEE, draws_what_is_too_young), (PAYEE, loses_what_was_not_paid),
        (PAYOUT, is_sent_twice), (ACCOUNT, forgets_what_is_left_of_a_coin), (MEMBERSHIP, belongs_to_two),
        (OUTBOX, takes_any_no_for_the_providers), (PAYOUT, is_settled_by_hand),
    ],
)  # fmt: skip
def test_a_planted_bug_is_found(entity: Entity, bug: Callable[..., Any]) -> None:
    bugged = tuple(Decider(one.entity, bug) if one.entity is entity else one for one in SETUP.deciders)
    assert search(SETUP._replace(deciders=bugged), range(200)) is not None
