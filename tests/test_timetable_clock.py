"""When jobs fire: a daily job once a local date in every zone, hourly ones as time passes, and what is no schedule, by name."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.cron import ScheduleError, check, instants, zone_names, zone_of
from schemas.timetable_plan import Schedule

T = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


BAD = [
    (Schedule("0 0 30 2 *"), "cron_never_fires"),
    (Schedule("0 0 31 2,4,6 *"), "cron_never_fires"),
    (Schedule("61 * * * *"), "cron_invalid"),
    (Schedule("* * *"), "cron_invalid"),
    (Schedule("0 0 32 * *"), "cron_invalid"),
    (Schedule("\u0663 * * * *"), "cron_invalid"),
    (Schedule("* * * * * *", "UTC"), "too_frequent"),
    (Schedule("0 3 * * *", "Europe/Atlantis"), "zone_unknown"),
    (Schedule("0 3 * * *", "../../etc/passwd"), "zone_unknown"),
    (Schedule(), "schedule_invalid"),
    (Schedule("0 3 * * *", every_s=60), "schedule_invalid"),
    (Schedule(every_s=1), "too_frequent"),
    (Schedule(at=T - MINUTE), "already_past"),
]


@pytest.mark.parametrize(("schedule", "code"), BAD)
def test_a_schedule_that_cannot_be_is_told_by_name(schedule: Schedule, code: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        check(schedule, T, least_s=5.0)
    assert raised.value.code == code


@given(st.text("0123456789*/,-#LW MONJAN", max_size=20), st.sampled_from(sorted(zone_names())))
def test_any_line_is_a_schedule_or_told_to_be_none(line: str, zone: str) -> None:
    try:
        found = list(islice(instants(Schedule(line or "*", zone), T), 3))
    except ScheduleError:
        return
    assert found == sorted(set(found))
    assert all(one > T for one in found)


# --- daylight-saving time ------------------------------------------------------------------------------------------

# Both of each kind of change, and zones that changed sides of the date line, which left a date out or had one twice.
YEARS = (1994, 2011, 2026)


@cache
def leaps(zone: str) -> tuple[datetime, ...]:
    """When the clock of a zone was or is put forward or back in those years, to the hour."""
    of, found = zone_of(zone), []
    days = [datetime(year, 1, 1, tzinfo=UTC) + day * DAY for year in YEARS for day in range(366)]
    for day in days:
        if day.astimezone(of).utcoffset() != (day + DAY).astimezone(of).utcoffset():
            hours = (day + hour * 60 * MINUTE for hour in range(1, 25))
            found.append(next(one for one in hours if one.astimezone(of).utcoffset() != day.astimezone(of).utcoffset()))
    return tuple(found)


def fires(line: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda one: one < end, instants(Schedule(line, zone), begin)))


@cache
def dates_of(zone: str, begin: datetime, end: datetime) -> list[date]:
    """The dates of which a zone has any moment, without the first and the last, of which a part is looked at only."""
    of, step = zone_of(zone), 15 * MINUTE
    return sorted({(begin + n * step).astimezone(of).date() for n in range(int((end - begin) / step))})[1:-1]


def assert_once_a_date(zone: str, leap: datetime, hour: int, minute: int) -> None:
    begin, end = leap - 3 * DAY, leap + 3 * DAY
    found = fires(f"{minute} {hour} * * *", zone, begin, end)
    dates = Counter(one.astimezone(zone_of(zone)).date() for one in found)
    assert set(dates.values()) == {1}, (zone, leap)
    assert not set(dates_of(zone, begin, end)) - dates.keys(), (zone, leap)


def test_a_daily_job_fires_once_on_each_local_date_of_every_zone_at_every_change() -> None:
    """Zones that do the same at the same moment are looked at once; the times are in the midst of what is leapt over or comes
    twice, at its ends, and the date's first and last minute."""
    seen: dict[tuple[datetime, timedelta | None, timedelta | None], str] = {}
    for zone in sorted(zone_names()):
        of = zone_of(zone)
        for leap in leaps(zone):
            seen.setdefault((leap, (leap - 60 * MINUTE).astimezone(of).utcoffset(), leap.astimezone(of).utcoffset()), zone)
    assert len(seen) > 100
    for (leap, *_), zone in seen.items():
        walls = {(leap + n * 30 * MINUTE).astimezone(zone_of(zone)) for n in (-2, -1, 0, 1)}
        for hour, minute in {(0, 0), (23, 59), *((wall.hour, wall.minute) for wall in walls)}:
            assert_once_a_date(zone, leap, hour, minute)


@given(st.sampled_from(sorted(zone_names())), st.integers(0, 99), st.integers(0, 23), st.integers(0, 59))
def test_a_daily_job_fires_once_on_each_local_date(zone: str, which: int, hour: int, minute: int) -> None:
    changes = leaps(zone) or (T,)
    assert_once_a_date(zone, changes[which % len(changes)], hour, minute)


@pytest.mark.parametrize(
    ("line", "zone", "around", "expected"),
    [
        # leapt over: when the clock has leapt; or in the last second of the date
        ("30 2 * * *", "Europe/Berlin", (2026, 3, 29), ["28 02:30:00", "29 03:00:00", "30 02:30:00"]),
        ("45 23 * * *", "America/Nuuk", (2026, 3, 28), ["27 23:45:00", "28 22:59:59", "29 23:45:00"]),
        # twice: the first time
        ("30 2 * * *", "Europe/Berlin", (2026, 10, 25), ["24 02:30:00", "25 02:30:00", "26 02:30:00"]),
        # a date that is none
        ("0 12 * * *", "Pacific/Apia", (2011, 12, 30), ["29 12:00:00", "31 12:00:00", "01 12:00:00"]),
    ],
)
def test_when_a_daily_job_fires_around_a_change(
    line: str, zone: str, around: tuple[int, int, int], expected: list[str]
) -> None:
    of = zone_of(zone)
    begin = datetime(*around, tzinfo=of).astimezone(UTC) - DAY
    found = fires(line, zone, begin, begin + 3 * DAY)
    assert [f"{one.astimezone(of):%d %H:%M:%S}" for one in found] == expected


@given(st.sampled_from(sorted(zone_names())), st.integers(0, 99), st.sampled_from(["0 * * * *", "17 */1 * * *", "5 0 * * * *"]))
def test_an_hourly_job_fires_each_hour_that_passes(zone: str, which: int, line: str) -> None:
    changes = leaps(zone) or (T,)
    leap = changes[which % len(changes)]
    found = fires(line, zone, leap - DAY, leap + DAY)
    gaps = {(b - a).total_seconds() for a, b in pairwise(found)}
    # where the clock is moved by half an hour, such as on Lord Howe, or by a part of a minute, one hour is not a whole one
    assert 3_600 in gaps
    assert len(gaps - {3_600}) <= 2
    assert max(gaps) < 7_200
