"""The tariff book: the rule that says most wins, ties are refused, a version holds from its time on."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from pipelines.billing_tariffs import decide_tariffs as decide
from pipelines.billing_tariffs import in_force
from schemas.billing import (
    BOOK,
    Bill,
    CallKind,
    HoldStatus,
    PublishTariff,
    Rule,
    SelectTariff,
    Tariff,
    TariffRefusal,
    Traits,
)
from schemas.billing_rating import Checkpoint, Side
from schemas.user import Role

T = datetime(2030, 1, 1, tzinfo=UTC)
FREE = Side()


def publish(name, rule, *, payer=FREE, seconds=0, effective_from=None):
    at = T + timedelta(seconds=seconds)
    return PublishTariff(
        id=f"p-{name}-{seconds}", at=at, book=BOOK, tariff=name, rule=rule, payer=payer, earner=FREE,
        effective_from=effective_from,
    )  # fmt: skip


def select(kind=CallKind.DIRECT, *, seconds=0, payer=Role.USER, earner=Role.STREAMER, country="", tags=()):
    return SelectTariff(
        id="s", at=T + timedelta(seconds=seconds), book=BOOK, call="c", traits=Traits(kind, payer, earner, country, tags)
    )


def book_of(*messages):
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
def test_the_rule_that_says_most_wins(call, tariff):
    _, (selected,) = decide(BOOKED, call)
    assert selected.tariff.tariff == tariff


def test_a_version_holds_from_its_time_on():
    later = T + timedelta(seconds=60)
    rule = Rule(CallKind.DIRECT, country="GB")
    book = book_of(publish("gb", rule), publish("gb", rule, seconds=1, effective_from=later))
    assert [tariff.version for tariff in book.versions["gb"]] == [1, 2]
    assert in_force(book.versions["gb"], later - timedelta(seconds=1)).version == 1
    assert in_force(book.versions["gb"], later).version == 2


REFUSALS = [
    (publish("x", Rule(country="X"), payer=Side((Checkpoint(5, 1), Checkpoint(5, 1)))), TariffRefusal.INVALID_TARIFF),
    (publish("x", Rule(country="X"), effective_from=T - timedelta(days=1)), TariffRefusal.EFFECTIVE_IN_PAST),
    (publish("x", Rule(CallKind.CLIP)), TariffRefusal.OVERLAPPING_RULES),
    (publish("x", Rule(tag="new")), TariffRefusal.OVERLAPPING_RULES),
]


@pytest.mark.parametrize(("message", "refusal"), REFUSALS)
def test_a_version_that_cannot_be_is_refused_by_name(message, refusal):
    book, (fact,) = decide(BOOKED, message)
    assert (book, fact.refusal) == (BOOKED, refusal)
    assert fact.detail


def test_the_number_of_tariffs_is_bounded(monkeypatch):
    monkeypatch.setattr("pipelines.billing_tariffs.MAX_TARIFFS", 5)
    _, (fact,) = decide(BOOKED, publish("x", Rule(country="X", tag="x", kind=CallKind.DIRECT)))
    assert fact.refusal is TariffRefusal.TOO_MANY_TARIFFS


def test_a_bill_that_waits_for_the_ledger_keeps_its_next_wake():
    """Both sides are due at 5 s while the hold's answer is late: a wake spent on waiting would never come again."""
    side = Side((Checkpoint(0, 9), Checkpoint(5, 60)))
    tariff = Tariff("t", 1, Rule(), side, Side((Checkpoint(5, 30),)), T)
    bill = Bill(
        Traits(CallKind.DIRECT, Role.USER, Role.STREAMER), "bob", "sue", tariff, "m", HoldStatus.ASKED, connected_at=T, paid=1
    )
    assert bill.wake_at is None
    assert replace(bill, hold=HoldStatus.STANDING).wake_at == T + timedelta(seconds=5)
