"""A gift's refusals, a row each; paid once, shared once, whatever comes twice."""

from datetime import UTC, datetime
from functools import partial
from itertools import permutations
from operator import attrgetter

import pytest
from msgspec.structs import replace
from pydantic import TypeAdapter

from pipelines import gift as domain
from pipelines.pulse import counts_of
from schemas.balance import AccountRefused, Credit, EntryKind, EntryRecorded, OpenAccount, Refusal, Transfer
from schemas.balance_ledger import Ledger
from schemas.gift import GiftInbox, GiftItem, GiftPriced, GiftRefusal, GiftRepeated, GiftSent, PriceGift, PutGiftItem, SendGift
from schemas.log.base import AccountId, UserId
from schemas.log.topics import ENTITIES
from schemas.payment import Product
from schemas.video_line import GiftAdmitted, LineRefusal
from serving.gift import GiftItemAnswer, _item
from serving.payment import ProductAnswer, _shown
from tests.decisions import decisions_of, last_decision
from tests.people import BOB, SUE

decide = decisions_of(domain.decide_gift)
decide_gift_item = decisions_of(domain.decide_gift_item)
T = datetime(2030, 1, 1, tzinfo=UTC)


def send(sender: str = "bob", item: str = "rose", id_: str = "m") -> SendGift:
    return SendGift(id=id_, at=T, gift="g", sender=UserId(sender), receiver=SUE, item=item)


def admitted(refusal: LineRefusal | None = None) -> GiftAdmitted:
    return GiftAdmitted(id="a", at=T, cause="m", user=SUE, gift="g", refusal=refusal)


def priced(refusal: GiftRefusal | None = None, share: int = 4) -> GiftPriced:
    coins = {} if refusal else {"price_coins": 10, "share_coins": share}
    return GiftPriced(id="p", at=T, cause="m", item="rose", gift="g", refusal=refusal, **coins)


def refused(refusal: Refusal) -> AccountRefused:
    return AccountRefused(
        id="r", at=T, cause="g/debit", account=AccountId("bob/coins"), command="Transfer", refusal=refusal, shortfall_coins=3,
        ref="g", reason="gift",
    )  # fmt: skip


def own_side(refusal: LineRefusal | None = None) -> GiftAdmitted:
    return GiftAdmitted(id="o", at=T, cause="m/2", user=BOB, gift="g", refusal=refusal)


DEBIT = EntryRecorded(
    id="e", at=T, cause="g/debit", account=AccountId("bob/coins"), seq=9, kind=EntryKind.DEBIT, balance_coins=0, held_coins=0,
    coins=-10, reason="gift", ref="g",
)  # fmt: skip


after = partial(last_decision, decide)


REFUSALS = [
    ((send(sender="sue"),), GiftRefusal.SAME_USER),
    ((send(), priced(GiftRefusal.GIFT_UNKNOWN)), GiftRefusal.GIFT_UNKNOWN),
    ((send(), admitted(), priced(GiftRefusal.GIFT_INACTIVE)), GiftRefusal.GIFT_INACTIVE),
    ((send(), priced(), admitted(), own_side(LineRefusal.BANNED)), GiftRefusal.SENDER_BANNED),
    ((send(), own_side(LineRefusal.UNKNOWN)), GiftRefusal.ACCOUNT_UNKNOWN),
    ((send(), admitted(LineRefusal.UNKNOWN)), GiftRefusal.RECEIVER_UNKNOWN),
    ((send(), admitted(LineRefusal.BANNED)), GiftRefusal.RECEIVER_BANNED),
    ((send(), priced(), admitted(LineRefusal.BLOCKED)), GiftRefusal.RECEIVER_BLOCKS),
    ((send(), priced(), admitted(), own_side(LineRefusal.BLOCKED)), GiftRefusal.BLOCKED),
    ((send(), priced(), admitted(), refused(Refusal.INSUFFICIENT_COINS)), GiftRefusal.INSUFFICIENT_COINS),
    ((send(), priced(), admitted(), refused(Refusal.ACCOUNT_UNKNOWN)), GiftRefusal.ACCOUNT_UNKNOWN),
    ((send(), priced(), admitted(), refused(Refusal.ACCOUNT_FROZEN)), GiftRefusal.ACCOUNT_FROZEN),
    ((send(), priced(), admitted(), refused(Refusal.DAILY_CAP)), GiftRefusal.DAILY_CAP),
    ((send(), send(item="car", id_="m2")), GiftRefusal.IDEMPOTENCY_KEY_REUSED),
]


@pytest.mark.parametrize(("messages", "refusal"), REFUSALS)
def test_each_refusal_by_name(messages: tuple[GiftInbox, ...], refusal: GiftRefusal) -> None:
    _, (fact,) = after(*messages)
    assert fact.refusal is refusal


def test_the_sender_is_not_told_that_the_receiver_has_blocked_the_sender_or_is_banned() -> None:
    for line in (LineRefusal.BLOCKED, LineRefusal.BANNED):
        gift, (fact,) = after(send(), admitted(line))
        again = decide(gift, send(id_="m2"))[1][0]
        assert fact.refused is again.refused is GiftRefusal.RECEIVER_UNKNOWN
        assert fact.refusal is again.refusal is not GiftRefusal.RECEIVER_UNKNOWN


def test_every_refusal_has_its_row() -> None:
    put = PutGiftItem(id="x", at=T, item="rose", price_coins=1, share_coins=2)
    _, (fact,) = decide_gift_item(None, put)
    assert {refusal for _, refusal in REFUSALS} | {fact.refusal} == set(GiftRefusal)


def test_a_gift_is_paid_and_shared_once_whatever_comes_twice() -> None:
    gift, (debit,) = after(send(), priced(), admitted(), own_side())
    assert isinstance(debit, Transfer)
    gift, (sent, share) = decide(gift, DEBIT)
    assert (type(sent), type(share), share.coins) == (GiftSent, Credit, 4)
    assert decide(gift, DEBIT) == (gift, ())
    _, (again,) = decide(gift, send(id_="m2"))
    assert (type(again), again.price_coins) == (GiftRepeated, 10)


@pytest.mark.parametrize("order", list(permutations((priced(), admitted(), own_side()))))
def test_the_account_is_asked_once_when_all_three_have_answered(order: tuple[GiftInbox, ...]) -> None:
    gift, told = after(send())
    assert sorted(type(one).__name__ for one in told) == ["AdmitGift", "AdmitGift", "PriceGift"]
    asked = []
    for message in order:
        gift, more = decide(gift, message)
        asked.append([type(one) for one in more])
    assert asked == [[], [], [Transfer]]


TESTERS = replace(send(), ledger=Ledger.SANDBOX)


def test_a_testers_gift_is_paid_and_shared_in_the_sandboxs_ledger_and_nobody_else_hears_of_it() -> None:
    gift, (debit,) = after(TESTERS, priced(), admitted(), own_side())
    assert (debit.account, debit.to) == ("bob/sandbox_coins", "@gifts_sandbox")
    gift, (sent, opened, share) = decide(gift, replace(DEBIT, account=debit.account))
    assert (type(sent), sent.ledger, type(opened), opened.account) == (GiftSent, Ledger.SANDBOX, OpenAccount, share.account)
    assert (share.account, share.counterparty, share.coins) == ("sue/sandbox_earnings", "@gifts_sandbox", 4)
    hearing = [heard.key for entity in ENTITIES for heard in entity.hears if heard.fact is GiftSent]
    keys = [key if callable(key) else attrgetter(key) for key in hearing]
    assert keys
    assert {key(sent) for key in keys} == {""}
    assert all(key(replace(sent, ledger=Ledger.ORDINARY)) for key in keys)
    assert counts_of(sent) == ()
    _, (reused,) = decide(gift, send(id_="m2"))
    assert reused.refusal is GiftRefusal.IDEMPOTENCY_KEY_REUSED
    _, (again,) = decide(gift, replace(TESTERS, id="m2"))
    assert (type(again), again.ledger, again.price_coins) == (GiftRepeated, Ledger.SANDBOX, 10)


def test_a_tester_who_has_bought_nothing_has_too_few_coins() -> None:
    _, (fact,) = after(TESTERS, priced(), admitted(), own_side(), refused(Refusal.ACCOUNT_UNKNOWN))
    assert (fact.refusal, fact.shortfall_coins, fact.ledger) == (GiftRefusal.INSUFFICIENT_COINS, 10, Ledger.SANDBOX)


def test_a_gift_without_a_share_credits_nobody() -> None:
    _, told = after(send(), priced(share=0), admitted(), own_side(), DEBIT)
    assert [type(one) for one in told] == [GiftSent]


def test_the_catalogue_says_what_a_thing_costs_now() -> None:
    put = PutGiftItem(id="x", at=T, item="rose", price_coins=10, share_coins=4)
    item, _ = decide_gift_item(None, put)
    ask = PriceGift(id="q", at=T, item="rose", gift="g")
    assert decide_gift_item(item, ask)[1][0].price_coins == 10
    assert decide_gift_item(None, ask)[1][0].refusal is GiftRefusal.GIFT_UNKNOWN


def test_what_no_body_may_say_is_shown_as_it_stands_for_a_job_may_have_put_it() -> None:
    items = [_item("rose", GiftItem(price_coins=5, share_coins=3, picture_url="a b"))]
    assert TypeAdapter(list[GiftItemAnswer]).validate_python(items)[0].picture_url == "a b"
    products = [_shown("p", Product(coins=5, apple_id="a b"))]
    assert TypeAdapter(list[ProductAnswer]).validate_python(products)[0].apple_id == "a b"
