"""The money flow in the simulator: clients that sign up, grant, transfer, hold, post, void, freeze and
set daily caps; laws by the auditor.

`python -m tests.lab.simulated_money 2000` (or `make simulate`) plays so many seeds and prints the counts.
"""

import json
import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from pipelines.flows.deciders import decider_of, deciders
from pipelines.runtime.core import Output
from pipelines.runtime.simulator import EPOCH, Log, Setup, schedule_of, search, tell
from schemas.balance import Clawback, Freeze, Hold, Post, Reason, SetCap, Unfreeze, Void, WriteOff
from schemas.log import topics
from schemas.log.base import AccountId, HoldId, Message, TransferId, UserId
from schemas.log.codec import encode
from schemas.log.entity import DEFAULT_PARTITIONS, Flow, partition_of
from schemas.transfer import PlaceTransfer
from schemas.user import USER, Role, SignUp
from tests.lab.proofs.auditor import Audit, Read, Row
from tests.lab.proofs.ledgers import broken_ledgers

DECIDERS = (decider_of(USER), *deciders(Flow.MONEY))
USERS = 6
SENDS = 120


def output_of(message: Message) -> Output:
    """The inbox record of a command."""
    (route,) = topics.routes()[type(message)]
    key = route.key(message).encode()
    return Output(route.topic, partition_of(key, route.partitions), key, encode(message))


def workload(chance: random.Random) -> Iterator[Output]:
    """Sign-ups first, for most of the users; then money, hot on few accounts."""
    at = EPOCH
    people = [UserId(f"u{n}") for n in range(USERS)]
    holds: list[tuple[AccountId, HoldId]] = []
    for n, person in enumerate(people[:-1]):
        yield output_of(SignUp(id=f"s{n}", at=at, user=person, role=Role.USER))
    placed: list[PlaceTransfer] = []
    for n in range(SENDS):
        at += timedelta(seconds=chance.expovariate(1.0))
        payer, payee = (AccountId(f"{chance.choice(people)}/{chance.choice(('coins', 'earnings'))}") for _ in range(2))
        kinds = ("grant", "transfer", "again", "hold", "end", "freeze", "bought", "refunded", "forgiven", "cap")
        kind = chance.choices(kinds, (24, 32, 8, 12, 12, 3, 8, 5, 1, 4))[0]
        coins = chance.randrange(1, 120)
        if kind == "again" and placed:
            yield output_of(_again(chance, chance.choice(placed), f"m{n}"))
        elif kind == "hold":
            holds.append((payer, HoldId(f"h{n}")))
            expires_at = at + timedelta(seconds=chance.choice((-1, 5, 60, 600)))
            yield output_of(
                Hold(
                    id=f"m{n}",
                    at=at,
                    account=payer,
                    hold=HoldId(f"h{n}"),
                    to=payee,
                    coins=coins,
                    reason=Reason.CALL,
                    expires_at=expires_at,
                )
            )
        elif kind == "end" and holds:
            account, hold = chance.choice(holds)
            if chance.random() < 0.6:
                yield output_of(Post(id=f"m{n}", at=at, account=account, hold=hold, coins=coins))
            else:
                yield output_of(Void(id=f"m{n}", at=at, account=account, hold=hold))
        elif kind in ("bought", "refunded", "forgiven"):
            yield output_of(_of_a_purchase(chance, kind, payer, at, n))
        elif kind == "cap":
            limit = chance.choice((None, 0, 50, 200, 1_000))
            yield output_of(SetCap(id=f"m{n}", at=at, account=payer, cap_coins=limit, staff=chance.random() < 0.3))
        elif kind == "freeze":
            yield output_of((Freeze if chance.random() < 0.4 else Unfreeze)(id=f"m{n}", at=at, account=payer))
        else:
            outside = kind == "grant"
            request = PlaceTransfer(
                id=f"m{n}",
                at=at,
                transfer=TransferId(str(uuid.UUID(int=n))),
                payer=AccountId("@promotions") if outside else payer,
                payee=payee if outside or chance.random() < 0.9 else AccountId("@shop"),
                coins=coins,
                reason=Reason.GRANT if outside else chance.choice((Reason.TRANSFER, Reason.GIFT)),
            )
            placed.append(request)
            yield output_of(request)


def _again(chance: random.Random, request: PlaceTransfer, message: str) -> PlaceTransfer:
    """A client's retry: the same contents under a new message id, now and then other contents."""
    coins = request.coins if chance.random() < 0.8 else request.coins + 1
    return PlaceTransfer(
        id=message, at=request.at, transfer=request.transfer, payer=request.payer, payee=request.payee, coins=coins,
        reason=request.reason,
    )  # fmt: skip


def _of_a_purchase(chance: random.Random, kind: str, account: AccountId, at: datetime, n: int) -> Message:
    """Coins that expire; a refund of some, of these first or of others; or what is owed is forgiven."""
    coins, name, store = chance.randrange(2, 120), str(uuid.UUID(int=chance.randrange(n + 1))), AccountId("@apple")
    if kind == "forgiven":
        return WriteOff(id=f"m{n}", at=at, account=account, coins=coins // 9 + 1, debt_coins=coins)
    if kind == "refunded":
        limit = chance.choice((None, 40))
        return Clawback(
            id=f"m{n}", at=at, account=account, counterparty=store, coins=coins, reason=Reason.REFUND, lots=(name,),
            freeze_above_coins=limit,
        )  # fmt: skip
    return PlaceTransfer(
        id=f"m{n}", at=at, transfer=TransferId(str(uuid.UUID(int=n))), payer=store, payee=account, coins=coins,
        reason=Reason.PURCHASE, expires_at=at + timedelta(seconds=chance.choice((1, 30, 300))),
    )  # fmt: skip


def reader_of(log: Log) -> Read:
    """The log as auditors read it."""

    def read(topic: str) -> Iterator[Row]:
        for partition, _, key, value in log.read(topic):
            yield Row(partition, key.decode(), None if value is None else json.loads(value))

    return read


def laws(log: Log) -> list[str]:
    """What the auditor finds broken."""
    read = reader_of(log)
    broken = [*Audit(read).broken, *broken_ledgers(read)]
    dead = sum(1 for _ in log.read("dead_letters"))
    return [*broken, f"{dead} dead letters"] if dead else broken


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS)


def report(setup: Setup, seeds: int) -> int:
    """Play seeds 0..seeds-1 and print what happened; 1 when a law broke."""
    began = time.monotonic()
    failure = search(setup, range(seeds))
    took = time.monotonic() - began
    if failure is not None:
        print(tell(failure))
        return 1
    steps = [schedule_of(seed, setup.workload, setup.drift_s) for seed in range(0, seeds, max(1, seeds // 50))]
    actions = sum(len(schedule) for schedule in steps) / len(steps)
    print(f"{seeds} schedules of about {actions:.0f} steps each, every law held, in {took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
