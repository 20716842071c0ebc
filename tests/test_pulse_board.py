"""The board of the panel's page Now: worked out once for all who look, and each of them told all of it."""

import asyncio
import json
from datetime import timedelta
from typing import Any

from schemas.log.base import EPOCH
from schemas.pulse import Pulse, PulseWindow, window_key
from serving import pulse_board
from serving.pulse_board import BACK_S, MAX_WAITING, SAMPLES, Board, Watcher

BEGIN = 1_800_000_000


def window(metric: str, second: int, value: int, width_s: int = 1) -> PulseWindow:
    at = EPOCH + timedelta(seconds=BEGIN + second)
    name = window_key(metric, width_s, BEGIN + second)
    return PulseWindow(id=name, at=at, metric=metric, width_s=width_s, value=value, as_of=at + timedelta(seconds=3))


def told(event: bytes | None) -> dict[str, Any]:
    """The numbers of an event, by name."""
    assert event is not None
    found = json.loads(event.partition(b"data: ")[2])
    return {one["name"]: one for one in found["numbers"]}


def a_minute(board: Board, first: int = 0, seconds: int = 120) -> None:
    for second in range(first, first + seconds):
        board.take([window(metric, second, 5 if metric in ("online", "rang") else 1) for metric in Pulse])


def test_numbers_are_of_a_minute_and_levels_of_now() -> None:
    board = Board(lambda _: lambda: None)
    a_minute(board)
    board.take([window("lag_records/money", 115, 7, 5)])
    numbers = told(board.snapshot())
    assert (numbers["online"]["value"], numbers["gifts"]["value"]) == (5, 60)
    assert (numbers["accept_percent"]["value"], numbers["answer_s"]["value"]) == (20.0, 0.0)
    assert numbers["online"]["as_of"] == "2027-01-15T08:02:02Z"
    assert numbers["lag_records/money"]["as_of"] == "2027-01-15T08:01:58Z"
    assert len(numbers["gifts"]["recent"]) == 24
    board.take([window("gifts", 119, 11)])  # written again with another value, it takes its own place
    assert told(board.snapshot())["gifts"]["value"] == 70


def test_nothing_grows() -> None:
    board = Board(lambda _: lambda: None)
    a_minute(board, seconds=2 * BACK_S)
    board.take([window(f"lag_records/{number}", 0, 1, 5) for number in range(2 * SAMPLES)])
    assert {len(known) for known in board._seconds.values()} == {BACK_S}
    assert len(board._samples) == SAMPLES
    assert max(len(points) for points in board._points.values()) == BACK_S // 5


def test_all_panels_are_told_the_same_bytes_and_a_slow_one_reads_anew(monkeypatch: Any) -> None:
    monkeypatch.setattr(pulse_board, "TELL_S", 0.0)
    begun: list[str] = []

    def follow(_: Board) -> Any:
        begun.append("begin")
        return lambda: begun.append("end")

    async def look() -> None:
        board = Board(follow)
        fast, slow = board.open(), board.open()
        assert await fast.events.get() is None, "first a snapshot"
        for second in range(2 * MAX_WAITING - 1):
            board.take([window("online", second, second)])
            board.take([window("gifts", second, 1)])
            await asyncio.sleep(0.001)
            event = await fast.events.get()
            assert told(event)["online"]["value"] == second
        last: list[bytes | None] = []
        while not slow.events.empty():
            last.append(slow.events.get_nowait())
        assert None in last
        assert len(last) <= MAX_WAITING
        assert event in last, "encoded once"
        for watcher in (fast, slow):
            board.close(watcher)
        board._end_if_idle()
        board.close(board.open())
        assert isinstance(slow, Watcher)

    asyncio.run(look())
    assert begun == ["begin", "end", "begin"], "the log is followed while somebody looks, once for all"
