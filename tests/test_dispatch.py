"""Dispatch's bookkeeping: which attempts have a report, where a partition goes on, and turns that are spread over time."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.flows.dispatch import Dispatch, Limiter, OwedEffects, Running
from schemas.log.codec import decoder_of
from schemas.log.topics import DEAD_LETTERS
from schemas.outbox import OUTBOX


def lane_after(position: int, begun: list[int], finished: list[int] | set[int]) -> OwedEffects:
    lane = OwedEffects(position, set())
    for offset in begun:
        lane.running[offset] = cast(Running, None)  # nobody asks how it ended
        lane.next = offset + 1
    lane.finish(set(finished))
    return lane


def test_the_position_is_the_first_attempt_without_a_report() -> None:
    lane = lane_after(10, [10, 12, 15], [12])
    assert (lane.position, lane.done) == (10, {12})
    lane.finish({10})
    assert (lane.position, lane.done) == (15, set())
    lane.finish({15})
    assert (lane.position, lane.done) == (16, set())


@given(st.sets(st.integers(0, 30), min_size=1), st.data())
def test_a_restart_makes_exactly_the_attempts_that_have_no_report(begun: set[int], data: st.DataObject) -> None:
    finished = data.draw(st.sets(st.sampled_from(sorted(begun))))
    lane = lane_after(0, sorted(begun), finished)
    again = {offset for offset in range(lane.position, max(begun) + 1) if offset not in lane.done}
    assert again & begun == begun - finished


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
