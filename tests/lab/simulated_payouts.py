"""Payouts in the simulator: streamers who earn, are fined, spend, change where they are paid, ask again and again, are erased;
terms that change; two of finance who approve, reject, export in batches that overlap and write down the bank's word, twice and
in any order; with crashes, lost commits and repeats.

Laws: those of money (`tests.lab.proofs.auditor`), and: what is paid plus the fee is gross; each entry of a book stands in at
most one payout that did not come to nothing; a payout's coins are those of its entries, all out of reserve; what was earned and
did not go out is paid, under way, or can be drawn, to the coin; who asked did not approve, nor who is paid; a payout is in one
batch at most; every request is answered once; nothing waits for ever; of who was erased no bank account is known.

`python -m tests.lab.simulated_payouts 2000` plays so many seeds and prints the counts.
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pipelines.flows.deciders import decider_of, deciders
from pipelines.runtime.core import Output, Written
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step
from schemas.balance import Freeze, Hold, Reason, Unfreeze, Void, earnings_account
from schemas.log.base import MAX_COINS, AccountId, HoldId, Message, TransferId, UserId
from schemas.log.codec import decoder_of
from schemas.log.entity import DEFAULT_PARTITIONS, Flow
from schemas.payee import PAYEE, PutDestination, day_of
from schemas.payout import (
    HELD_FOR,
    PAYOUT,
    PAYOUT_BATCH,
    PAYOUT_TERMS,
    TERMS,
    ApprovePayout,
    BeginBatch,
    PayoutStatus,
    PayoutStepped,
    PutTerms,
    RejectPayout,
    RequestPayout,
    SettlePayout,
)
from schemas.transfer import PlaceTransfer
from schemas.user import USER, EraseUser, Role, SignUp
from tests.lab.proofs.auditor import Audit, Read
from tests.lab.proofs.ledger import Json
from tests.lab.simulated_money import output_of, reader_of, report

DECIDERS = (
    decider_of(USER), *deciders(Flow.MONEY), *map(decider_of, (PAYEE, PAYOUT, PAYOUT_TERMS, PAYOUT_BATCH)),
)  # fmt: skip
USERS = tuple(map(UserId, ("sue", "tia")))
STAFF: Final = ("fay", "gus")
SENDS: Final = 70
LATER_S: Final = (0, 0, 3_600, 90_000)
GONE: Final = ("rejected", "failed")
OPEN: Final = ("held", "approved", "exported")
NEXT: Final = {
    "": {"held"}, "held": {"approved", "rejected", "failed"}, "approved": {"exported", "rejected", "failed"},
    "exported": {"paid", "failed"}, "paid": {"returned"},
}  # fmt: skip


def workload(chance: random.Random) -> Iterator[Output | Step]:
    """Who earns what, and asks when; what finance does follows from what it is told (`Finance`)."""
    at, people = EPOCH, list(USERS)
    for n, user in enumerate(USERS):
        yield output_of(SignUp(id=f"s{n}", at=at, user=user, role=Role.STREAMER))
        yield output_of(_destination(f"d{n}", at, user, "0"))
    yield output_of(_terms(chance, "t0", at))
    makers: tuple[tuple[int, Callable[[str, datetime], Message]], ...] = (
        (40, lambda name, at: _earned(chance, name, at)),
        (8, lambda name, at: _fined(chance, name, at)),
        (30, lambda name, at: _asked(chance, name, at)),
        (5, lambda name, at: _destination(name, at, chance.choice(people), str(chance.randrange(3)))),
        (5, lambda name, at: _hold(chance, name, at)),
        (5, lambda name, at: Void(id=name, at=at, account=_account(chance), hold=HoldId(chance.choice("ab")))),
        (4, lambda name, at: chance.choice((Freeze, Unfreeze, Unfreeze))(id=name, at=at, account=_account(chance))),
        (4, lambda name, at: _terms(chance, name, at)),
    )
    erased = SENDS // 2 + chance.randrange(SENDS)  # for half of the seeds, nobody
    for n in range(SENDS):
        hours = chance.expovariate(1 / 8) if chance.random() < 0.98 else HELD_FOR.days * 25.0
        at += timedelta(hours=hours)
        make = chance.choices([make for _, make in makers], [weight for weight, _ in makers])[0]
        yield Step("pass", seconds=hours * 3_600)
        yield output_of(make(f"m{n}", at))
        if chance.random() < 0.4:
            yield Step("quiet")
        if n == erased:
            yield output_of(EraseUser(id="e", at=at, user=people[-1], by="fay", reason="asked"))
            del people[-1]  # no door is open to them any more


def _account(chance: random.Random) -> AccountId:
    return earnings_account(chance.choice(USERS))


def _destination(name: str, at: datetime, user: UserId, number: str) -> PutDestination:
    return PutDestination(id=name, at=at, user=user, holder=user, iban=f"DE0{number}")


def _terms(chance: random.Random, name: str, at: datetime) -> PutTerms:
    return PutTerms(
        id=name, at=at, terms=TERMS, cents_per_100_coins=chance.choice((1, 33, 50, 700)),
        fee_cents=chance.choice((0, 0, 1, 20)), minimum_coins=chance.choice((1, 1, 30)), reserve_days=chance.choice((0, 1, 3)),
    )  # fmt: skip


def _earned(chance: random.Random, name: str, at: datetime) -> PlaceTransfer:
    coins = MAX_COINS if chance.random() < 0.03 else chance.randrange(1, 90)
    return PlaceTransfer(
        id=name, at=at, transfer=TransferId(name), payer=AccountId("@viewers"), payee=_account(chance), coins=coins,
        reason=Reason.CALL,
    )  # fmt: skip


def _fined(chance: random.Random, name: str, at: datetime) -> PlaceTransfer:
    return PlaceTransfer(
        id=name, at=at, transfer=TransferId(name), payer=_account(chance), payee=AccountId("@penalties"),
        coins=chance.randrange(1, 60), reason=Reason.PENALTY,
    )  # fmt: skip


def _asked(chance: random.Random, name: str, at: datetime) -> RequestPayout:
    """Now and then under the name of another request, by the user or by finance."""
    user = chance.choice(USERS)
    payout = f"p{chance.randrange(40)}{'' if chance.random() < 0.1 else user}"
    return RequestPayout(id=name, at=at, payout=payout, user=user, by=chance.choice((user, user, *STAFF)))


def _hold(chance: random.Random, name: str, at: datetime) -> Hold:
    return Hold(
        id=name, at=at, account=_account(chance), hold=HoldId(chance.choice("ab")), to=AccountId("@shop"),
        coins=chance.randrange(1, 60), reason=Reason.TRANSFER, expires_at=at + timedelta(hours=chance.choice((1, 90))),
    )  # fmt: skip


class Finance(Log):
    """A log with two of finance before it: whatever a payout comes to, they act on it, now or a day later, up to thrice."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(7)
        self._decode = decoder_of(PAYOUT.facts)
        self._waits: list[tuple[datetime, PayoutStepped]] = []
        self._seen: list[str] = []
        self._acts = 0

    def commit(self, outputs: Sequence[Written]) -> None:
        """One transaction, and behind it the acts whose time has come."""
        super().commit(outputs)
        for topic, _, _, value in outputs:
            if topic == PAYOUT.events and isinstance(step := self._decode(value or b""), PayoutStepped):
                self._seen.append(step.payout)
                times = self._chance.choice((1, 2, 3))
                self._waits += [(self.time + timedelta(seconds=self._chance.choice(LATER_S)), step) for _ in range(times)]
        self._act()

    def pass_to(self, time: datetime) -> None:
        """They act as time passes, too."""
        super().pass_to(time)
        self._act()

    def _act(self) -> None:
        now = [step for at, step in self._waits if at <= self.time]
        self._waits = [(at, step) for at, step in self._waits if at > self.time]
        for step in now:
            self._acts += 1
            made = self._made(step, f"f{self._acts}")
            if made is not None:
                self.append([output_of(made)])

    def _made(self, step: PayoutStepped, name: str) -> Message | None:
        """What one of them does: mostly what is due, now and then something else."""
        chance, by = self._chance, self._chance.choice((*STAFF, *STAFF, *STAFF, step.user))
        told: dict[str, Any] = {"id": name, "at": self.time, "by": by}
        of_payout = {**told, "payout": step.payout}
        act = chance.choices(("due", "reject", "batch", *(PayoutStatus.PAID, PayoutStatus.FAILED)), (88, 2, 4, 3, 3))[0]
        if isinstance(act, PayoutStatus):
            return SettlePayout(**of_payout, status=act, ref="bank")
        if act == "reject":
            return RejectPayout(**of_payout, ref="doubtful")
        if act == "batch" or step.status is PayoutStatus.APPROVED:
            names = (step.payout, *chance.choices((*self._seen[-3:], "none"), k=chance.randrange(3)))
            return BeginBatch(**told, batch=f"b{chance.randrange(30)}", payouts=names)
        match step.status:
            case PayoutStatus.HELD:
                return ApprovePayout(**of_payout, seen=step.seen if chance.random() < 0.9 else "other")
            case PayoutStatus.EXPORTED:
                return SettlePayout(**of_payout, status=chance.choice((PayoutStatus.PAID, PayoutStatus.FAILED)), ref="bank")
            case PayoutStatus.PAID if chance.random() < 0.4:
                return SettlePayout(**of_payout, status=PayoutStatus.RETURNED, ref="bank")
        return None


# --- the laws ---------------------------------------------------------------------------------------------------------------


def laws(log: Log) -> list[str]:
    """What is broken: in the ledger, and of payouts."""
    read = reader_of(log)
    dead = [f"{len(list(read('dead_letters')))} dead letters"] if any(read("dead_letters")) else []
    return [*Audit(read).broken, *_Payouts(read).broken(), *dead]


class _Payouts:
    """All that the log says of payouts, and what of it breaks a law."""

    def __init__(self, read: Read) -> None:
        self.read = read
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
        for user in USERS:
            mine = [one for one in payouts if one["user"] == user]
            yield from self._entries(user, [one for one in mine if one["status"] not in GONE])
            if user not in erased:  # of whom what is left is forfeited
                yield from self._all_told(user, mine)
        yield from self._reserve(payouts)
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
                sum(coins for seq, coins in self._earned(user) if (coins > 0) == earned and first <= seq <= last)
                for earned, first, last in (
                    (True, one.get("from_seq", 0), one.get("to_seq", 0)),
                    (False, one.get("debits_from_seq", 0), one.get("debits_to_seq", 0)),
                )
            )
            if (one["coins"], one.get("debits_coins", 0)) != (credited + debited + one.get("again_coins", 0), -debited):
                yield f"{one['payout']} draws {credited} less {-debited} of its entries, and says {one}"

    def _earned(self, user: str) -> list[tuple[int, int]]:
        """Seq and coins of the entries that are no payout's."""
        return [(e["seq"], e.get("coins", 0)) for e in self.books[user] if e.get("reason") != "payout"]

    def _all_told(self, user: str, payouts: list[Json]) -> Iterator[str]:
        """What was earned and did not go out is paid, under way, or can be drawn."""
        earned = sum(coins for _, coins in self._earned(user))
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

    def _batches(self) -> Iterator[str]:
        taken = Counter(name for batch in self._facts("payout_batch", "BatchClosed") for name in batch.get("payouts", ()))
        if twice := [name for name, times in taken.items() if times > 1]:
            yield f"{twice} are in two batches"
        exported = {name for name, steps in self.steps.items() if any(step["status"] == "exported" for step in steps)}
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


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS, log=Finance)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
