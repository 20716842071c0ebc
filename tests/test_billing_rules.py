"""Which calls a rule is for: hours on a wall against the zones' data, rules that meet, and what a call pins of its tariff."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from infra.cron import offsets_of, zone_of
from pipelines.billing_tariffs import decide_tariffs
from schemas.billing import BOOK, FreeTime, PublishTariff, SelectTariff, Tariff, TariffPublished, TariffRefusal, TariffSelected
from schemas.billing_choice import SHIPPED_BOOK
from schemas.billing_rating import Checkpoint, Side
from schemas.billing_rules import CallKind, Hours, Rule, Traits, Window
from schemas.log.base import By
from schemas.user import Role
from schemas.wall import MAX_OFFSETS, Offset

T = datetime(2030, 1, 1, tzinfo=UTC)  # a Tuesday
CALL = Traits(CallKind.DIRECT, Role.USER, Role.STREAMER, "DE", ("vip",), "gold")
MINUTE = Side((Checkpoint(0, 60),), 60, 60)
HALF = Side((Checkpoint(0, 30),), 60, 30)
EVENINGS = Window((1, 2, 3, 4, 5), 20 * 60, 23 * 60)
WEEKENDS = Window((6, 7), 0, 0)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"])
WINDOWS = st.builds(
    Window,
    st.sets(st.integers(1, 7), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 1439),
    st.integers(0, 1439),
)


def hours(zone: str, *windows: Window) -> Hours:
    offsets = tuple(Offset(since, minutes) for since, minutes in offsets_of(zone, T, MAX_OFFSETS))
    return Hours(windows, zone, offsets)


def told(windows: Iterable[Window], wall: datetime) -> bool:
    """From the definition: of a window that passes midnight its second part is on the next day."""
    minute, day, before = wall.hour * 60 + wall.minute, wall.isoweekday(), (wall - timedelta(days=1)).isoweekday()
    for window in windows:
        if window.begins < window.ends:
            if day in window.days and window.begins <= minute < window.ends:
                return True
        elif (day in window.days and minute >= window.begins) or (before in window.days and minute < window.ends):
            return True
    return False


@given(zone=ZONES, windows=st.lists(WINDOWS, min_size=1, max_size=3), minute=st.integers(0, 5 * 366 * 1440))
def test_hours_are_those_on_the_wall(zone: str, windows: list[Window], minute: int) -> None:
    at = T + timedelta(minutes=minute)
    assert hours(zone, *windows).holds(at) == told(windows, at.astimezone(zone_of(zone)))


@settings(max_examples=15)
@given(one=WINDOWS, other=WINDOWS)
def test_hours_meet_where_some_minute_of_the_week_lies_in_both(one: Window, other: Window) -> None:
    week = [T + timedelta(minutes=minute) for minute in range(7 * 1440)]
    first, second = hours("UTC", one), hours("UTC", other)
    assert first.meets(second) == any(told([one], at) and told([other], at) for at in week)
    assert first.meets(hours("Europe/Berlin", other))


@pytest.mark.parametrize(
    ("rule", "other", "meet"),
    [
        (Rule(), Rule(CallKind.DIRECT), True),
        (Rule(CallKind.DIRECT), Rule(CallKind.ROULETTE), False),
        (Rule(tag="vip"), Rule(tag="new"), True),
        (Rule(price_class="gold"), Rule(price_class="silver"), False),
        (Rule(price_class="gold"), Rule(country="DE"), True),
        (Rule(hours=hours("UTC", EVENINGS)), Rule(hours=hours("UTC", WEEKENDS)), False),
        (Rule(hours=hours("UTC", EVENINGS)), Rule(hours=hours("UTC", EVENINGS, WEEKENDS)), True),
        (Rule(hours=hours("UTC", EVENINGS)), Rule(hours=hours("Asia/Kathmandu", WEEKENDS)), True),
        (Rule(hours=hours("UTC", EVENINGS)), Rule(), True),
    ],
)
def test_rules_that_meet(rule: Rule, other: Rule, meet: bool) -> None:
    assert rule.meets(other) == other.meets(rule) == meet


@given(st.lists(WINDOWS, min_size=1, max_size=2), st.integers(0, 366 * 1440))
def test_a_rule_with_hours_says_more_and_fits_within_them_only(windows: list[Window], minute: int) -> None:
    rule, at = Rule(CallKind.DIRECT, hours=hours("UTC", *windows)), T + timedelta(minutes=minute)
    assert rule.weight == 2
    assert rule.fits(CALL, at) == told(windows, at)


def publish(rule: Rule, **more: object) -> PublishTariff:
    given_ = {"tariff": "evening", "payer": MINUTE, "earner": HALF} | more
    return PublishTariff(id="p", at=T, book=BOOK, rule=rule, by=By("root"), **given_)  # type: ignore[arg-type]


def chosen(book: object, at: datetime, traits: Traits = CALL) -> Tariff:
    _, (fact,) = decide_tariffs(book, SelectTariff(id="s", at=at, book=BOOK, call="c", traits=traits))  # type: ignore[arg-type]
    assert isinstance(fact, TariffSelected)
    assert fact.tariff is not None
    return fact.tariff


def test_a_call_has_the_tariff_of_the_hour_at_which_it_is_placed() -> None:
    """To the minute; a version from the past keeps counting; and the pinned tariff carries no hours."""
    rule = Rule(CallKind.DIRECT, hours=hours("Europe/Berlin", EVENINGS))
    book, (fact,) = decide_tariffs(SHIPPED_BOOK, publish(rule))
    assert isinstance(fact, TariffPublished)
    before, begins = datetime(2030, 7, 2, 17, 59, 59, tzinfo=UTC), datetime(2030, 7, 2, 18, 0, tzinfo=UTC)
    assert [chosen(book, at).tariff for at in (before, begins)] == ["standard", "evening"]
    assert [chosen(book, begins + timedelta(hours=3, seconds=s)).tariff for s in (-1, 0)] == ["evening", "standard"]
    assert chosen(book, begins).rule == Rule(CallKind.DIRECT)
    silver = publish(Rule(price_class="silver"), tariff="silver")
    assert chosen(decide_tariffs(book, silver)[0], begins, CALL).tariff == "evening"


def test_equal_rules_of_other_hours_stand_side_by_side() -> None:
    book, _ = decide_tariffs(SHIPPED_BOOK, publish(Rule(CallKind.DIRECT, hours=hours("UTC", EVENINGS))))
    _, (other,) = decide_tariffs(book, publish(Rule(CallKind.DIRECT, hours=hours("UTC", WEEKENDS)), tariff="weekend"))
    assert isinstance(other, TariffPublished)
    _, (same,) = decide_tariffs(book, publish(Rule(CallKind.DIRECT, hours=hours("UTC", EVENINGS)), tariff="weekend"))
    assert getattr(same, "refusal", None) is TariffRefusal.OVERLAPPING_RULES


FREE = (FreeTime("vip", 60), FreeTime("new", 120))


@pytest.mark.parametrize(("tags", "free_s"), [((), 0), (("vip",), 60), (("new", "vip"), 120), (("other",), 0)])
def test_first_seconds_are_free_for_a_tag(tags: tuple[str, ...], free_s: int) -> None:
    book, (fact,) = decide_tariffs(SHIPPED_BOOK, publish(Rule(CallKind.DIRECT), subsidy=True, free=FREE))
    assert isinstance(fact, TariffPublished)
    tariff = chosen(book, T, Traits(CallKind.DIRECT, Role.USER, Role.STREAMER, "DE", tags))
    assert (tariff.payer.free_s, tariff.free) == (free_s, ())
    assert tariff.payer.total(timedelta(seconds=max(1, free_s))) == (0 if free_s else 60)
    assert tariff.payer.total(timedelta(seconds=301)) == 360 - free_s
    assert tariff.earner.total(timedelta(seconds=301)) == 180


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"free": FREE}, TariffRefusal.PAYS_MORE_THAN_IT_TAKES),
        ({"free": FREE, "earner": Side()}, None),
        ({"payer": Side((Checkpoint(0, 60),), 60, 60, most_coins=100)}, TariffRefusal.PAYS_MORE_THAN_IT_TAKES),
        (
            {"payer": Side((Checkpoint(0, 60),), 60, 60, most_coins=100), "earner": Side((Checkpoint(0, 30),), 60, 30, 100)},
            None,
        ),
        ({"payer": Side((Checkpoint(0, 60),), 60, 60, free_s=5)}, TariffRefusal.INVALID_TARIFF),
        ({"earner": Side((Checkpoint(0, 60),), 60, 60, free_s=5)}, TariffRefusal.INVALID_TARIFF),
    ],
)
def test_what_the_platform_would_pay_for_is_said(more: dict[str, object], refusal: TariffRefusal | None) -> None:
    _, (fact,) = decide_tariffs(SHIPPED_BOOK, publish(Rule(CallKind.DIRECT), **more))
    assert getattr(fact, "refusal", None) == refusal


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 4000))
def test_no_payer_of_a_tariff_without_subsidy_pays_less_than_the_earner_gets(free_s: int, most: int, seconds: int) -> None:
    """Law: whatever tags a payer has."""
    message = publish(
        Rule(CallKind.DIRECT), free=(FreeTime("vip", free_s),) if free_s else (),
        payer=Side((Checkpoint(0, 60),), 60, 60, most), earner=Side((Checkpoint(120, 30),), 60, 30, 90),
    )  # fmt: skip
    book, (fact,) = decide_tariffs(SHIPPED_BOOK, message)
    assume(isinstance(fact, TariffPublished))
    for tags in ((), ("vip",)):
        tariff = chosen(book, T, Traits(CallKind.DIRECT, Role.USER, Role.STREAMER, tags=tags))
        length = timedelta(seconds=seconds)
        assert tariff.earner.total(length) <= tariff.payer.total(length)
