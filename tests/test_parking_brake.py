"""The brake: what fails for everybody stops a flow before all are parked; what one sender does stops it for nobody else."""

from typing import Any

import pytest

from pipelines.runtime import failures
from pipelines.runtime.failures import TooManyParkedError
from schemas.balance import Account
from schemas.log.parking import PARKED
from tests.test_parking import House, fails_for


def test_what_fails_for_very_many_stops_the_flow_and_nothing_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MAX_PARKED", 5)

    def fails(state: Account | None, message: Any) -> Any:
        raise ZeroDivisionError("oops")

    house = House(fails)
    house.open(*(f"user{n}" for n in range(40)))
    with pytest.raises(TooManyParkedError, match="ZeroDivisionError"):
        house.work()
    assert not house.letters()


def test_some_that_fail_among_many_that_do_not_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MAX_PARKED", 5)
    names = [f"user{n}" for n in range(200)]
    house = House(fails_for(*names[::2]))
    house.open(*names)
    house.work()
    assert sum(bool(house.facts(name)) for name in names) == 100


NAMES = [f"user{n}" for n in range(300)]


@pytest.mark.parametrize("size", [1, 400])
def test_one_sender_cannot_have_a_flow_stopped_while_others_are_there(size: int) -> None:
    others = [f"other{n}" for n in range(failures.ENOUGH_WELL)]
    house = House(fails_for(*NAMES))
    if size == 1:  # the others come among them
        for n, name in enumerate(NAMES):
            house.open(*others[n // 10 : n // 10 + 1] if n % 10 == 0 else [], name)
            house.work()
    else:  # or behind all of them
        house.open(*NAMES, *others)
        house.work()
    assert all(house.facts(name) for name in others)
    assert len(house.letters()) == len(NAMES)


def test_a_flow_that_has_stopped_goes_on_by_itself_when_others_come() -> None:
    house = House(fails_for(*NAMES))
    house.open(*NAMES, "other")
    with pytest.raises(TooManyParkedError, match="could not be decided, and only 1 others could"):
        house.work()
    house.start(fails_for(*NAMES))
    house.open(*(f"other{n}" for n in range(20)))
    house.work()
    assert house.facts("other")


def test_what_begins_to_fail_for_everybody_stops_the_flow_however_well_it_went_before() -> None:
    house = House(fails_for(*(f"late{n}" for n in range(5_000))))
    house.open(*NAMES)
    house.work()

    def go_on() -> None:
        for first in range(0, 5_000, 50):
            house.open(*(f"late{n}" for n in range(first, first + 50)))
            house.work()

    with pytest.raises(TooManyParkedError):
        go_on()
    assert len(house.letters()) <= failures.TALLY + failures.MAX_PARKED


def test_parked_entities_that_fail_again_do_not_stop_the_flow() -> None:
    house = House(fails_for(*NAMES))
    house.open(*NAMES, *(f"other{n}" for n in range(20)))
    house.work()
    house.start(fails_for(*NAMES))
    for name in NAMES:
        house.release(name)
    house.work()
    assert sum(key.startswith(PARKED) for key in house.reserved()) == len(NAMES)
