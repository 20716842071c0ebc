"""The auditor of the two ledgers: no entry moves coins between a name of the sandbox's and one of the ordinary ledger, both
ledgers close at each position of the log, and no payout knows of the sandbox. It reads raw records, and tells names apart by
itself."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.lab.proofs.auditor import Read

SANDBOX: Final = re.compile(r"(.*/sandbox_(coins|earnings)|@.*_sandbox)")
# The one exception: a platform that is a sandbox altogether pays ordinary accounts from there.
STORES: Final = ("@apple_sandbox", "@google_sandbox")


def is_sandbox(name: str) -> bool:
    """Whether it is a name of the sandbox's ledger."""
    return bool(SANDBOX.fullmatch(name))


def broken_ledgers(read: Read) -> Iterator[str]:
    """Each entry that crosses, each position at which a ledger does not close, each sandbox's name in a payout."""
    held, outside, under_way = Counter[bool](), Counter[bool](), Counter[bool]()
    for row in read("account.events"):
        entry = row.value or {}
        if entry.get("type") != "EntryRecorded":
            continue
        account, party = entry["account"], entry.get("counterparty", "")
        ours, coins = is_sandbox(account), entry.get("coins", 0) - entry.get("debt_change_coins", 0)
        if party and ours != is_sandbox(party) and (ours or party not in STORES):
            yield f"{account} has to do with {party}, of the other ledger: {entry}"
        theirs = is_sandbox(party) if party and party not in STORES else ours
        held[ours] += coins
        (outside if party.startswith("@") else under_way)[theirs] -= coins
        if any(held[one] + outside[one] + under_way[one] for one in (False, True)):
            yield f"a ledger does not close behind {entry}"
    for ours, coins in under_way.items():
        if coins:
            yield f"{coins} coins between accounts of {'the sandbox' if ours else 'the ordinary ledger'} do not cancel out"
    for topic in ("payout.events", "payee.events"):
        for row in read(topic):
            if "sandbox_" in str(row.value) or "_sandbox" in str(row.value):
                yield f"a payout knows of the sandbox: {row.value}"
