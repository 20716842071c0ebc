"""Windows of buckets against the sum over everything that ever happened."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.log.windows import Buckets, add, bucket_of, expires_at, within
from tests.long_lists import long_lists

HOUR_S = 3_600
T = datetime(2030, 1, 1, tzinfo=UTC)
deeds = long_lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), 20)


@given(deeds, st.integers(1, 5), st.integers(0, 20))
def test_a_window_holds_what_it_can_still_see_whatever_comes_late(done: list[tuple[int, int]], count: int, later: int) -> None:
    buckets: Buckets = {}
    for number, amount in done:
        buckets = add(buckets, number, amount, count)
    newest = max((number for number, _ in done), default=0)
    now = newest + later
    assert within(buckets, now, count) == sum(amount for number, amount in done if now - count < number <= now)
    assert all(newest - count < number <= newest for number in buckets)


def test_a_window_is_left_when_its_oldest_bucket_leaves_it() -> None:
    assert expires_at({}, HOUR_S, 24) is None
    number = bucket_of(T, HOUR_S)
    assert bucket_of(T + timedelta(seconds=HOUR_S - 1), HOUR_S) == number
    assert expires_at(add({}, number, 1, 24), HOUR_S, 24) == T + timedelta(hours=24)
