"""The auditor of calls, bills, gifts, presence and blocks: reads a quiet log as JSON and says which laws it breaks.

It shares no code with the deciders: prices are worked out step by step (`naive_price`), lines and presence are replayed from
their facts, coins are held against the ledger's entries.
"""

from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.lab.proofs.auditor import MAX_TOLD, Read
from tests.lab.proofs.ledger import Json


def naive_price(side: Json, duration_s: float) -> int:
    """What a side of a tariff comes to, from its definition.

    A checkpoint counts once the call is longer than it, unless it lies in the free seconds; the sum is at most the most.
    """
    listed, step_s, free_s = side.get("checkpoints", []), side.get("step_s", 0), side.get("free_s", 0)
    due = [(c["after_s"], c["coins"]) for c in listed if c["after_s"] == 0 or c["after_s"] < duration_s]
    second = (listed[-1]["after_s"] if listed else 0) + step_s
    while step_s and second < duration_s:
        due.append((second, side.get("step_coins", 0)))
        second += step_s
    paid: int = sum(coins for after_s, coins in due if after_s >= free_s)
    most_coins: int = side.get("most_coins") or paid
    return min(paid, most_coins)


class CallAudit:
    """The laws that a log breaks (`broken`) and what was counted (`counts`)."""

    def __init__(self, read: Read, pool_room: int = 256) -> None:
        self.broken: list[str] = []
        self.pool_room = pool_room
        self.counts: Counter[str] = Counter()
        self._read = read
        self.calls = self._by("call.events", "call")
        self.bills = self._by("bill.events", "call")
        self.entries: dict[str, list[Json]] = defaultdict(list)
        self.short: set[str] = set()
        for fact in self._facts("account.events"):
            if fact["type"] == "EntryRecorded" and fact.get("reason") == "share":
                continue  # an agency's share of what was earned here: tests/lab/proofs/shares.py
            if fact["type"] == "EntryRecorded":
                self.entries[fact.get("ref", "")].append(fact)
            elif fact.get("command") == "Hold":
                self.short.add(fact.get("ref", ""))
        self._calls()
        self._lines()
        self._bills()
        self._gifts()
        self._presence()
        self._blocks()
        self._rooms()
        self._favorites()

    @property
    def under_way(self) -> int:
        """Calls that have not ended, and bills that are not closed."""
        ended = {call for call, facts in self.calls.items() if any(f["type"] in ("CallRefused", "CallEnded") for f in facts)}
        closed = {call for call, facts in self.bills.items() if any(f["type"] in ("BillRefused", "BillClosed") for f in facts)}
        return len(self.calls.keys() - ended) + len(self.bills.keys() - closed)

    def _facts(self, topic: str) -> list[Json]:
        return [row.value for row in self._read(topic) if row.value]

    def _by(self, topic: str, field: str) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = defaultdict(list)
        for fact in self._facts(topic):
            found[fact[field]].append(fact)
        return found

    def _states(self, topic: str) -> dict[str, Json]:
        last = {row.key: row.value for row in self._read(topic)}
        return {key: value for key, value in last.items() if value}

    def _break(self, law: str) -> None:
        if len(self.broken) < MAX_TOLD:
            self.broken.append(law)

    def _calls(self) -> None:
        """Every call that was placed was refused, or ended once; it connected at most once, and its times are in order."""
        placed = {m["call"]: m for m in self._facts("call.inbox") if m["type"] == "PlaceCall"}
        for call in placed:
            kinds = Counter(fact["type"] for fact in self.calls[call])
            if kinds["CallRefused"] + kinds["CallEnded"] != 1 or kinds["CallConnected"] > 1 or kinds["CallRinging"] > 1:
                self._break(f"call {call}: {dict(kinds)}")
                continue
            ended = self._one(call, "CallEnded")
            connected = self._one(call, "CallConnected")
            if bool(connected) != bool(ended and ended.get("connected")):
                self._break(f"call {call}: connected {connected}, ended {ended}")
            if ended and connected:
                due = (_time(ended) - _time(connected)).total_seconds()
                if due < 0 or abs(due - ended.get("duration_s", 0.0)) > 1e-6:
                    self._break(f"call {call}: lasted {ended.get('duration_s')}, its times say {due}")
        self.counts["calls"] = len(placed)
        self.counts["connected"] = sum(1 for call in placed if self._one(call, "CallConnected"))

    def _one(self, call: str, type_: str) -> Json | None:
        return next((fact for fact in self.calls[call] if fact["type"] == type_), None)

    def _lines(self) -> None:
        """A line belongs to one call at a time, and in the end to none; who waits is in the pool, or asks it again while it is
        full, and nobody else."""
        for user, facts in self._by("line.events", "user").items():
            has = ""
            for fact in facts:
                if fact["type"] == "LineSeized":
                    if has and has != fact["call"]:
                        self._break(f"line of {user}: seized by {fact['call']} while {has} had it")
                    has = fact["call"]
                elif fact["type"] == "LineFreed":
                    if has != fact["call"]:
                        self._break(f"line of {user}: freed by {fact['call']} while {has or 'nobody'} had it")
                    has = ""
            if has:
                self._break(f"line of {user} still belongs to {has}")
        lines = self._states("line.state")
        for user, line in lines.items():
            if line.get("call"):
                self._break(f"line of {user}: state says it belongs to {line['call']}")
        waits = {user for user, line in lines.items() if line.get("waiting_since")}
        pools = self._states("pool.state").values()
        inside = [one["user"] for pool in pools for side in ("users", "streamers") for one in pool.get(side, [])]
        asks = {user for user in waits if lines[user].get("asks_at")}
        full = any(len(pool.get(side, [])) >= self.pool_room for pool in pools for side in ("users", "streamers"))
        if len(set(inside)) < len(inside) or not waits >= set(inside) or (waits - set(inside) and not (full and waits == asks)):
            self._break(f"in the pool are {sorted(inside)}, lines say {sorted(waits)}, of whom {sorted(asks)} ask again")

    def _bills(self) -> None:
        """Every bill closes once, with the price of its length, and its coins are the ledger's."""
        for call, facts in self.bills.items():
            kinds = Counter(fact["type"] for fact in facts)
            if kinds["BillOpened"] + kinds["BillRefused"] != 1 or kinds["BillClosed"] != kinds["BillOpened"]:
                self._break(f"bill {call}: {dict(kinds)}")
                continue
            if kinds["BillOpened"]:
                self._bill(call, next(fact for fact in facts if fact["type"] == "BillClosed"))
        holds = [hold for state in self._states("account.state").values() for hold in state.get("holds", [])]
        left = [hold for hold in holds if hold.get("ref") in self.bills]
        if left:
            self._break(f"holds of closed bills stand: {left[:3]}")

    def _bill(self, call: str, bill: Json) -> None:
        opened = next(m for m in self._messages(call) if m["type"] == "OpenBill")
        length, refused = bill["duration_s"], any(step.get("refusal") for step in bill.get("steps", []))
        connected = bill.get("connected_at") is not None
        due = [naive_price(opened["tariff"][side], length) if connected else 0 for side in ("payer", "earner")]
        said = [bill["paid_coins"], bill["earned_coins"]]
        if said != due and not refused:
            self._break(f"bill {call}: {said} for {length} s, due was {due}")
        ended = self._one(call, "CallEnded")
        lasted = ended.get("duration_s", 0.0) if ended else 0.0  # a call that was refused, and whose bill opened too late
        if ended and ended.get("void") and connected:
            self._break(f"bill {call}: the call is void, and was billed")
        if lasted != length and not (call in self.short and length < lasted):
            self._break(f"bill {call}: {length} s were billed, the call lasted {lasted} s")
        moved: Counter[str] = Counter()
        for entry in self.entries[call]:
            moved[entry["account"]] += entry.get("coins", 0)
        if (moved[f"{bill['payer']}/coins"], moved[f"{bill['earner']}/earnings"]) != (-said[0], said[1]):
            self._break(f"bill {call}: says {said}, the ledger moved {dict(moved)}")
        booked = {entry["id"] for entry in self.entries[call] if entry.get("coins")}
        listed = [step["entry"] for step in bill.get("steps", []) if step.get("entry")]
        if set(listed) != booked or len(listed) != len(set(listed)):
            self._break(f"bill {call}: the receipt lists {listed}, the ledger has {sorted(booked)}")
        self.counts["bills"] += 1
        self.counts["call coins paid"] += said[0]
        self.counts["call coins earned"] += said[1]

    def _messages(self, call: str) -> list[Json]:
        if not hasattr(self, "_inbox"):
            self._inbox = self._by_any("bill.inbox", "call")
        return self._inbox[call]

    def _by_any(self, topic: str, field: str) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = defaultdict(list)
        for message in self._facts(topic):
            found[message.get(field, "")].append(message)
        return found

    def _gifts(self) -> None:
        """Every gift has one outcome; it was paid and shared exactly when it was sent, in the ledger that was asked for."""
        outcomes = self._by("gift.events", "gift")
        for gift in {m["gift"] for m in self._facts("gift.inbox") if m["type"] == "SendGift"}:
            first = {m["id"] for m in self._facts_of_gift(gift)}
            facts = [f for f in outcomes[gift] if f["type"] != "GiftRepeated" and f.get("refusal") != "idempotency_key_reused"]
            if len(facts) != 1 or facts[0]["cause"] not in first:
                self._break(f"gift {gift}: outcomes {[f['type'] for f in facts]}")
                continue
            (fact,) = facts
            due: dict[str, int] = {}
            if fact["type"] == "GiftSent":
                own = {m.get("ledger", "ordinary") for m in self._facts_of_gift(gift)} == {"sandbox"}
                coins, earnings = ("sandbox_coins", "sandbox_earnings") if own else ("coins", "earnings")
                due = {f"{fact['sender']}/{coins}": -fact["price_coins"], f"{fact['receiver']}/{earnings}": fact["share_coins"]}
            moved = {entry["account"]: entry["coins"] for entry in self.entries[gift] if entry.get("coins")}
            if moved != {account: coins for account, coins in due.items() if coins}:
                self._break(f"gift {gift}: moved {moved}, due was {due}")
            self.counts[f"gifts {fact['type'].removeprefix('Gift').lower()}"] += 1

    def _facts_of_gift(self, gift: str) -> list[Json]:
        if not hasattr(self, "_gift_inbox"):
            self._gift_inbox = self._by_any("gift.inbox", "gift")
        return [m for m in self._gift_inbox[gift] if m["type"] == "SendGift"]

    def _presence(self) -> None:
        """CameOnline and WentOffline alternate; online_s is the time between them."""
        for user, facts in self._by("user.events", "user").items():
            since: datetime | None = None
            for fact in facts:
                if fact["type"] == "CameOnline":
                    if since is not None:
                        self._break(f"{user} came online twice")
                    since = _time(fact)
                elif fact["type"] == "WentOffline":
                    if since is None or abs((_time(fact) - since).total_seconds() - fact["online_s"]) > 1e-6:
                        self._break(f"{user} went offline after {fact['online_s']} s, online since {since}")
                    since = None
            self.counts["came online"] += sum(fact["type"] == "CameOnline" for fact in facts)

    def _blocks(self) -> None:
        """A line bars exactly those whom its user blocks."""
        due: Counter[tuple[str, str]] = Counter()
        for user, blocks in self._states("blocks.state").items():
            for peer in blocks["peers"]:
                due[user, peer] += 1
        found: Counter[tuple[str, str]] = Counter()
        for user, line in self._states("line.state").items():
            for peer in line.get("barred", []):
                found[user, peer] += 1
        if due != found:
            self._break(f"barred are {dict(found - due)} too many and {dict(due - found)} too few")
        self.counts["blocks"] = sum(due.values())

    def _favorites(self) -> None:
        """Who is a favourite is followed by exactly those who like; none of them is barred."""
        likes: set[tuple[str, str]] = set()
        for user, state in self._states("favorites.state").items():
            likes |= {(user, peer) for peer in state["peers"]}
        blocked = {(user, peer) for user, state in self._states("blocks.state").items() for peer in state["peers"]}
        if both := {(user, peer) for user, peer in likes if (user, peer) in blocked or (peer, user) in blocked}:
            self._break(f"{both} are favourites, and a block stands between them")
        pages = self._states("follower_page.state")
        follows = {(follower, key.rpartition("/")[0]) for key, page in pages.items() for follower in page.get("users", [])}
        counts = {user: state.get("count", 0) for user, state in self._states("followers.state").items()}
        if counts != Counter(user for _, user in follows):
            self._break(f"counted are {counts}, following {follows}")
        if likes != follows:
            self._break(f"favourites without followers: {likes - follows}, the other way round: {follows - likes}")
        self.counts["favorites"] = len(likes)

    def _rooms(self) -> None:
        """Every room was opened before its call ended, and its closing is owed once; nobody else's is."""
        due = Counter(
            fact["subject"]
            for fact in self._facts("outbox.events")
            if fact["type"] == "EffectDue" and fact["attempt"] == 1 and fact["effect"] == f"close_room/{fact['subject']}"
        )
        for call, facts in self.calls.items():
            ended = self._one(call, "CallEnded")
            room = ended.get("room", "") if ended else ""
            opened = {fact["provider"] for fact in facts if fact["type"] == "RoomOpened"}
            if opened != ({room} if room else set()) or due.pop(call, 0) != (1 if room else 0):
                self._break(f"call {call}: rooms opened {opened}, ended with {room!r}")
            self.counts["rooms"] += bool(room)
        if due:
            self._break(f"the outbox closes rooms that never were: {dict(due)}")
        for call, notices in self._by("room.events", "call").items():
            kinds = sorted((fact["user"], n, fact["type"]) for n, fact in enumerate(notices))
            if any((one[0], one[2]) == (other[0], other[2]) for one, other in pairwise(kinds)):
                self._break(f"room of {call}: {kinds}")


def _time(fact: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(fact["at"])
