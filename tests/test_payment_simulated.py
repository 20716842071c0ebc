"""Payments in simulated schedules: all laws hold, and planted bugs are found."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from msgspec.structs import replace

from pipelines.balance import decide_account
from pipelines.purchase import decide_purchase
from pipelines.runtime.core import Decider
from pipelines.runtime.simulator import search, tell
from schemas.balance import ACCOUNT, Account, AccountInbox, Clawback, EntryKind, EntryRecorded
from schemas.log.base import Message
from schemas.log.entity import Entity
from schemas.purchase import PURCHASE, ClaimPurchase, Purchase, PurchaseInbox
from tests.lab.simulated_payments import SETUP

SEEDS = settings().max_examples // 2


def test_all_laws_hold_over_many_schedules() -> None:
    failure = search(SETUP, range(SEEDS))
    assert failure is None, tell(failure)


def believes_the_last_heard(state: Purchase | None, message: PurchaseInbox) -> tuple[Purchase | None, Sequence[Message]]:
    """The word that came last counts, not that which was signed last."""
    if isinstance(message, ClaimPurchase) and state is not None:
        message = replace(message, signed_at=max(message.signed_at, state.signed_at))
        state = replace(state, revoked_parts=min(state.revoked_parts, message.revoked_parts))
    return decide_purchase(state, message)


def credits_what_moves(state: Purchase | None, message: PurchaseInbox) -> tuple[Purchase | None, Sequence[Message]]:
    """The ledger is asked again while it still moves coins."""
    return decide_purchase(replace(state, moving_coins=0) if isinstance(message, ClaimPurchase) and state else state, message)


def forgets_the_debt(state: Account | None, message: AccountInbox) -> tuple[Account | None, Sequence[Message]]:
    """What cannot be taken back is given away."""
    if isinstance(message, Clawback) and state is not None and 0 < state.available_coins < message.coins:
        message = replace(message, coins=state.available_coins)
    return decide_account(state, message)


def asks_for_what_lapsed(state: Purchase | None, message: PurchaseInbox) -> tuple[Purchase | None, Sequence[Message]]:
    """A refund takes back a bonus that nobody could spend any more."""
    lapses = isinstance(message, EntryRecorded) and message.kind is EntryKind.LAPSE
    return (state, ()) if lapses else decide_purchase(state, message)


@pytest.mark.parametrize(
    ("entity", "bug"),
    [
        (PURCHASE, believes_the_last_heard), (PURCHASE, credits_what_moves), (ACCOUNT, forgets_the_debt),
        (PURCHASE, asks_for_what_lapsed),
    ],
)  # fmt: skip
def test_a_planted_bug_is_found(entity: Entity, bug: Callable[..., Any]) -> None:
    bugged = tuple(Decider(one.entity, bug) if one.entity is entity else one for one in SETUP.deciders)
    assert search(SETUP._replace(deciders=bugged), range(200)) is not None
