"""Room for others: confined threads run when nobody else wants to, or on one half of the cores, and nothing sticks to any."""

import os
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.warehouse.room import Room, may_idle
from tests.conftest import eventually

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


@pytest.mark.parametrize("idle", [True, False])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=8))
def test_who_is_confined_is_behind_and_all_are_alike_afterwards(
    threads: list[int], idle: bool, steps: list[tuple[bool, set[int]]]
) -> None:
    if sys.platform == "linux":
        cores, by_policy = os.sched_getaffinity(0), idle and may_idle()
        room, confined = Room(idle=idle), set[int]()
        try:
            for comes, which in steps:
                named = {threads[n] for n in which}
                (room.confine if comes else room.release)(named)
                confined = confined | named if comes else confined - named
                for thread in threads:
                    has = os.sched_getaffinity(thread)
                    if confined and not by_policy and len(cores) > 1:
                        assert (min(has) > min(cores), len(has) < len(cores)) == (thread in confined, True)
                    assert is_idle(thread) == (by_policy and thread in confined)
        finally:
            room.release(threads)
        assert all(os.sched_getaffinity(thread) == cores for thread in (*threads, os.getpid()))
        assert not any(is_idle(thread) for thread in (*threads, os.getpid()))


def is_idle(thread: int) -> bool:
    return sys.platform == "linux" and os.sched_getscheduler(thread) == os.SCHED_IDLE


def test_what_a_confined_thread_starts_is_like_others_at_the_next_look() -> None:
    """The engine's pools grow while a statement is confined; the next statement may be the platform's."""
    if not may_idle():
        pytest.skip("this process may not take the policy `idle` back")
    room, confined, done = Room(), threading.Event(), threading.Event()
    child = threading.Thread(target=done.wait)

    def begin() -> None:
        confined.wait()
        child.start()
        done.wait()

    parent = threading.Thread(target=begin)
    parent.start()
    named = [parent.native_id or 0]
    room.confine(named)
    confined.set()
    eventually(lambda: child.native_id)
    before = is_idle(child.native_id or 0)
    room.confine(named)
    assert (before, is_idle(child.native_id or 0), is_idle(named[0])) == (True, False, True)
    room.release(named)
    assert not is_idle(named[0])
    done.set()
    for thread in (parent, child):
        thread.join()


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
