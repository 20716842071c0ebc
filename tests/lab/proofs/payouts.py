"""The auditor of payouts: reads a whole log, of a proof or of the simulator, and says which laws of payouts it breaks.

What is paid plus the fee is gross; each entry of a book stands in at most one payout that did not come to nothing; a payout's
coins are those of its entries, all out of reserve; what was earned and did not go out is paid, under way, or can be drawn, to
the coin; who asked did not approve, nor who is paid; a payout is in one batch at most; every request is answered once; nothing
waits for ever; of who was erased no bank account is known. It reads raw records, and knows nothing of how they were made.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from infra.clickhouse import connect
from infra.config import Config
from schemas.payee import day_of
from schemas.payout import PAYOUT, PAYOUT_BATCH
from tests.lab.proofs.auditor import Read
from tests.lab.proofs.ledger import Json

GONE: Final = ("rejected", "failed")
OPEN: Final = ("held", "approved", "exported")
NEXT: Final = {
    "": {"held"}, "held": {"approved", "rejected", "failed"}, "approved": {"exported", "rejected", "failed"},
    "exported": {"paid", "failed"}, "paid": {"returned"},
}  # fmt: skip
STORED_S: Final = 30.0


class PayoutAudit:
    """All that the log says of the payouts of `users`, and what of it breaks a law (`broken`)."""

    def __init__(self, read: Read, users: Iterable[str]) -> None:
        self.read, self.users = read, tuple(users)
        self.steps: dict[str, list[Json]] = defaultdict(list)
        for fact in self._facts("payout", "PayoutStepped"):
            self.steps[fact["payout"]].append(fact)
        self.books: dict[str, list[Json]] = defaultdict(list)
        for entry in self._facts("account", "EntryRecorded"):
            if entry["account"].endswith("/earnings"):
                self.books[entry["account"].removesuffix("/earnings")].append(entry)

    def _facts(self, entity: str, kind: str = "") -> list[Json]:
        rows = [row.value for row in self.read(f"{entity}.events") if row.value]
        return [fact for fact in rows if not kind or fact["type"] == kind]

    def _states(self, entity: str) -> dict[str, Json | None]:
        return {row.key: row.value for row in self.read(f"{entity}.state")}

    def broken(self) -> Iterator[str]:
        """The laws, one behind the other."""
        payouts = [steps[-1] for _, steps in sorted(self.steps.items())]
        for steps in self.steps.values():
            yield from _way(steps)
        erased = {fact["user"] for fact in self._facts("user", "UserErased")}
        for user in self.users:
            mine = [one for one in payouts if one["user"] == user]
            yield from self._entries(user, [one for one in mine if one["status"] not in GONE])
            if user not in erased:  # of whom what is left is forfeited
                yield from self._all_told(user, mine)
        yield from self._reserve(payouts)
        yield from self._rounds()
        yield from self._batches()
        yield from self._answers()
        yield from self._waits()

    def _entries(self, user: str, live: list[Json]) -> Iterator[str]:
        """Each entry in one payout, and a payout's coins are those of its entries."""
        for kind, first, last in (("credits", "from_seq", "to_seq"), ("debits", "debits_from_seq", "debits_to_seq")):
            covered = Counter(seq for one in live for seq in range(one.get(first, 0), one.get(last, 0) + 1))
            if twice := [seq for seq, times in covered.items() if times > 1]:
                yield f"{user}: {kind} {twice} stand in two payouts"
        for one in live:
            credited, debited = (
                sum(coins for seq, coins, of_earnings in self._earned(user) if of_earnings == earned and first <= seq <= last)
                for earned, first, last in (
                    (True, one.get("from_seq", 0), one.get("to_seq", 0)),
                    (False, one.get("debits_from_seq", 0), one.get("debits_to_seq", 0)),
                )
            )
            if (one["coins"], one.get("debits_coins", 0)) != (credited + debited + one.get("again_coins", 0), -debited):
                yield f"{one['payout']} draws {credited} less {-debited} of its entries, and says {one}"

    def _earned(self, user: str) -> list[tuple[int, int, bool]]:
        """Seq and coins of the entries that are no payout's, and whether they are of earnings, as an agency's share is, too."""
        return [
            (e["seq"], e.get("coins", 0), e.get("coins", 0) > 0 or e.get("reason") == "share")
            for e in self.books[user] if e.get("reason") != "payout"
        ]  # fmt: skip

    def _all_told(self, user: str, payouts: list[Json]) -> Iterator[str]:
        """What was earned and did not go out is paid, under way, or can be drawn."""
        earned = sum(coins for _, coins, _ in self._earned(user))
        paid = sum(one["coins"] for one in payouts if one["status"] == "paid")
        if (booked := -sum(e.get("coins", 0) for e in self.books[user] if e.get("reason") == "payout")) != paid:
            yield f"{user}: {paid} coins are paid, the book says {booked}"
        under_way = [one for one in payouts if one["status"] in OPEN]
        payee = self._states("payee").get(user) or {}
        if [one["payout"] for one in under_way] != ([payee["open"]["payout"]] if payee.get("open") else []):
            yield f"{user}: under way are {under_way}, the payee says {payee.get('open')}"
        drawable = sum(day["coins"] for day in payee.get("days", ())) - payee.get("debits_coins", 0)
        left = drawable + payee.get("returned_coins", 0)
        if earned != paid + sum(one["coins"] for one in under_way) + left:
            yield f"{user}: {earned} earned, {paid} paid, {left} left to draw, under way: {under_way}"

    def _reserve(self, payouts: list[Json]) -> Iterator[str]:
        """No entry was drawn in its reserve; what was out of it once stays so, whatever later terms say."""
        reserves = {terms["version"]: terms.get("reserve_days", 0) for terms in self._facts("payout_terms", "TermsPut")}
        for one in payouts:
            days = min(reserves[version] for version in range(1, one["version"] + 1))
            held = self.steps[one["payout"]][0]
            limit = _day(held["at"]) - days + (0 if days else 1)
            drawn = range(held.get("from_seq", 0), held.get("to_seq", 0) + 1)
            young = [
                e["seq"] for e in self.books[one["user"]]
                if e["seq"] in drawn and _day(e["at"]) >= limit and e.get("coins", 0) > 0 and e.get("reason") != "payout"
            ]  # fmt: skip
            if young:
                yield f"{one['payout']} draws entries {young} that are in reserve"

    def _rounds(self) -> Iterator[str]:
        """A round asks for payouts of those only who have wanted that."""
        wants: dict[str, bool] = {}
        for row in self.read("payee.inbox"):
            if row.value and row.value["type"] == "PutAutomatic":
                wants[row.key] = wants.get(row.key, False) or row.value["automatic"]
        for row in self.read("payout.inbox"):
            asks = row.value and row.value["type"] == "RequestPayout" and row.value["id"].endswith("/round")
            if asks and row.value and not wants.get(row.value["user"]):
                yield f"{row.value['user']} is asked for, and does not want that: {row.value}"

    def _batches(self) -> Iterator[str]:
        taken = Counter(name for batch in self._facts("payout_batch", "BatchClosed") for name in batch.get("payouts", ()))
        if twice := [name for name, times in taken.items() if times > 1]:
            yield f"{twice} are in two batches"
        exported = {
            name for name, steps in self.steps.items()
            if any(step["status"] == "exported" and not step.get("provider") for step in steps)
        }  # fmt: skip
        if exported != taken.keys():
            yield f"exported were {exported}, the batches have {sorted(taken)}"

    def _answers(self) -> Iterator[str]:
        """Each request hears one fact each time that it came."""
        for entity in ("payout", "payout_batch"):
            asked = Counter(
                row.value["id"] for row in self.read(f"{entity}.inbox") if row.value and row.value["type"] in ASKING
            )  # fmt: skip
            told = Counter(fact["cause"] for fact in self._facts(entity))
            for name, times in asked.items():
                if not 1 <= told[name] <= times:
                    yield f"{name} came {times} times to {entity}, and was answered {told[name]} times"

    def _waits(self) -> Iterator[str]:
        for name, state in self._states("payout").items():
            if state and (state["status"] == "requested" or state.get("settling") or state.get("asked")):
                yield f"payout {name} waits for ever: {state}"
        for name, state in self._states("payout_batch").items():
            if state and state.get("waiting"):
                yield f"batch {name} waits for ever: {state}"
        erased = {fact["user"] for fact in self._facts("user", "UserErased")}
        for user, state in self._states("payee").items():
            if user in erased and state and (state.get("iban") or state.get("holder")):
                yield f"{user} was erased, and where to pay is known: {state}"


ASKING: Final = {kind.__name__ for kind in (*PAYOUT.commands, *PAYOUT_BATCH.commands)}


def _day(at: str) -> int:
    return day_of(datetime.fromisoformat(at))


def _way(steps: list[Json]) -> Iterator[str]:
    """One payout's steps: each follows from the one before; its money; who did what."""
    before, name = "", steps[0]["payout"]
    for step in steps:
        if step["status"] not in NEXT.get(before, set()):
            yield f"{name} went from {before!r} to {step['status']}"
        before = step["status"]
        gross = step["coins"] * step["cents_per_100_coins"] // 100
        if step["amount_cents"] + step.get("fee_cents", 0) != gross or step["amount_cents"] < 1:
            yield f"{name}: {step['amount_cents']} are paid and {step.get('fee_cents', 0)} stay, of {gross}"
        fields = ("coins", "amount_cents", "fee_cents", "seen", "destination", "version", "from_seq", "to_seq")
        if [step.get(one) for one in fields] != [steps[0].get(one) for one in fields]:
            yield f"{name} changed on its way: {steps[0]}, {step}"
        if step["status"] == "approved" and step["by"] in (step["user"], steps[0]["by"]):
            yield f"{name} was asked for by {steps[0]['by']}, is {step['user']}'s, and was approved by {step['by']}"


def broken_steps(config: Config, payouts: PayoutAudit) -> list[str]:
    """ClickHouse has each step of the log's once, with its money."""
    question = "SELECT status, count(), sum(coins), sum(amount_cents), sum(fee_cents) FROM payout_steps GROUP BY status"
    due: dict[str, tuple[int, ...]] = {}
    for step in (one for steps in payouts.steps.values() for one in steps):
        more = (1, step["coins"], step["amount_cents"], step.get("fee_cents", 0))
        due[step["status"]] = tuple(map(sum, zip(due.get(step["status"], (0, 0, 0, 0)), more, strict=True)))
    client, deadline = connect(config.clickhouse_url), time.monotonic() + STORED_S
    while (rows := {row[0]: tuple(row[1:]) for row in client.query(question).result_rows}) != due:
        if time.monotonic() > deadline:
            return [f"payout_steps has {rows}, the log {due}"]
        time.sleep(0.5)
    return []


def broken_payments(read: Read, paid: Mapping[str, int], changed: Sequence[str]) -> Iterator[str]:
    """What the provider has paid, by effect and in cents, against what the log says: nothing is let go that was paid, nothing
    is called paid that was not, and under an id the provider was told one thing. What has no end yet is locked."""
    states = {row.key: row.value for row in read("payout.state")}
    sent = {f"pay/{name}": state for name, state in states.items() if state and state.get("provider")}
    yield from (f"{effect} came to the provider with another amount or account" for effect in changed)
    for effect, cents in paid.items():
        state = sent.get(effect)
        if state is None or state["status"] not in ("exported", "paid", "returned") or state["amount_cents"] != cents:
            yield f"the provider paid {cents} for {effect}, the log says {state}"
    for effect, state in sent.items():
        if state["status"] in ("paid", "returned") and effect not in paid:
            yield f"{effect} is paid, says the log, and the provider knows nothing of it: {state}"
