"""Rating against a naive second implementation, and its laws."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.billing import SHIPPED
from schemas.billing_rating import MAX_CALL_S, Checkpoint, Side, normal, pays_more_from, problems_of

USER = Side((Checkpoint(0, 9), Checkpoint(20, 60), Checkpoint(60, 60)), 60, 60)
STREAMER = Side((Checkpoint(20, 30), Checkpoint(60, 30)), 60, 30)


def naive(side: Side, length: timedelta) -> int:
    """Second for second through the tariff, from its definition."""
    end, paid = length.total_seconds(), 0
    due = {c.after_s: c.coins for c in side.checkpoints}
    last = max(due, default=0)
    for second in range(int(end) + 2):
        repeated = side.step_s and second > last and (second - last) % side.step_s == 0
        coins = due.get(second, 0) + (side.step_coins if repeated else 0)
        if (second < end or second == 0) and second >= side.free_s:
            paid += coins
    return min(paid, side.most_coins) if side.most_coins else paid


@st.composite
def sides(draw: st.DrawFn) -> Side:
    times = sorted(draw(st.sets(st.integers(0, 300), max_size=6)))
    step_s = draw(st.sampled_from([0, 5, 7, 30, 60]))
    step_coins = draw(st.integers(0, 100)) if step_s else 0
    most_coins, free_s = draw(st.integers(0, 900)), draw(st.sampled_from([0, 1, 30, 60, 61, 200]))
    return Side(tuple(Checkpoint(s, draw(st.integers(0, 200))) for s in times), step_s, step_coins, most_coins, free_s)


lengths = st.integers(0, 1200 * 1_000_000).map(lambda us: timedelta(microseconds=us)) | st.integers(0, 1200).map(
    lambda s: timedelta(seconds=s)
)


@pytest.mark.parametrize(
    ("seconds", "pays", "earns"),
    [
        (0, 9, 0), (0.000001, 9, 0), (20, 9, 0), (20.000001, 69, 30), (60, 69, 30), (60.5, 129, 60), (120, 129, 60),
        (120.1, 189, 90), (600, 129 + 8 * 60, 60 + 8 * 30), (600.1, 129 + 9 * 60, 60 + 9 * 30),
    ],
)  # fmt: skip
def test_the_shipped_example_to_the_coin(seconds: float, pays: int, earns: int) -> None:
    length = timedelta(seconds=seconds)
    assert (USER.total(length), STREAMER.total(length)) == (pays, earns)


@given(sides(), lengths)
def test_rating_equals_a_naive_second_implementation(side: Side, length: timedelta) -> None:
    assert side.total(length) == naive(side, length)


@given(sides(), lengths, lengths)
def test_rating_never_falls_as_time_passes_and_pieces_add_up(side: Side, one: timedelta, other: timedelta) -> None:
    short, long = sorted((one, other))
    assert side.total(short) <= side.total(long)
    between = [point.coins for n in range(side.count(short), side.count(long)) if (point := side.at(n))]
    assert len(between) == side.count(long) - side.count(short)
    assert side.total(short) + sum(between) == side.total(long)


@given(sides(), lengths)
def test_the_checkpoints_one_by_one_are_those_that_count(side: Side, length: timedelta) -> None:
    number = 0
    while (c := side.at(number)) and (not c.after_s or timedelta(seconds=c.after_s) < length):
        number += 1
    assert number == side.count(length)


@given(sides(), st.integers(0, 5), st.integers(0, 2000))
def test_coins_last_until_the_first_checkpoint_that_they_cannot_pay(side: Side, covered: int, coins: int) -> None:
    lasts = side.lasts_s(covered, coins)
    if covered and side.at(covered - 1) is None:
        return
    paid = side.coins(covered)
    if lasts is None:
        assert side.total(timedelta(seconds=MAX_CALL_S)) - paid <= coins or side.at(covered) is None
    else:
        assert side.total(timedelta(seconds=lasts)) - paid <= coins or lasts == 0  # the first checkpoint is at the connection
        assert side.total(timedelta(seconds=lasts, microseconds=1)) - paid > coins or lasts == 0


@given(sides(), lengths)
def test_a_side_and_its_normal_form_rate_alike(side: Side, length: timedelta) -> None:
    assert normal(side).total(length) == side.total(length)
    assert normal(normal(side)) == normal(side)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Side((Checkpoint(60, 60),)), Side((Checkpoint(0, 0), Checkpoint(60, 60)))),
        (Side((Checkpoint(60, 60),)), Side((Checkpoint(60, 60), Checkpoint(90, 0)), 60, 0)),
        (Side((), 60, 5), Side((Checkpoint(0, 0),), 60, 5)),
        (Side(), Side((Checkpoint(0, 0), Checkpoint(9, 0)), 30, 0)),
        (Side((Checkpoint(30, 0),), 60, 5), Side((Checkpoint(10, 0), Checkpoint(30, 0)), 60, 5)),
        (Side((Checkpoint(0, 30),)), Side((Checkpoint(0, 30),), most_coins=30)),
        (Side((Checkpoint(0, 30),), 60, 60), Side((Checkpoint(0, 30),), 60, 60, most_coins=30 + 359 * 60)),
    ],
)
def test_two_spellings_of_a_price_have_one_normal_form(one: Side, other: Side) -> None:
    assert normal(one) == normal(other)


@given(sides(), sides(), lengths)
def test_a_tariff_that_is_no_subsidy_never_pays_more_than_it_takes(payer: Side, earner: Side, length: timedelta) -> None:
    second = pays_more_from(payer, earner)
    if second is None:
        assert earner.total(length) <= payer.total(length)
    else:
        just_behind = timedelta(seconds=second, microseconds=1)
        assert earner.total(just_behind) > payer.total(just_behind)
        assert earner.total(timedelta(seconds=second)) <= payer.total(timedelta(seconds=second)) or second == 0


def test_what_olo_ships_is_no_subsidy() -> None:
    assert [tariff.tariff for tariff in SHIPPED if pays_more_from(tariff.payer, tariff.earner) is not None] == []
    assert pays_more_from(Side((Checkpoint(60, 1),)), Side((Checkpoint(0, 1000),))) == 0


@pytest.mark.parametrize(
    ("side", "told"),
    [
        (Side((Checkpoint(20, 1), Checkpoint(10, 1))), "later than the one before"),
        (Side((Checkpoint(20, 1), Checkpoint(20, 1))), "later than the one before"),
        (Side((Checkpoint(0, -1),)), "negative"),
        (Side((Checkpoint(0, 1),), most_coins=-1), "negative"),
        (Side((), 0, 5), "needs step_s"),
        (Side((), 1, 5), "5 seconds or more"),
        (Side(tuple(Checkpoint(s, 1) for s in range(60))), "more than 50"),
    ],
)
def test_a_side_that_cannot_be_used_says_why(side: Side, told: str) -> None:
    assert any(told in line for line in problems_of(side, "payer"))


def test_the_example_is_what_olo_ships_for_roulette() -> None:
    roulette = next(tariff for tariff in SHIPPED if tariff.tariff == "roulette")
    assert (roulette.payer, roulette.earner) == (USER, STREAMER)


def test_the_example_is_in_order() -> None:
    assert problems_of(USER, "payer") == problems_of(STREAMER, "earner") == []
