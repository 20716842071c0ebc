"""Laws of money and calls over whole schedules: many spends of the same coins, every order of a call's end, a match and a call
at once."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import settings

from pipelines.runtime.core import Output
from pipelines.runtime.simulator import EPOCH, Log, Step, search, tell
from pipelines.video_call import decide_call
from pipelines.video_pool import NAMESPACE
from schemas.balance import Reason
from schemas.billing import BOOK, EndBill, PublishTariff, StartBill
from schemas.billing_rating import Checkpoint, Side
from schemas.billing_rules import CallKind, Rule
from schemas.gift import PutGiftItem, SendGift
from schemas.log.base import AccountId, TransferId, UserId, Wake
from schemas.transfer import PlaceTransfer
from schemas.user import OpenSession, Role, SignUp
from schemas.video import AcceptCall, CallConnected, CallEnded, CallInbox, DeclineCall, HangUp, PlaceCall
from schemas.video_clip import OfferClip, PlayClip
from schemas.video_line import JoinRoulette, ReleaseLine
from tests.conftest import Api, NewUser
from tests.decisions import decisions_of
from tests.lab import simulated_calls
from tests.lab.simulated_money import output_of, reader_of
from tests.people import ANN, BOB, SUE
from tests.test_video_call import RINGING, at

SEEDS = settings().max_examples // 2
TIA, CAT = UserId("tia"), UserId("cat")
# What everything costs, and how many such things a hundred coins pay.
PRICE, PAYS_FOR = 10, 10


def people(*names: UserId) -> Iterator[Output]:
    """They sign up, and their phones are there."""
    for name in names:
        role = Role.STREAMER if name in (SUE, TIA) else Role.USER
        yield output_of(SignUp(id=f"up-{name}", at=EPOCH, user=name, role=role))
        yield output_of(OpenSession(id=f"s-{name}", at=EPOCH, user=name, session=f"s-{name}", device="phone"))


def grant(name: UserId, coins: int) -> Output:
    return output_of(
        PlaceTransfer(
            id=f"grant-{name}", at=EPOCH, transfer=TransferId(str(uuid.uuid5(uuid.NAMESPACE_OID, name))),
            payer=AccountId("@promotions"), payee=AccountId(f"{name}/coins"), coins=coins, reason=Reason.GRANT,
        )
    )  # fmt: skip


def spends(chance: random.Random) -> Iterator[Output | Step]:
    """Ann has a hundred coins, and spends them fifty times at once: on gifts, calls, clips and transfers of ten coins each."""
    yield from people(ANN, BOB, SUE, TIA)
    yield grant(ANN, PRICE * PAYS_FOR)
    yield output_of(PutGiftItem(id="rose", at=EPOCH, item="rose", price_coins=PRICE, share_coins=4))
    yield output_of(OfferClip(id="clip", at=EPOCH, clip="clip", streamer=TIA, title="hi", url="u", duration_s=5))
    side = Side((Checkpoint(0, PRICE),), 60, PRICE)
    yield output_of(PublishTariff(id="t", at=EPOCH, book=BOOK, tariff="standard", rule=Rule(), payer=side, earner=Side()))
    yield Step("quiet")
    now = EPOCH + timedelta(seconds=1)
    everything: list[Output] = []
    for n in range(20):
        gift = SendGift(id=f"g{n}", at=now, gift=f"g{n}", sender=ANN, receiver=chance.choice((BOB, SUE)), item="rose")
        transfer = PlaceTransfer(
            id=f"t{n}", at=now, transfer=TransferId(str(uuid.UUID(int=n))), payer=AccountId("ann/coins"),
            payee=AccountId("bob/coins"), coins=PRICE, reason=Reason.TRANSFER,
        )  # fmt: skip
        everything += [output_of(gift), output_of(transfer)]
    for n in range(5):
        call = PlaceCall(
            id=f"c{n}", at=now, call=f"c{n}", caller=ANN, callee=SUE, kind=CallKind.DIRECT, caller_role=Role.USER,
            callee_role=Role.STREAMER,
        )  # fmt: skip
        play = PlayClip(id=f"p{n}", at=now, clip="clip", call=f"p{n}", viewer=ANN, viewer_role=Role.USER)
        everything += [output_of(call), output_of(play)]
    chance.shuffle(everything)
    yield from everything


def spent(log: Log) -> list[str]:
    """Besides all laws: what was taken and what is left are the hundred; somebody was refused; nothing was left that would have
    paid, but for a call that held its first checkpoint and came to nothing."""
    read, broken = reader_of(log), simulated_calls.laws(log)
    facts = [row.value for topic in ("gift.events", "transfer.events", "bill.events") for row in read(topic) if row.value]
    kinds = Counter(fact["type"] for fact in facts)
    bought = kinds["GiftSent"] + sum(bill["paid_coins"] // PRICE for bill in facts if bill["type"] == "BillClosed")
    bought += sum(
        one["type"] == "TransferSettled" and one["outcome"]["status"] == "completed" and one["payer"] == "ann/coins"
        for one in facts
    )
    entries = [row.value for row in read("account.events") if row.value and row.value.get("account") == "ann/coins"]
    booked = [entry for entry in entries if entry["type"] == "EntryRecorded"]
    if any(not 0 <= entry.get("held_coins", 0) <= entry["balance_coins"] for entry in booked):
        broken.append(f"below zero: {booked}")
    left, held = (booked[-1]["balance_coins"], booked[-1].get("held_coins", 0)) if booked else (PRICE * PAYS_FOR, 0)
    given_back = sum(one["type"] == "BillClosed" and not one["paid_coins"] for one in facts)
    granted = sum(entry["coins"] for entry in booked if entry.get("reason") == "grant")
    if booked and (bought * PRICE + left != granted or held or left > given_back * PRICE):
        broken.append(f"{bought} things were bought, {left} coins are left, {given_back} calls came to nothing")
    return broken


def test_fifty_spends_of_the_same_hundred_coins_take_exactly_what_there_is() -> None:
    setup = simulated_calls.SETUP._replace(workload=spends, laws=spent)
    failure = search(setup, range(SEEDS))
    assert failure is None, tell(failure)


def at_once(chance: random.Random) -> Iterator[Output | Step]:
    """Sue waits in roulette; in one batch Bob joins, who is her match, Cat calls her, she calls Ann, and Ann calls Bob."""
    names = (ANN, BOB, CAT, SUE)
    yield from people(*names)
    yield from (grant(name, 500) for name in names)
    yield output_of(JoinRoulette(id="j-sue", at=EPOCH, user=SUE))
    yield Step("quiet")
    now = EPOCH + timedelta(seconds=1)
    batch = [output_of(JoinRoulette(id="j-bob", at=now, user=BOB))]
    match = str(uuid.uuid5(NAMESPACE, "j-bob/1"))
    for caller, callee in ((CAT, SUE), (SUE, ANN), (ANN, BOB)):
        call = f"{caller}-{callee}"
        placed = PlaceCall(
            id=call, at=now, call=call, caller=caller, callee=callee, kind=CallKind.DIRECT,
            caller_role=simulated_calls.role_of(caller), callee_role=simulated_calls.role_of(callee),
        )  # fmt: skip
        batch.append(output_of(placed))
    chance.shuffle(batch)
    yield from batch
    yield Step("quiet")
    for call, by in ((match, SUE), ("cat-sue", SUE), ("sue-ann", ANN), ("ann-bob", BOB)):
        yield output_of(AcceptCall(id=f"a-{call}", at=now + timedelta(seconds=2), call=call, by=by))


# Which calls have come about in some schedule: where each has one line of the other's, none does.
TALKED: set[str] = set()


def one_line_each(log: Log) -> list[str]:
    """Besides all laws (a line belongs to one call at a time): nobody talks in two calls, or is billed for two."""
    read, broken = reader_of(log), simulated_calls.laws(log)
    talks = [row.value for row in read("call.events") if row.value and row.value["type"] == "CallConnected"]
    bills = [row.value for row in read("bill.events") if row.value and row.value["type"] == "BillClosed"]
    for name in (ANN, BOB, CAT, SUE):
        if sum(name in (talk["caller"], talk["callee"]) for talk in talks) > 1:
            broken.append(f"{name} talks in two calls: {talks}")
        if sum(name == bill["payer"] and bool(bill.get("connected_at")) for bill in bills) > 1:
            broken.append(f"{name} is billed twice: {bills}")
    TALKED.update(talk["call"] for talk in talks)
    return broken


def test_a_match_and_direct_calls_in_one_batch_leave_one_line_a_person() -> None:
    failure = search(simulated_calls.SETUP._replace(workload=at_once, laws=one_line_each), range(SEEDS))
    assert failure is None, tell(failure)
    assert len(TALKED) > 1


ENDS: list[CallInbox] = [
    AcceptCall(id="accept", at=at(1), call="c", by=SUE),
    DeclineCall(id="decline", at=at(1), call="c", by=SUE),
    HangUp(id="his", at=at(1), call="c", by=BOB),
    HangUp(id="hers", at=at(1), call="c", by=SUE),
    Wake(id="timeout", at=at(30), key="c"),
]


OF_RINGING = {"decline": "declined", "his": "cancelled", "hers": "declined", "timeout": "unanswered"}
OF_TALK = {"his": "hung_up", "hers": "hung_up", "timeout": "peer_lost"}


@pytest.mark.parametrize("order", list(permutations(ENDS)), ids=lambda order: "-".join(message.id for message in order))
def test_a_call_has_one_outcome_and_one_bill_in_whatever_order_and_twice(order: tuple[CallInbox, ...]) -> None:
    """All that may end the ringing comes in every order, and again: the call connects at most once, ends once, ends its bill
    once, and gives each line back once; who comes later is told that it is over, and changes nothing."""
    call: Any = None
    told: list[Any] = []
    for message in (*RINGING, *order, *order):
        before = call
        call, more = decisions_of(decide_call)(call, message)
        told += more
        if any(isinstance(one, CallEnded) for one in told[: len(told) - len(more)]):
            assert call == before
    while not any(isinstance(one, CallEnded) for one in told):
        call, more = decisions_of(decide_call)(call, Wake(id="w", at=call.wake_at, key="c"))
        told += more
    kinds = Counter(type(one) for one in told)
    assert (kinds[CallEnded], kinds[EndBill]) == (1, 1)
    assert kinds[CallConnected] == kinds[StartBill] <= 1
    assert sorted(one.user for one in told if isinstance(one, ReleaseLine)) == ["bob", "sue"]
    (ended,) = (one for one in told if isinstance(one, CallEnded))
    assert ended.connected == bool(kinds[CallConnected])
    first, *others = (message.id for message in order)
    talked = next(OF_TALK[name] for name in others if name in OF_TALK)
    assert ended.reason == (talked if first == "accept" else OF_RINGING[first])


def test_the_same_coins_spent_fifty_times_at_once_over_http(admin: Api, new_user: NewUser) -> None:
    """On the real platform: gifts and transfers of ten coins each, sent together from many threads."""
    ann, sue = new_user(), new_user("streamer")
    assert admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=100).status_code == 201
    assert admin.put("/v1/admin/gifts/ten", json={"price_coins": 10, "share_coins": 4}).status_code == 200

    def spend(n: int) -> int:
        if n % 2:
            return ann.place("/v1/gifts", f"k{n}", to=sue.user, gift="ten").status_code
        paid = admin.place("/v1/admin/transfers", f"{ann.user}-{n}", payer=f"{ann.user}/coins", payee="@shop", coins=10)
        return paid.status_code

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(pool.map(spend, range(50)))
        later = answers[202] or answers[503]
        while later:  # what was not decided in time is asked for again, under its key
            answers = Counter(pool.map(spend, range(50)))
            later = answers[202] or answers[503]
    assert answers == {201: 10, 402: 40}
    assert ann.balance().json()["balance_coins"] == 0
