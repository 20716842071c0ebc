"""The city's accounting: what phones saw on their feeds, held against receipts, gifts and balances, to the coin.

Laws: each account's entries follow each other and end at the balance that HTTP answers; a call's entries are its receipt; a
gift's are its price and share; coins granted and bought = coins on all accounts less what is owed + what stayed with the
platform + what was paid out; no call is left open.
"""

import asyncio
import time
from collections import Counter
from typing import Any, Final

from tests.lab.city.life import GIFTS, Person
from tests.lab.city.phone import Phone, Sights
from tests.lab.city.trade_books import TradeBooks

# The longest thing that is under way when people go home: a lost phone is noticed after 20 s, a ring ends after 30.
QUIET_S: Final = 60.0
MARGIN: Final = "platform's margin"
NOTHING: Final = {"seq": -1, "balance_coins": 0, "held_coins": 0, "debt_coins": 0}


class Books:
    """The audit: `broken` laws, and the sums. Use: `await close()` once all actions have ended, feeds still open. `trade`: the
    books of stores and payouts, where there are any."""

    def __init__(self, people: list[Person], sights: Sights, trade: TradeBooks | None = None) -> None:
        self.broken: list[str] = []
        self.sums: Counter[str] = Counter()
        self._trade = trade
        self._phones = {person.phone.user: person.phone for person in people} | (trade.agencies if trade is not None else {})
        self._sights = sights
        self._moved: dict[str, Counter[str]] = {}

    async def close(self) -> None:
        """Wait until nothing is under way, then check everything."""
        receipts = await self._receipts()
        await self._balances()
        for phone in self._phones.values():
            for account, entries in phone.entries.items():
                for entry in entries[1:]:
                    if entry.reason == "share":
                        continue  # which a call's receipt knows nothing of
                    self._moved.setdefault(entry.ref, Counter())[account] += entry.coins
        for call, receipt in receipts.items():
            self._receipt(call, receipt)
        self._gifts()
        margin = self.sums["calls paid"] - self.sums["calls earned"] + self.sums["gifts paid"] - self.sums["gifts shared"]
        self.sums[MARGIN] = margin
        if self._trade is not None:
            await self._trade.close(self._phones)
            self.broken += self._trade.broken
            self.sums.update(self._trade.sums)
        granted, bought, paid_out = self._sights.granted_coins, self.sums["coins bought"], self.sums["coins paid out"]
        on_accounts, owed = self.sums["on accounts"], self.sums["owed"]
        if granted + bought != on_accounts - owed + margin + paid_out:
            self._break(f"{granted:,} coins were granted and {bought:,} bought, {on_accounts:,} are on accounts, of which "
                        f"{owed:,} are owed, {margin:,} stayed with the platform, {paid_out:,} were paid out")  # fmt: skip

    def _break(self, law: str) -> None:
        self.broken.append(law)

    async def _receipts(self) -> dict[str, Any]:
        """The receipt of every call that rang, closed."""
        found: dict[str, Any] = {}
        deadline = time.monotonic() + QUIET_S
        open_calls = dict.fromkeys(self._sights.calls)
        while open_calls:
            for call in list(open_calls):
                answer = await self._sights.calls[call].ask("GET", f"/v1/calls/{call}/receipt")
                if answer is not None and answer.json()["closed"]:
                    found[call] = answer.json()
                    del open_calls[call]
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(1 if open_calls else 0)
        for call in open_calls:
            self._break(f"call {call}: its bill is still open {QUIET_S:.0f} s after everybody went home")
        return found

    async def _balances(self) -> None:
        """What HTTP answers is what the feed showed last; waits for feeds that are a moment behind."""
        for user, phone in self._phones.items():
            for book in ("coins", "earnings"):
                account = f"{user}/{book}"
                found = await self._settled(phone, book, account)
                seen = phone.entries[account][-1]
                owed = sum(entry.debt_change_coins for entry in phone.entries[account])
                told = (found["seq"], found["balance_coins"], found["held_coins"], found["debt_coins"])
                if told != (seen.seq, seen.balance_coins, 0, owed):
                    self._break(f"{account}: HTTP says {found}, the feed showed {seen}, and {owed} owed")
                self.sums["owed"] += owed
                self.sums["on accounts"] += found["balance_coins"]
                self.sums["entries seen"] += len(phone.entries[account]) - 1

    @staticmethod
    async def _settled(phone: Phone, book: str, account: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(100):
            answer = await phone.ask("GET", f"/v1/balance?book={book}")
            found = answer.json() if answer is not None else NOTHING
            if found["seq"] == phone.entries[account][-1].seq and not found["held_coins"]:
                break
            await asyncio.sleep(0.1)
        return found

    def _receipt(self, call: str, receipt: dict[str, Any]) -> None:
        moved = self._moved.pop(call, Counter())
        payer, earner = f"{receipt['payer']}/coins", f"{receipt['earner']}/earnings"
        if (-moved.pop(payer, 0), moved.pop(earner, 0)) != (receipt["paid_coins"], receipt["earned_coins"]) or +moved:
            self._break(f"call {call}: the receipt says {receipt['paid_coins']} and {receipt['earned_coins']}, feeds differ")
        self.sums["calls"] += 1
        self.sums["calls paid"] += receipt["paid_coins"]
        self.sums["calls earned"] += receipt["earned_coins"]

    def _gifts(self) -> None:
        for gift, given in self._sights.gifts.items():
            price, share = GIFTS[given["gift"]]
            moved = self._moved.pop(gift, Counter())
            if moved != {f"{given['from']}/coins": -price, f"{given['to']}/earnings": share}:
                self._break(f"gift {gift} of {price} and {share}: the feeds showed {dict(moved)}")
            self.sums["gifts"] += 1
            self.sums["gifts paid"] += price
            self.sums["gifts shared"] += share
