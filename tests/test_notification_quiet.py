"""Quiet hours in every zone, around both changes of its clocks: they end when the wall says so, and never hold for ever."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from infra.cron import offsets_of, zone_names, zone_of
from schemas.notification_quiet import QuietHours
from schemas.wall import MAX_OFFSETS, Offset, offset_at

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
YEAR_MIN = 366 * 1_440
ZONES = st.sampled_from(sorted(zone_names()))


def quiet_of(zone: str, begins: int, ends: int) -> QuietHours:
    offsets = tuple(Offset(since, minutes) for since, minutes in offsets_of(zone, NOW, MAX_OFFSETS))
    return QuietHours(begins, ends, zone, offsets)


@given(zone=ZONES, begins=st.integers(0, 1_439), ends=st.integers(0, 1_439), minute=st.integers(0, YEAR_MIN))
def test_quiet_hours_are_those_of_the_wall_and_end_when_it_says_so(zone: str, begins: int, ends: int, minute: int) -> None:
    quiet, at = quiet_of(zone, begins, ends), NOW + timedelta(minutes=minute)
    wall = at.astimezone(zone_of(zone))
    shown = wall.hour * 60 + wall.minute
    over, looks = quiet.over_at(at), 0
    assert (over is not None) == ((shown - begins) % 1_440 < (ends - begins) % 1_440)
    while over is not None:
        looks += 1
        assert at < over <= at + timedelta(hours=26)
        assert looks <= 3, "clocks change once in between, and it is looked at again"
        last, over = over, quiet.over_at(over)
        if over is None:
            end = last.astimezone(zone_of(zone))
            assert abs((end.hour * 60 + end.minute - ends + 720) % 1_440 - 720) <= 120
            if (last - timedelta(days=1)).astimezone(zone_of(zone)).utcoffset() == end.utcoffset():
                assert end.hour * 60 + end.minute == ends


@given(zone=ZONES, minute=st.integers(0, 5 * YEAR_MIN))
def test_what_was_worked_out_is_what_the_zones_data_say(zone: str, minute: int) -> None:
    at = NOW + timedelta(minutes=minute)
    ahead = at.astimezone(zone_of(zone)).utcoffset()
    assert ahead is not None
    assert offset_at(quiet_of(zone, 0, 1).offsets, at) == ahead // timedelta(minutes=1)
