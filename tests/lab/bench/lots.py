"""What lots cost the ledger: the real account decider on Olo's host, over accounts whose coins have names and over accounts
whose coins have none, turn and turn about in one run. `python -m tests.lab.bench.lots TOPIC GROUP` is the host of one turn."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from infra.config import load
from pipelines.balance import decide_account
from pipelines.runtime.core import Core, Decider
from pipelines.runtime.flow import run
from pipelines.runtime.worker import Worker
from schemas.balance import Account, AccountRefused, Credit, EntryRecorded, OpenAccount, Reason, Transfer, coins_account
from schemas.balance_lots import Lot
from schemas.log.base import AccountId, Message, now
from schemas.log.codec import encode
from schemas.log.entity import Entity, Flow
from schemas.log.topics import Route
from tests.lab.bench.ground import committed, fill, ground, make_topics, rate

ACCOUNTS = 20_000
COMMANDS = 400_000
# Twice each, in an order that a machine that slows down favours neither of.
TURNS = {"plain": 0, "usual": 1, "many": 2, "many2": 2, "usual2": 1, "plain2": 0}
AIM = 0.9


def records(commands: int, accounts: int, purchases: int) -> Iterator[tuple[bytes, bytes]]:
    """Accounts are opened and filled, by two credits, so many of which are purchases with a bonus: two lots each. Then coins go
    out and come in by turns."""
    at = now()
    for number in range(commands):
        turn, which = divmod(number, accounts)
        account = coins_account(f"a{which}")
        message = _message(number, turn, account, lots=turn <= purchases, at=at)
        yield account.encode(), encode(message)


def _message(number: int, turn: int, account: AccountId, *, lots: bool, at: datetime) -> Message:
    name: dict[str, Any] = {"id": f"{number:032x}", "at": at, "account": account}
    if turn == 0:
        return OpenAccount(**name)
    if turn in (1, 2):
        named = (Lot(f"apple:{turn}", 100), Lot(f"apple:{turn}/bonus", 20, now() + timedelta(days=turn))) if lots else ()
        return Credit(**name, counterparty=AccountId("@apple"), coins=120, reason=Reason.PURCHASE, lots=named)
    if turn % 2:
        return Transfer(**name, to=AccountId("@shop"), coins=7, reason=Reason.GIFT)
    return Credit(**name, counterparty=AccountId("@promotions"), coins=5, reason=Reason.GRANT)


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print each turn's rate, and the ratio of both."""
    accounts, commands = max(1, int(ACCOUNTS * scale)), int(COMMANDS * scale)
    rates: dict[str, float] = {}
    tell(f"lots: {commands:,} commands over {accounts:,} accounts, with two lots (usual), four (many) or none (plain)")
    with ground() as config:
        make_topics(config, *(f"{name}.{part}" for name in TURNS for part in ("inbox", "events")))
        make_topics(config, *(f"{name}.state" for name in TURNS), compacted=True)
        for name, purchases in TURNS.items():
            fill(config, f"{name}.inbox", records(commands, accounts, purchases))
        for name in TURNS:
            topic = f"{name}.inbox"
            rates[name] = rate(committed(config, name, topic), commands, ["-m", "tests.lab.bench.lots", topic, name], config)
            tell(f"  {name:<7} {rates[name]:>9,.0f} commands/s")
    for name in ("usual", "many"):
        ratio = (rates[name] + rates[f"{name}2"]) / (rates["plain"] + rates["plain2"])
        tell(f"  {name} / plain {ratio:5.2f}   (aim {AIM}: {'reached' if ratio >= AIM else 'NOT reached'})")


def host(topic: str, group: str) -> None:
    """One turn's process."""
    commands, facts = (OpenAccount, Credit, Transfer), (EntryRecorded, AccountRefused)
    name = topic.removesuffix(".inbox")
    entity = Entity(name, key="account", flow=Flow.MONEY, state=Account, commands=commands, facts=facts)
    table: dict[type[Message], tuple[Route, ...]] = {
        fact: (Route(entity.events, attrgetter("account")),) for fact in facts
    }  # fmt: skip
    run(group, Worker(group, 0, Core([Decider(entity, decide_account)], table), load()))


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp(prefix="olo-lots-"))
    host(*sys.argv[1:])
