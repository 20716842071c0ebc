"""The auditor: reads a whole log, knows nothing of how it was made, and says which laws of money it breaks.

Source of every check: the raw records of the account and transfer topics, and of the feed, as JSON. It shares no code with the
deciders; the expected entries come from the second ledger in `tests.lab.proofs.ledger`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from tests.lab.proofs.ledger import Json, NaiveLedger

MAX_TOLD = 20


class Row(NamedTuple):
    """One record of a topic, decoded; None: the key was deleted."""

    partition: int
    key: str
    value: Json | None


Read = Callable[[str], Iterable[Row]]


class Audit:
    """The laws that a log breaks (`broken`) and what was counted (`counts`)."""

    def __init__(self, read: Read) -> None:
        self.broken: list[str] = []
        self.counts: dict[str, int] = {}
        self.inbox = [row for row in read("account.inbox") if row.value]
        self.events = [row for row in read("account.events") if row.value]
        self.entries: dict[str, list[Json]] = defaultdict(list)
        for row in self.events:
            if row.value and row.value["type"] == "EntryRecorded":
                self.entries[row.key].append(row.value)
        self._books()
        self._fold()
        self._changelog(read("account.state"))
        self._conservation()
        self._transfers(list(read("transfer.inbox")), list(read("transfer.events")))
        self._feed(read("feed"))

    def _break(self, law: str) -> None:
        if len(self.broken) < MAX_TOLD:
            self.broken.append(law)

    def _books(self) -> None:
        """Each account's entries by themselves: seq, sums, times, bounds."""
        for account, entries in self.entries.items():
            balance = held = seq = debt = 0
            last = datetime.min.replace(tzinfo=UTC)
            for entry in entries:
                balance += entry.get("coins", 0)
                held += entry.get("held_change_coins", 0)
                at = datetime.fromisoformat(entry["at"])
                if entry["seq"] != seq + 1:
                    self._break(f"{account}: seq {entry['seq']} follows {seq}")
                if (entry["balance_coins"], entry["held_coins"]) != (balance, held):
                    self._break(f"{account} seq {entry['seq']}: says {entry['balance_coins']}, the fold says {balance}")
                debt += entry.get("debt_change_coins", 0)
                if debt < 0 or entry.get("debt_coins", 0) != debt:
                    self._break(f"{account} seq {entry['seq']}: owes {entry.get('debt_coins', 0)}, the fold says {debt}")
                if not 0 <= held <= balance:
                    self._break(f"{account} seq {entry['seq']}: held {held} of {balance}")
                if at < last:
                    self._break(f"{account} seq {entry['seq']}: time goes back")
                seq, last = entry["seq"], at
        self.counts["accounts"] = len(self.entries)
        self.counts["entries"] = sum(map(len, self.entries.values()))

    def _fold(self) -> None:
        """The events are what the naive ledger makes of the inbox, in order, in every partition."""
        ledger = NaiveLedger()
        expected: dict[int, list[Json]] = defaultdict(list)
        for row in self.inbox:
            for fact in ledger.apply(row.value or {}):
                expected[row.partition].append({**fact, "cause": (row.value or {})["id"]})
        found: dict[int, list[Json]] = defaultdict(list)
        for row in self.events:
            found[row.partition].append(row.value or {})
        for partition in expected.keys() | found.keys():
            if len(expected[partition]) != len(found[partition]):
                self._break(f"partition {partition}: {len(found[partition])} facts for {len(expected[partition])} due")
            for due, fact in zip(expected[partition], found[partition], strict=False):
                if any(fact.get(field, type(value)()) != value for field, value in due.items()):
                    self._break(f"partition {partition}: {fact} where {due} was due")
                    break
        self.counts["refusals"] = sum("refusal" in fact for facts in expected.values() for fact in facts)

    def _changelog(self, rows: Iterable[Row]) -> None:
        states = {row.key: row.value for row in rows if row.value}
        for account, entries in self.entries.items():
            state, last = states.pop(account, None) or {}, entries[-1]
            said = (state.get("seq"), state.get("balance_coins", 0), state.get("held_coins", 0))
            if said != (last["seq"], last["balance_coins"], last["held_coins"]):
                self._break(f"{account}: the changelog says {said}, the last entry {last}")
            if sum(hold["coins"] for hold in state.get("holds", [])) != last["held_coins"]:
                self._break(f"{account}: standing holds differ from what is held")
            self._lots_and_debt(account, state, last)
            if state.get("closed") and last["balance_coins"] != last["held_coins"]:
                self._break(f"{account} is closed, and has coins that are free: {last}")
        if states:
            self._break(f"the changelog knows accounts without entries: {sorted(states)[:3]}")

    def _lots_and_debt(self, account: str, state: Json, last: Json) -> None:
        lots = sum(lot["coins"] for lot in state.get("lots", []))
        if lots > last["balance_coins"]:
            self._break(f"{account}: {lots} coins in lots, {last['balance_coins']} on the account")
        debt = state.get("debt_coins", 0)
        if debt != last.get("debt_coins", 0):
            self._break(f"{account}: the changelog says {debt} are owed, the last entry {last}")
        if debt and not state.get("closed") and last["balance_coins"] != last["held_coins"]:
            self._break(f"{account} owes {debt}, and has coins that are free: {last}")

    def _conservation(self) -> None:
        ids = Counter((row.value or {})["id"] for row in self.inbox if (row.value or {})["type"] in ("Credit", "Transfer"))
        for message, times in ids.items():
            if times > 1:
                self._break(f"{message} was told {times} times")
        within = outside = 0
        for entries in self.entries.values():
            for entry in entries:
                coins = entry.get("coins", 0) - entry.get("debt_change_coins", 0)
                if entry.get("counterparty", "@").startswith("@"):
                    outside += coins
                else:
                    within += coins
        held = sum(entries[-1]["balance_coins"] - entries[-1].get("debt_coins", 0) for entries in self.entries.values())
        if within:
            self._break(f"coins between accounts do not cancel out: {within}")
        if held != outside:
            self._break(f"{held} coins are on accounts, less what is owed, and {outside} came from outside")
        self.counts["coins"] = held

    def _transfers(self, asked: list[Row], told: list[Row]) -> None:
        requests = Counter(row.value["id"] for row in asked if row.value and row.value["type"] == "PlaceTransfer")
        answers: dict[str, list[Json]] = defaultdict(list)
        settled: dict[str, list[Json]] = defaultdict(list)
        for row in told:
            if row.value:
                answers[row.value["cause"]].append(row.value)
                if row.value["type"] == "TransferSettled":
                    settled[row.key].append(row.value)
        for request, times in requests.items():
            if not 1 <= len(answers[request]) <= times:
                self._break(f"request {request} came {times} times and was answered {len(answers[request])} times")
        if answers.keys() - requests.keys():
            self._break(f"answers without a request: {sorted(answers.keys() - requests.keys())[:3]}")
        moved: dict[str, Counter[str]] = defaultdict(Counter)
        for account, entries in self.entries.items():
            for entry in entries:
                moved[entry.get("transfer", "")][account] += entry.get("coins", 0)
        for transfer, facts in settled.items():
            self._settled(transfer, facts, {a: c for a, c in moved[transfer].items() if c})
        self.counts |= {"requests": requests.total(), "transfers": len(settled)}

    def _settled(self, transfer: str, facts: list[Json], moved: dict[str, int]) -> None:
        fact, *others = facts
        if others:
            self._break(f"transfer {transfer} was settled {len(facts)} times")
        due: dict[str, int] = {}
        if fact["outcome"]["status"] == "completed":
            legs = ((fact["payer"], -fact["coins"]), (fact["payee"], fact["coins"]))
            due = {account: coins for account, coins in legs if not account.startswith("@")}
        if moved != due:
            self._break(f"transfer {transfer} moved {moved}, due was {due}")

    def _feed(self, rows: Iterable[Row]) -> None:
        shown: dict[str, list[Json]] = defaultdict(list)
        for row in rows:
            if row.value and row.value["type"] == "EntryRecorded":
                shown[row.value["account"]].append(row.value)
        for account in self.entries.keys() | shown.keys():
            if [e["seq"] for e in shown[account]] != [e["seq"] for e in self.entries[account]]:
                self._break(f"{account}: the feed shows other entries than the book has")
        self.counts["shown"] = sum(map(len, shown.values()))
