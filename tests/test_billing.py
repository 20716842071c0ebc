"""The tariff book: the rule that says most wins, ties are refused, a version holds from its time on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.billing_tariffs import decide_tariffs
from schemas.billing import BOOK, Bill, HoldStatus, PublishTariff, SelectTariff, Tariff, TariffRefusal
from schemas.billing_choice import in_force
from schemas.billing_rating import Checkpoint, Side
from schemas.billing_rules import CallKind, Rule, Traits
from schemas.log.base import MessageId
from schemas.user import Role
from tests.decisions import decisions_of
from tests.people import BOB, SUE

decide = decisions_of(decide_tariffs)
T = datetime(2030, 1, 1, tzinfo=UTC)
FREE = Side()


def publish(
    name: str,
    rule: Rule,
    *,
    payer: Side = FREE,
    earner: Side = FREE,
    seconds: int = 0,
    effective_from: datetime | None = None,
    subsidy: bool = False,
) -> PublishTariff:
    at = T + timedelta(seconds=seconds)
    return PublishTariff(
        id=f"p-{name}-{seconds}", at=at, book=BOOK, tariff=name, rule=rule, payer=payer, earner=earner,
        effective_from=effective_from, subsidy=subsidy,
    )  # fmt: skip


def select(
    kind: CallKind = CallKind.DIRECT,
    *,
    seconds: int = 0,
    payer: Role = Role.USER,
    earner: Role = Role.STREAMER,
    country: str = "",
    tags: tuple[str, ...] = (),
) -> SelectTariff:
    return SelectTariff(
        id="s", at=T + timedelta(seconds=seconds), book=BOOK, call="c", traits=Traits(kind, payer, earner, country, tags)
    )


def book_of(*messages: PublishTariff) -> Any:
    book = None
    for message in messages:
        book, _ = decide(book, message)
    return book


BOOKED = book_of(
    publish("gb", Rule(CallKind.DIRECT, country="GB")),
    publish("vip", Rule(CallKind.DIRECT, Role.USER, Role.STREAMER, "GB", "vip")),
)


@pytest.mark.parametrize(
    ("call", "tariff"),
    [
        (select(), "standard"),
        (select(CallKind.ROULETTE), "roulette"),
        (select(CallKind.ROULETTE, payer=Role.STREAMER), "standard"),
        (select(CallKind.CLIP), "clip"),
        (select(country="GB"), "gb"),
        (select(country="GB", tags=("new", "vip")), "vip"),
        (select(country="FR", tags=("vip",)), "standard"),
    ],
)
def test_the_rule_that_says_most_wins(call: SelectTariff, tariff: str) -> None:
    _, (selected,) = decide(BOOKED, call)
    assert selected.tariff.tariff == tariff


def test_a_version_holds_from_its_time_on() -> None:
    later = T + timedelta(seconds=60)
    rule = Rule(CallKind.DIRECT, country="GB")
    book = book_of(publish("gb", rule), publish("gb", rule, seconds=1, effective_from=later))
    assert [tariff.version for tariff in book.versions["gb"]] == [1, 2]
    for at, version in ((later - timedelta(seconds=1), 1), (later, 2)):
        tariff = in_force(book.versions["gb"], at)
        assert tariff is not None
        assert tariff.version == version


LOSS = Side((Checkpoint(0, 1000),))
REFUSALS = [
    (publish("x", Rule(country="X"), payer=Side((Checkpoint(60, 1),)), earner=LOSS), TariffRefusal.PAYS_MORE_THAN_IT_TAKES),
    (publish("x", Rule(country="X"), payer=Side((Checkpoint(5, 1), Checkpoint(5, 1)))), TariffRefusal.INVALID_TARIFF),
    (publish("x", Rule(country="X"), effective_from=T - timedelta(days=1)), TariffRefusal.EFFECTIVE_IN_PAST),
    (publish("x", Rule(CallKind.CLIP)), TariffRefusal.OVERLAPPING_RULES),
    (publish("x", Rule(tag="new")), TariffRefusal.OVERLAPPING_RULES),
]


@pytest.mark.parametrize(("message", "refusal"), REFUSALS)
def test_a_version_that_cannot_be_is_refused_by_name(message: PublishTariff, refusal: TariffRefusal) -> None:
    book, (fact,) = decide(BOOKED, message)
    assert (book, fact.refusal) == (BOOKED, refusal)
    assert fact.detail


def test_a_subsidy_says_so() -> None:
    _, (fact,) = decide(BOOKED, publish("x", Rule(country="X", tag="x"), earner=LOSS, subsidy=True))
    assert fact.tariff.subsidy


def test_two_spellings_of_a_price_are_one_in_the_book() -> None:
    (one,) = book_of(publish("x", Rule(country="X", tag="x"), payer=Side((Checkpoint(60, 60),)))).versions["x"]
    spelled = Side((Checkpoint(0, 0), Checkpoint(60, 60)))
    (other,) = book_of(publish("x", Rule(country="X", tag="x"), payer=spelled)).versions["x"]
    assert one == other


def test_however_many_versions_are_scheduled_the_one_in_force_stays() -> None:
    rule, book, facts = Rule(CallKind.DIRECT, country="GB"), None, []
    book, _ = decide(book, publish("gb", rule))
    for number in range(1, 40):
        ahead = T + timedelta(days=number)
        book, (fact,) = decide(book, publish("gb", rule, seconds=number, effective_from=ahead))
        facts.append(getattr(fact, "refusal", None))
        _, (selected,) = decide(book, select(country="GB", seconds=number))
        assert (selected.tariff.tariff, selected.tariff.version) == ("gb", 1)
    assert facts == [None] * 14 + [TariffRefusal.TOO_MANY_TARIFFS] * 25
    for number in range(40, 45):
        book, (fact,) = decide(book, publish("gb", rule, seconds=number))
        assert in_force(book.versions["gb"], T + timedelta(seconds=number)) == fact.tariff, "one at once always has room"
        _, (selected,) = decide(book, select(country="GB", seconds=number - 1))
        assert selected.tariff.tariff == "gb", "nor is a call lost that asked a moment before"
    book, (fact,) = decide(book, publish("gb", rule, seconds=50, effective_from=T + timedelta(days=3)))
    assert fact.tariff in book.versions["gb"], "another one for the same time takes the place of the first"
    assert sum(version.effective_from == T + timedelta(days=3) for version in book.versions["gb"]) == 1


def test_the_number_of_tariffs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.billing_tariffs.MAX_TARIFFS", 5)
    _, (fact,) = decide(BOOKED, publish("x", Rule(country="X", tag="x", kind=CallKind.DIRECT)))
    assert fact.refusal is TariffRefusal.TOO_MANY_TARIFFS


def test_a_bill_that_waits_for_the_ledger_keeps_its_next_wake() -> None:
    """Both sides are due at 5 s while the hold's answer is late: a wake spent on waiting would never come again."""
    side = Side((Checkpoint(0, 9), Checkpoint(5, 60)))
    tariff = Tariff("t", 1, Rule(), side, Side((Checkpoint(5, 30),)), T)
    bill = Bill(
        Traits(CallKind.DIRECT, Role.USER, Role.STREAMER), BOB, SUE, tariff, MessageId("m"), HoldStatus.ASKED, connected_at=T,
        paid=1,
    )  # fmt: skip
    assert bill.wake_at is None
    assert replace(bill, hold=HoldStatus.STANDING).wake_at == T + timedelta(seconds=5)
