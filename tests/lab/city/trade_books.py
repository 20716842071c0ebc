"""The city's books over money that comes in and goes out: the records of stores, the provider and the bank, which know nothing
of Olo's, held against what phones saw on their feeds and what analysts find in ClickHouse.

Laws: of each purchase exactly those coins came that its store's record says, and no others; the cash of both is the same, to
the cent; Google heard of each consumption once; a subscription stands where its store says; earnings = payouts + agencies'
shares + what is left, and each share is the accepted part of what was earned under it, rounded down; what the provider and the
bank have paid is what Olo calls paid, each once, in cents and coins.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from infra.clickhouse import connect
from tests.lab.city.payday import WORTH, Earner, Finance
from tests.lab.city.phone import Entry, Phone
from tests.lab.city.shopping import CLUB, CLUB_COINS, PACKS, Shopper, Stores

STORED_S: Final = 60.0
WHOLE_BPS: Final = 10_000
# The parts in which we tell how much of a purchase was taken back; and what rounding takes, in thousandths of a euro.
WHOLE: Final = 100_000
CENT: Final = 10
EARNED: Final = ("call", "gift")
# What moves on accounts of earnings; and on those of coins, between a store and its buyer.
OF_EARNINGS: Final = (*EARNED, "share", "payout")
OF_STORES: Final = ("purchase", "refund")

Json = dict[str, Any]


class TradeBooks:
    """`broken` laws, and the sums. `earners`: streamers and agencies; `shoppers`: who buys."""

    def __init__(self, stores: Stores, finance: Finance, shoppers: list[Shopper], earners: list[Earner], url: str) -> None:
        self.broken: list[str] = []
        self.sums: Counter[str] = Counter()
        self.agencies = {agency.phone.user: agency.phone for agency in finance.agencies}
        self._stores, self._finance, self._shoppers, self._earners, self._url = stores, finance, shoppers, earners, url
        self._records: Json = {}

    async def close(self, phones: Mapping[str, Phone]) -> None:
        """Hold everything against everything, when nothing is under way and feeds have shown all there is."""
        self._records = await self._stores.act("books")
        buyers = {shopper.phone.user for shopper in self._shoppers}
        sales = {name: one for name, one in self._records["sales"].items() if one["buyer"] in buyers}
        self.broken += [*self._purchases(sales, phones), *self._subscriptions(), *self._earnings(phones), *self._shares(phones)]
        client = await asyncio.to_thread(connect, self._url)
        self.broken += await self._in_time(lambda: self._cash(client, sales))
        self.broken += await self._in_time(lambda: self._payouts(client))
        self.broken += await self._consumed(sales)

    @staticmethod
    async def _in_time(look: Callable[[], list[str]]) -> list[str]:
        """What is wrong in the warehouse, which is a little behind."""
        deadline = time.monotonic() + STORED_S
        while (wrong := await asyncio.to_thread(look)) and time.monotonic() < deadline:
            await asyncio.sleep(1)
        return wrong

    # --- money in ----------------------------------------------------------------------------------------------------------

    def _purchases(self, sales: Mapping[str, Json], phones: Mapping[str, Phone]) -> Iterator[str]:
        booked: Counter[str] = Counter()
        for user, phone in phones.items():
            for entry in phone.entries[f"{user}/coins"][1:]:
                if entry.reason in OF_STORES:
                    booked[entry.ref] += entry.coins - entry.debt_change_coins
                    if sales.get(entry.ref, {}).get("buyer") != user:
                        yield f"{user} has coins of {entry.ref}, which no store has sold to them"
        for name, sale in sales.items():
            if booked[name] != (due := due_coins(sale)):
                yield f"{name}: {due} coins are {sale['buyer']}'s by the store's record {sale}, the feed showed {booked[name]}"
            self.sums["coins bought"] += due
            self.sums["sales"] += sale["paid"]
            self.sums["taken back"] += bool(sale["revoked"])
            self.sums["periods"] += bool(sale["subscription"])

    def _subscriptions(self) -> Iterator[str]:
        for shopper in self._shoppers:
            due = {
                name: (one["status"], one["renews"])
                for name, one in self._records["standings"].items() if one["buyer"] == shopper.phone.user
            }  # fmt: skip
            self.sums["subscriptions"] += len(due)
            if due != shopper.stands:
                yield f"{shopper.phone.user} subscribes to {due} at the store, the feed showed {shopper.stands}"

    def _cash(self, client: Client, sales: Mapping[str, Json]) -> list[str]:
        """Thousandths of a euro, purchase by purchase: what the store has taken, less what it gave back."""
        names = {"names": list(sales)}
        bought = client.query("SELECT purchase, price_milliunits FROM purchases FINAL "
                              "WHERE purchase IN {names:Array(String)}", names).result_rows  # fmt: skip
        taken = client.query("SELECT purchase, argMax(revoked_parts, (at, offset)) FROM refunds FINAL "
                             "WHERE purchase IN {names:Array(String)} GROUP BY purchase", names).result_rows  # fmt: skip
        back: dict[str, int] = {str(name): int(parts) for name, parts in taken}
        ours = {}
        for name, price in bought:
            ours[name] = price - price * back.get(name, 0) // WHOLE
        theirs = {
            name: sale["price_milliunits"] - sale["price_milliunits"] * sale["revoked"] // sale["parts"]
            for name, sale in sales.items() if sale["paid"]
        }  # fmt: skip
        self.sums["cash"], self.sums["cash in the warehouse"] = sum(theirs.values()), sum(ours.values())
        self.sums["cash taken"] = sum(sale["price_milliunits"] for sale in sales.values() if sale["paid"])
        wrong = [name for name in theirs.keys() | ours.keys() if abs(theirs.get(name, 0) - ours.get(name, 0)) >= CENT]
        return [f"{name}: the store has {theirs.get(name)} of it, we say {ours.get(name)}" for name in sorted(wrong)]

    async def _consumed(self, sales: Mapping[str, Json]) -> list[str]:
        """Google was told of each purchase that it has not taken back, and of no other more than once."""
        ours = {sale["id"]: sale for sale in sales.values() if sale["store"] == "google" and not sale["subscription"]}
        due = {id_ for id_, sale in ours.items() if sale["paid"] and sale["revoked"] < sale["parts"]}
        deadline = time.monotonic() + STORED_S
        while True:
            told = Counter(id_ for id_ in (await self._stores.act("books"))["consumed"] if id_ in ours)
            if due <= told.keys() or time.monotonic() > deadline:
                break
            await asyncio.sleep(1)
        self.sums["consumed"] = len(told)
        return [f"Google was told {told[id_]} times that {id_} is consumed" for id_ in due | told.keys() if told[id_] != 1]

    # --- money out ---------------------------------------------------------------------------------------------------------

    def _earnings(self, phones: Mapping[str, Phone]) -> Iterator[str]:
        for earner in self._earners:
            account = f"{earner.phone.user}/earnings"
            moved: Counter[str] = Counter()
            for entry in earner.phone.entries[account][1:]:
                moved[entry.reason] += entry.coins
            if unknown := [reason for reason, coins in moved.items() if coins and reason not in OF_EARNINGS]:
                yield f"{account}: coins moved for {unknown}"
            earned = sum(moved[reason] for reason in EARNED)
            left = phones[earner.phone.user].entries[account][-1].balance_coins
            self.sums.update({"coins earned": earned, "coins paid out": -moved["payout"], "coins left": left})
            self.sums["coins shared"] += max(0, moved["share"])

    def _shares(self, phones: Mapping[str, Phone]) -> Iterator[str]:
        given: Counter[tuple[str, str]] = Counter()
        for earner in self._earners:
            if earner.phone.user in self.agencies:
                continue
            account = f"{earner.phone.user}/earnings"
            yield from _split(account, earner.shares, earner.phone.entries[account][1:])
            given.update(_shared(account, earner.phone.entries[account], -1))
        had: Counter[tuple[str, str]] = Counter()
        for agency in self.agencies:
            account = f"{agency}/earnings"
            for (who, to), coins in _shared(account, phones[agency].entries[account], 1).items():
                had[to, who] += coins
        yield from (f"{way} shared {given[way]} coins, and {had[way]} arrived" for way in given | had if given[way] != had[way])

    def _payouts(self, client: Client) -> list[str]:
        """What the provider and the bank say of each payout, and what the warehouse says, in cents and coins."""
        users = {"users": [earner.phone.user for earner in self._earners]}
        question = ("SELECT payout, argMax(status, (at, offset)), any(coins), any(amount_cents), any(fee_cents) "
                    "FROM payout_steps FINAL WHERE user IN {users:Array(String)} GROUP BY payout")  # fmt: skip
        steps = {payout: tuple(rest) for payout, *rest in client.query(question, users).result_rows}
        by_provider = {id_.removeprefix("pay/"): one for id_, one in self._records["provider"].items()}
        by_bank = self._records["bank"]
        wrong = [f"{id_} came to the provider otherwise than before" for id_ in self._records["changed"]]
        wrong += [f"the provider knows {name}, which nobody asked for" for name in self._theirs(by_provider) - steps.keys()]
        for payout, (status, coins, cents, fee) in steps.items():
            taken, banked = by_provider.get(payout), by_bank.get(payout.replace("-", ""))
            said = {one for one in (_word_of(taken), banked and banked["word"]) if one} or {"rejected"}
            if {status} != said and not (status == "failed" and said == {"rejected"}):
                wrong.append(f"payout {payout} is {status}, by the provider and the bank {said}")
            if any(one["cents"] != cents for one in (taken, banked) if one) or (banked and banked["times"] > 1):
                wrong.append(f"payout {payout} of {cents} cents: the provider was told {taken}, the bank {banked}")
            if cents + fee != coins * WORTH // 100:
                wrong.append(f"payout {payout}: {cents} cents and {fee} of fee are not the worth of {coins} coins")
        paid = [step for step in steps.values() if step[0] == "paid"]
        if (coins := sum(step[1] for step in paid)) != self.sums["coins paid out"]:
            wrong.append(f"{coins} coins of payouts are paid, {self.sums['coins paid out']} left accounts")
        theirs = sum(one["cents"] for name, one in by_provider.items() if name in steps and one["paid"])
        theirs += sum(one["cents"] for id_, one in by_bank.items() if one["word"] == "paid" and _is_of(id_, steps))
        self.sums["payouts"], self.sums["payouts paid"] = len(steps), len(paid)
        self.sums["cents paid"], self.sums["cents of fees"] = sum(step[2] for step in paid), sum(step[3] for step in paid)
        self.sums["cents by provider and bank"] = theirs
        return wrong

    def _theirs(self, by_provider: Mapping[str, Json]) -> set[str]:
        users = {earner.phone.user for earner in self._earners}
        return {name for name, one in by_provider.items() if one["holder"] in users}


def due_coins(sale: Json) -> int:
    """What a store's record says that its buyer has to have of it; a part that is taken back is rounded in their favour."""
    each = CLUB_COINS if sale["product"] == CLUB else sum(PACKS[sale["product"]])
    coins = each * sale["quantity"] if sale["paid"] else 0
    return int(coins - coins * sale["revoked"] // sale["parts"])


def _word_of(taken: Json | None) -> str:
    if taken is None:
        return ""
    return "pending" if taken["pending"] else "paid" if taken["paid"] else "failed"


def _is_of(id_: str, payouts: Mapping[str, Any]) -> bool:
    return any(payout.replace("-", "") == id_ for payout in payouts)


def _shared(account: str, entries: list[Entry], sign: int) -> Counter[tuple[str, str]]:
    """Coins of shares by (this account, the other one)."""
    moved: dict[tuple[str, str], int] = defaultdict(int)
    for entry in entries[1:]:
        if entry.reason == "share" and entry.kind != "share":
            moved[account, entry.counterparty] += sign * entry.coins
    return Counter({way: coins for way, coins in moved.items() if coins})


def _split(account: str, accepted: Mapping[str, int], entries: list[Entry]) -> Iterator[str]:
    """A member's book: under each share the agency has what was accepted of all that was earned, rounded down."""
    agency, earned, had = "", 0, 0
    for entry in (*entries, Entry(0, 0, 0, "", "", "share")):
        if entry.kind == "share":
            if had != (due := earned * accepted.get(agency, 0) // WHOLE_BPS):
                yield f"{account}: {agency or 'nobody'} has {had} coins of {earned}, where {due} are due"
            agency, earned, had = entry.counterparty.removesuffix("/earnings"), 0, 0
        elif entry.reason == "share":
            had -= entry.coins
        elif entry.reason in EARNED and agency:
            earned += entry.coins
