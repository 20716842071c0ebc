"""Payments in the simulator: products that change, intents, transactions that phones and stores bring again and again, refunds,
partial ones and reversals in every order, consumption of what Google sold, coins that are spent, held, freed and forgiven
meanwhile, buyers who are erased, with crashes, lost commits and repeats.

Laws: those of money (`tests.lab.proofs.auditor`) and of the two ledgers (`tests.lab.proofs.ledgers`), and: of each purchase
exactly so much is credited as the store's last word says, but for what lapsed of its bonus, to its intent's user, as its
account's book and its own facts tell alike (unless an account refuses, which is asked again later); a purchase is credited for
the first time at most once; nothing waits for ever, and every claim is answered. Of each purchase at Google that was credited
Google is told so once, and of no other.

`python -m tests.lab.simulated_payments 2000` plays so many seeds and prints the counts.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from pipelines.flows.deciders import decider_of, deciders
from pipelines.runtime.core import Output, Written
from pipelines.runtime.simulator import EPOCH, Log, Setup
from schemas.adjustment import Act, PlaceAdjustment
from schemas.balance import Hold, Reason, Void
from schemas.balance_ledger import Ledger, account_in
from schemas.log.base import AccountId, HoldId, Message, TransferId, UserId
from schemas.log.codec import decoder_of
from schemas.log.entity import DEFAULT_PARTITIONS, Flow
from schemas.outbox import OUTBOX, AttemptOutcome, EffectDue, EffectKind, ReportAttempt
from schemas.payment import INTENT, PRODUCT, OpenIntent, PutProduct
from schemas.purchase import PURCHASE, WHOLE, ClaimPurchase, Store, purchase_name
from schemas.transfer import PlaceTransfer
from schemas.user import USER, EraseUser, Role, SignUp
from tests.lab.proofs.auditor import Audit
from tests.lab.proofs.ledgers import broken_ledgers
from tests.lab.proofs.purchases import broken_consumptions, broken_purchases
from tests.lab.simulated_money import output_of, reader_of, report

DECIDERS = (
    decider_of(USER), *deciders(Flow.MONEY), *map(decider_of, (PRODUCT, INTENT, PURCHASE, OUTBOX)),
)  # fmt: skip
USERS = tuple(map(UserId, ("ann", "bob", "cat")))
PURCHASES = 7
# What testers buy: one user has bought both for money and for nothing, and one only for nothing.
TESTED = (2, 3, 5)
SENDS = 70


def workload(chance: random.Random) -> Iterator[Output]:
    """Who signs up, what is sold, what is about to be bought; then stores, phones and spending in any order."""
    at = EPOCH
    for n, user in enumerate(USERS):
        yield output_of(SignUp(id=f"s{n}", at=at, user=user, role=Role.USER))
    yield output_of(_product("p0", at, 50))
    for n in range(PURCHASES):
        yield output_of(OpenIntent(id=f"i{n}", at=at, intent=f"i{n}", user=USERS[n % len(USERS)], product="c"))
    makers: tuple[tuple[int, Callable[[str, datetime], Message]], ...] = (
        (50, lambda name, at: _claim(chance, name, at)),
        (14, lambda name, at: _spend(chance, name, at)),
        (8, lambda name, at: _hold(chance, name, at)),
        (8, lambda name, at: Void(id=name, at=at, account=_account(chance), hold=HoldId(chance.choice("abc")))),
        (6, lambda name, at: _forgive(chance, name, at)),
        (4, lambda name, at: _product(name, at, chance.randrange(1, 90))),
        (1, lambda name, at: EraseUser(id=name, at=at, user=chance.choice(USERS), by="ops", reason="asked")),
    )
    for n in range(SENDS):
        at += timedelta(seconds=chance.expovariate(0.1) if chance.random() < 0.95 else 50_000)
        make = chance.choices([make for _, make in makers], [weight for weight, _ in makers])[0]
        yield output_of(make(f"m{n}", at))


def _account(chance: random.Random) -> AccountId:
    return account_in(chance.choices((Ledger.ORDINARY, Ledger.SANDBOX), (3, 1))[0], chance.choice(USERS))


def _product(name: str, at: datetime, coins: int) -> PutProduct:
    return PutProduct(
        id=name,
        at=at,
        product="c",
        coins=coins,
        bonus_coins=coins // 3,
        bonus_days=1,
        apple_id="a",
        google_id="a",
        freeze_above_debt_coins=40,
    )


def _claim(chance: random.Random, name: str, at: datetime) -> ClaimPurchase:
    """A word of the store's on one of few transactions: signed at one of few times, so that some are signed at once."""
    number = chance.randrange(PURCHASES)
    store, ledger = (Store.GOOGLE if number % 2 else Store.APPLE), Ledger.ORDINARY
    if number in TESTED:
        store, ledger = (Store.GOOGLE_SANDBOX if number % 2 else Store.APPLE_SANDBOX), Ledger.SANDBOX
    signed = chance.randrange(6)
    return ClaimPurchase(
        id=name, at=at, purchase=purchase_name(store, str(number)), user=chance.choice(("", "", *USERS)),
        token=f"t{number}" if number % 2 else "", store=store, ledger=ledger,
        intent=f"i{number}" if chance.random() < 0.95 else "other",
        purchased_at=EPOCH, store_product="a" if chance.random() < 0.95 else "b", quantity=1 + number % 3,
        signed_at=EPOCH + timedelta(seconds=signed), revoked_parts=chance.choice((0, 0, 0, 33_333, 50_000, WHOLE)),
    )  # fmt: skip


def _spend(chance: random.Random, name: str, at: datetime) -> PlaceTransfer:
    return PlaceTransfer(
        id=name, at=at, transfer=TransferId(name), payer=_account(chance), coins=chance.randrange(1, 60),
        reason=Reason.TRANSFER, payee=chance.choice((AccountId("@shop"), AccountId("@shop_sandbox"), _account(chance))),
    )  # fmt: skip


def _hold(chance: random.Random, name: str, at: datetime) -> Hold:
    return Hold(
        id=name, at=at, account=_account(chance), hold=HoldId(chance.choice("abc")),
        to=chance.choice((AccountId("@calls"), AccountId("@calls_sandbox"))),
        coins=chance.randrange(1, 60), reason=Reason.CALL, expires_at=at + timedelta(seconds=chance.choice((20, 90_000))),
    )  # fmt: skip


def _forgive(chance: random.Random, name: str, at: datetime) -> PlaceAdjustment:
    debt = chance.randrange(1, 80)
    return PlaceAdjustment(
        id=name, at=at, adjustment=TransferId(name), account=_account(chance), act=chance.choice(tuple(Act)),
        coins=chance.randrange(1, debt + 1), debt_coins=debt,
    )  # fmt: skip


class Dispatched(Log):
    """A log with a dispatch: what is due is reported at once, now and then as a failure, or twice."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(7)
        self._decode = decoder_of(OUTBOX.facts)

    def commit(self, outputs: Sequence[Written]) -> None:
        """One transaction, and behind it the reports."""
        super().commit(outputs)
        found = (self._decode(value or b"") for topic, _, _, value in outputs if topic == OUTBOX.events)
        for due in [one for one in found if isinstance(one, EffectDue) and one.kind is EffectKind.CONSUME]:
            outcome = self._chance.choices((AttemptOutcome.ACCEPTED, AttemptOutcome.FAILED), (2, 1))[0]
            report = ReportAttempt(
                id=f"{due.id}/report", at=self.time, effect=due.effect, attempt=due.attempt, outcome=outcome
            )  # fmt: skip
            self.append([output_of(report)] * self._chance.choice((1, 1, 2)))


def laws(log: Log) -> list[str]:
    """What is broken: in the ledger, and of purchases."""
    read = reader_of(log)
    dead = [f"{len(list(read('dead_letters')))} dead letters"] if any(read("dead_letters")) else []
    return [*Audit(read).broken, *broken_purchases(read), *broken_consumptions(read), *broken_ledgers(read), *dead]


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS, log=Dispatched)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
