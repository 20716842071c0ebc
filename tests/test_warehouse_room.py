"""Room for others: confined threads have one half of the cores, all others the other half, and nothing sticks to any."""

import os
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.warehouse.room import LOWEST, Room, may_take_back

MANY = 4
STEP = st.tuples(st.booleans(), st.sets(st.integers(0, MANY - 1)))


@pytest.fixture
def threads() -> Iterator[list[int]]:
    if sys.platform != "linux":
        yield []
        return
    done = threading.Event()
    waiting = [threading.Thread(target=done.wait) for _ in range(MANY)]
    for thread in waiting:
        thread.start()
    yield [thread.native_id or 0 for thread in waiting]
    done.set()
    for thread in waiting:
        thread.join()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=8))
def test_who_is_confined_has_one_half_and_all_have_all_behind(threads: list[int], steps: list[tuple[bool, set[int]]]) -> None:
    if sys.platform == "linux":
        cores, lowers = os.sched_getaffinity(0), may_take_back()
        room, confined = Room(), set[int]()
        try:
            for comes, which in steps:
                named = {threads[n] for n in which}
                (room.confine if comes else room.release)(named)
                confined = confined | named if comes else confined - named
                for thread in threads if len(cores) > 1 else []:
                    has = os.sched_getaffinity(thread)
                    if confined:
                        assert (min(has) > min(cores), len(has) < len(cores)) == (thread in confined, True)
                    lowest = os.getpriority(os.PRIO_PROCESS, thread) == LOWEST
                    assert lowest == (lowers and thread in confined)
        finally:
            room.release(threads)
        assert all(os.sched_getaffinity(thread) == cores for thread in (*threads, os.getpid()))


def test_a_thread_that_has_ended_is_nobodys() -> None:
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    all_cores = os.sched_getaffinity(0) if sys.platform == "linux" else set()
    room = Room()
    room.confine([ended.native_id or 0])
    room.release([ended.native_id or 0])
    if sys.platform == "linux":
        assert os.sched_getaffinity(0) == os.sched_getaffinity(os.getpid()) == all_cores
