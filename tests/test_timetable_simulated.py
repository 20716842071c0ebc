"""The timetable in simulated schedules: all laws hold, and planted bugs are found."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from msgspec.structs import replace

from pipelines.runtime.core import Decider
from pipelines.runtime.simulator import run, schedule_of, search, tell
from pipelines.timetable import decide_timetable
from schemas.log.base import Message, Wake
from schemas.timetable import TIMETABLE, PutJobOnTimetable, RunJob, Timetable, TimetableInbox
from tests.lab.simulated_timetable import SETUP

SEEDS = settings().max_examples


def test_all_laws_hold_over_many_schedules() -> None:
    failure = search(SETUP, range(SEEDS))
    assert failure is None, tell(failure)


Decision = tuple[Timetable | None, list[Message]]


def keeps_old_instants(state: Timetable | None, message: TimetableInbox) -> Decision:
    """A replaced version's instants fire beside the new one's."""
    after, told = decide_timetable(state, message)
    if isinstance(message, PutJobOnTimetable) and after and state and state.instants:
        after = replace(after, instants=tuple(sorted({*after.instants, *state.instants})[:32]))
    return after, list(told)


def runs_again(state: Timetable | None, message: TimetableInbox) -> Decision:
    """The same order of staff fires as often as it comes."""
    if isinstance(message, RunJob) and state:
        state = replace(state, history=())
    after, told = decide_timetable(state, message)
    return after, list(told)


def wakes_paused(state: Timetable | None, message: TimetableInbox) -> Decision:
    """A wake that was under way when the job was paused still fires."""
    paused = state is not None and state.paused and isinstance(message, Wake)
    after, told = decide_timetable(replace(state, paused=False) if paused and state else state, message)
    return (replace(after, paused=True) if paused and after else after), list(told)


@pytest.mark.parametrize("bug", [keeps_old_instants, runs_again, wakes_paused])
def test_a_planted_bug_is_found(bug: Callable[[Timetable | None, TimetableInbox], Decision]) -> None:
    deciders = [Decider(TIMETABLE, bug) if one.entity is TIMETABLE else one for one in SETUP.deciders]
    setup = SETUP._replace(deciders=deciders)
    assert any(run(setup, schedule_of(seed, setup.workload, setup.drift_s)) for seed in range(60))
