"""Payouts in the simulator: streamers who earn, are fined, spend, change where they are paid, ask again and again, are erased;
agencies that invite them, take that back, let them go, have their share of what they earn, and are paid; terms that change;
two of finance who approve, reject, export in batches that overlap and write down the bank's word, twice and in any order;
with crashes, lost commits and repeats.

Laws: those of money (`tests.lab.proofs.auditor`), of payouts (`tests.lab.proofs.payouts`) and of agencies' shares
(`tests.lab.proofs.shares`).

`python -m tests.lab.simulated_payouts 2000` plays so many seeds and prints the counts.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

import httpx
from msgspec.structs import replace

from infra import vendors
from infra.config import load
from pipelines.flows.deciders import decider_of, deciders
from pipelines.runtime.core import Output, Written
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step
from schemas.agency import (
    AGENCY,
    MEMBERSHIP,
    AskToJoin,
    EndInvitation,
    EndMembership,
    Invite,
    PutAgency,
)
from schemas.balance import Freeze, Hold, Reason, Unfreeze, Void, earnings_account
from schemas.log.base import MAX_COINS, AccountId, HoldId, Message, TransferId, UserId
from schemas.log.codec import decoder_of
from schemas.log.entity import DEFAULT_PARTITIONS, Flow
from schemas.outbox import OUTBOX, EffectDue, EffectKind, ReportAttempt
from schemas.payee import PAYEE, PutAutomatic, PutDestination
from schemas.payout import (
    HELD_FOR,
    PAYOUT,
    PAYOUT_BATCH,
    PAYOUT_TERMS,
    TERMS,
    ApprovePayout,
    BeginBatch,
    BeginPayoutRound,
    PayoutStepped,
    PutTerms,
    RejectPayout,
    RequestPayout,
    SendPayout,
    SettlePayout,
)
from schemas.payout_fields import PayoutStatus
from schemas.transfer import PlaceTransfer
from schemas.user import USER, EraseUser, Role, SignUp
from tests.lab.city.payout_provider import Provider
from tests.lab.proofs.auditor import Audit
from tests.lab.proofs.payouts import PayoutAudit, broken_payments
from tests.lab.proofs.shares import broken_shares
from tests.lab.simulated_money import output_of, reader_of, report

OTHERS = (PAYEE, PAYOUT, PAYOUT_TERMS, PAYOUT_BATCH, AGENCY, MEMBERSHIP, OUTBOX)
DECIDERS = (
    decider_of(USER), *deciders(Flow.MONEY), *map(decider_of, OTHERS),
)  # fmt: skip
STREAMERS = tuple(map(UserId, ("sue", "tia")))
AGENCIES = tuple(map(UserId, ("agy", "moon")))
USERS = (*STREAMERS, *AGENCIES)
SHARES: Final = (0, 1, 1_500, 3_333, 10_000)
STAFF: Final = ("fay", "gus")
SENDS: Final = 70
LATER_S: Final = (0, 0, 3_600, 90_000)


def workload(chance: random.Random) -> Iterator[Output | Step]:
    """Who earns what, and asks when; what finance does follows from what it is told (`Finance`)."""
    at, people = EPOCH, list(USERS)
    for n, user in enumerate(USERS):
        yield output_of(SignUp(id=f"s{n}", at=at, user=user, role=Role.STREAMER))
        yield output_of(_destination(f"d{n}", at, user, "0"))
    for n, agency in enumerate(AGENCIES):
        yield output_of(PutAgency(id=f"a{n}", at=at, agency=agency, agency_name=agency, most_share_bps=10_000))
    yield output_of(_terms(chance, "t0", at))
    makers: tuple[tuple[int, Callable[[str, datetime], Message]], ...] = (
        (40, lambda name, at: _earned(chance, name, at)),
        (8, lambda name, at: _fined(chance, name, at)),
        (20, lambda name, at: _of_agency(chance, name, at)),
        (30, lambda name, at: _asked(chance, name, at)),
        (5, lambda name, at: _destination(name, at, chance.choice(people), str(chance.randrange(3)))),
        (5, lambda name, at: _hold(chance, name, at)),
        (5, lambda name, at: Void(id=name, at=at, account=_account(chance), hold=HoldId(chance.choice("ab")))),
        (4, lambda name, at: chance.choice((Freeze, Unfreeze, Unfreeze))(id=name, at=at, account=_account(chance))),
        (4, lambda name, at: _terms(chance, name, at)),
        (6, lambda name, at: PutAutomatic(id=name, at=at, user=chance.choice(people), automatic=chance.random() < 0.7)),
        (6, lambda name, at: BeginPayoutRound(id=name, at=at, terms=TERMS, round=f"r{chance.randrange(9)}", by="weekly")),
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
            gone = people.pop(chance.randrange(len(people)))
            yield output_of(EraseUser(id="e", at=at, user=gone, by="fay", reason="asked"))  # no door is open to them any more


def _account(chance: random.Random) -> AccountId:
    return earnings_account(chance.choice(USERS))


def _of_agency(chance: random.Random, name: str, at: datetime) -> Message:
    """Something between a streamer and an agency; now and then what cannot be."""
    of: dict[str, Any] = {"id": name, "at": at, "user": chance.choice(STREAMERS), "agency": chance.choice(AGENCIES)}
    share_bps = chance.choice(SHARES)
    kind = chance.choices(("invite", "accept", "end", "part", "close"), (40, 40, 6, 12, 2))[0]
    match kind:
        case "invite":
            return Invite(**of, share_bps=share_bps)
        case "accept":
            return AskToJoin(**of, share_bps=share_bps)
        case "end":
            return EndInvitation(**of, refused=chance.random() < 0.5)
        case "part":
            return EndMembership(**of | {"agency": chance.choice(("", of["agency"]))}, by="fay")
    agency = of["agency"]
    return PutAgency(
        id=name, at=at, agency=agency, agency_name=agency, most_share_bps=share_bps, is_open=chance.random() < 0.7
    )  # fmt: skip


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
    """A log with two of finance before it: whatever a payout comes to, they act on it, now or a day later, up to thrice. The
    provider is asked as `dispatch` asks it, with the vendor's own client, and its reports come late, and twice."""

    def __init__(self) -> None:
        super().__init__()
        self._chance = random.Random(7)
        self.provider = Provider(7)
        self._client = httpx.Client(transport=httpx.MockTransport(self._provided))
        self._config = load(payout_url="http://provider", payout_key="key")
        self._effects = decoder_of(OUTBOX.facts)
        self._reports: list[tuple[datetime, ReportAttempt]] = []
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
            elif topic == OUTBOX.events and isinstance(due := self._effects(value or b""), EffectDue):
                self._attempt(due)
        self._act()

    def pass_to(self, time: datetime) -> None:
        """They act as time passes, too."""
        super().pass_to(time)
        self._act()

    def _attempt(self, due: EffectDue) -> None:
        """Made once or twice, as by a process that dies in front of its report."""
        if due.kind is not EffectKind.PAY:
            return
        for number in range(self._chance.choice((1, 1, 2))):
            tried = vendors.attempt(due, self._config, self._client)
            told = ReportAttempt(
                id=f"{due.id}/report/{number}", at=self.time, effect=due.effect, attempt=due.attempt, outcome=tried.outcome,
                status=tried.status, doubtful=tried.doubtful,
            )  # fmt: skip
            self._reports.append((self.time + timedelta(seconds=self._chance.choice(LATER_S)), told))

    def _provided(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        said = self.provider.handle(request.method, unquote(request.url.path.partition("/payments/")[2]), body)
        if not said.status:
            raise (httpx.ReadTimeout if said.arrived else httpx.ConnectError)("no answer", request=request)
        return httpx.Response(said.status, json=said.body)

    def _act(self) -> None:
        for told in [told for at, told in self._reports if at <= self.time]:
            self.append([output_of(replace(told, at=self.time))])
        self._reports = [(at, told) for at, told in self._reports if at > self.time]
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
        if step.status is PayoutStatus.APPROVED and chance.random() < 0.4:
            return SendPayout(**of_payout)
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
    provider = log.provider if isinstance(log, Finance) else Provider(0)
    told = broken_payments(read, provider.paid, provider.changed)
    return [*Audit(read).broken, *PayoutAudit(read, USERS).broken(), *broken_shares(read), *told, *dead]


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS, log=Finance)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
