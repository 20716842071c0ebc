"""Dispatch's bookkeeping: which attempts have a report, where a partition goes on, and turns that are spread over time."""

import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.flows.dispatch import AT_ONCE, Dispatch, Limiter, OwedEffects, Running
from schemas.log.codec import decoder_of
from schemas.log.topics import DEAD_LETTERS
from schemas.outbox import OUTBOX


def lane_after(position: int, begun: list[int], finished: list[int] | set[int], kept: str = "") -> OwedEffects:
    lane = OwedEffects(position, kept)
    for offset in begun:
        if lane.owes(offset):
            lane.running[offset] = cast(Running, None)  # nobody asks how it ended
        lane.next = offset + 1
    lane.finish(set(finished))
    return lane


def owed(lane: OwedEffects, offsets: Iterable[int]) -> set[int]:
    """What a process that starts at what was kept of the lane makes."""
    after = OwedEffects(lane.position, lane.kept())
    return {offset for offset in offsets if offset >= lane.position and after.owes(offset)}


def test_the_position_is_the_first_attempt_without_a_report() -> None:
    lane = lane_after(10, [10, 12, 15], [12])
    assert (lane.position, owed(lane, (10, 12, 15, 16))) == (10, {10, 15, 16})
    lane.finish({10})
    assert (lane.position, owed(lane, (12, 15, 16))) == (15, {15, 16})
    lane.finish({15})
    assert (lane.position, owed(lane, (15, 16))) == (16, {16})


@given(st.sets(st.integers(0, 30), min_size=1), st.data())
def test_a_restart_makes_exactly_the_attempts_that_have_no_report(begun: set[int], data: st.DataObject) -> None:
    """Also where the second process dies as well, before it has read all that the first one had."""
    finished = data.draw(st.sets(st.sampled_from(sorted(begun))))
    lane = lane_after(0, sorted(begun), finished)
    assert owed(lane, begun) == begun - finished
    again = [offset for offset in sorted(begun) if offset >= lane.position][: data.draw(st.integers(0, 30))]
    then = data.draw(st.sets(st.sampled_from(again))) & (begun - finished) if again else set()
    second = lane_after(lane.position, again, then, lane.kept())
    assert owed(second, begun) == begun - finished - then


def test_what_was_kept_by_an_older_version_is_read() -> None:
    lane = OwedEffects(10, "[12, 15]")
    assert [offset for offset in range(10, 18) if lane.owes(offset)] == [10, 11, 13, 14, 16, 17]


def test_behind_a_chore_of_an_hour_what_is_kept_stays_small() -> None:
    many = list(range(10**11, 10**11 + 10_000))
    lane = lane_after(10**11, many, many[AT_ONCE - 1 : -1])
    assert len(lane.running) == AT_ONCE
    assert len(lane.kept()) < 4_096


def test_turns_at_a_vendor_are_spread_and_vendors_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    limiter = Limiter()
    for vendor in ("agora", "agora", "twilio", "agora"):
        limiter.wait(vendor, 10.0)
    assert [round(wait, 3) for wait in slept] == [0.0, 0.1, 0.0, 0.2]
    clock[0] += 60
    limiter.wait("agora", 10.0)
    assert slept[-1] == 0.0


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"", "broken_json"),
        (b"\xff", "broken_json"),
        (b'{"type":"Nothing"}', "unknown_type"),
        (b'{"type":"EffectDue"}', "invalid"),
    ],
)
def test_a_fact_that_cannot_be_read_is_passed_over_with_a_dead_letter(value: bytes, cause: str) -> None:
    dispatch = object.__new__(Dispatch)  # without a broker
    dispatch._decode, dispatch._letters = decoder_of(OUTBOX.facts), []
    record: Any = SimpleNamespace(partition=lambda: 1, offset=lambda: 7, key=lambda: b"\xff", value=lambda: value)
    assert dispatch._fact(record) is None
    ((partition, (topic, _, place, letter)),) = dispatch._letters
    assert (partition, topic, place) == (1, DEAD_LETTERS.name, b"outbox.events/1/7")
    assert f'"cause":"{cause}"'.encode() in (letter or b"")
