"""What a provider has paid is asked about again, since what comes back it may say only when it is asked.

A payout is asked about for `ask_days` of its terms behind its payment: banks return a payment within some working days, and who
recalls one may be answered weeks later. Each run asks about each of them once, those that are asked about longest first, and
sends what came back as the word that it is; the payout is returned once, whoever says so first. In memory are the names of the
payouts that are asked about.
"""

import time
from datetime import datetime
from typing import Final, NamedTuple

import httpx

from infra.config import Config
from infra.entities import states_of, tell
from infra.vendors.payouts import CALLS_PER_S, RETURNED, ProviderAwayError, stands
from schemas.log.base import State, new_id, now
from schemas.payout import PAYOUT, Payout, ReturnPayout
from schemas.payout_fields import PAYOUT_PROVIDER, PayoutStatus

# Far more than are paid within weeks; a run asks about so many at most.
MOST: Final = 20_000
# A provider that does not answer so often is not asked about the others.
PATIENCE: Final = 5
PAID: Final = "paid"


class Asking(NamedTuple):
    """What a run came to: how many were asked about, those that came back, and those of which the provider says what cannot be
    (`strange`: the payout, and its word); `left`: how many are left for the next run."""

    asked: int
    returned: tuple[str, ...]
    strange: tuple[tuple[str, str], ...]
    left: int


def is_asked(state: State, at: datetime) -> bool:
    """Whether a payout is asked about."""
    if not isinstance(state, Payout) or state.status is not PayoutStatus.PAID or not state.provider:
        return False
    return state.ask_until is not None and at < state.ask_until


def ask_all(config: Config, client: httpx.Client, pause_s: float = 1 / CALLS_PER_S) -> Asking:
    """Ask about all that may come back still, and tell the log what has. Errors: ProviderAwayError, KafkaException."""
    at = now()
    found = [(state.ask_until, name) for name, state in states_of(config, PAYOUT, lambda _, one: is_asked(one, at))
             if isinstance(state, Payout)]  # fmt: skip
    names = [name for _, name in sorted(found, key=lambda one: (one[0] or at, one[1]))]
    returned, strange, silent = list[str](), list[tuple[str, str]](), 0
    for number, name in enumerate(names[:MOST]):
        time.sleep(pause_s if number else 0)
        try:
            said = stands(config, client, name)
        except ProviderAwayError:
            silent += 1
            if silent >= PATIENCE:
                raise
            continue
        silent = 0
        if said == RETURNED:
            tell(config, PAYOUT, name, ReturnPayout(id=new_id(), at=now(), payout=name, by=PAYOUT_PROVIDER))
            returned.append(name)
        elif said != PAID:
            strange.append((name, said))
    return Asking(min(len(names), MOST), tuple(returned), tuple(strange), max(0, len(names) - MOST))
