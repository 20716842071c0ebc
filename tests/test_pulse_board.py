"""The board of the panel's page Now: worked out once for all who look, and each of them told all of it."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from schemas.log.base import EPOCH
from schemas.pulse import Pulse, PulseWindow, window_key
from serving import pulse, pulse_board
from serving.pulse_board import BACK_S, SAMPLES, Board

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


class Panel:
    """One that looks: what it was sent, and whether it reads."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.reads = True

    async def send(self, message: Any) -> None:
        while not self.reads:
            await asyncio.sleep(0)
        self.events.append(message["body"])


def test_all_panels_are_told_the_same_bytes_and_a_slow_one_reads_anew(monkeypatch: Any) -> None:
    monkeypatch.setattr(pulse_board, "TELL_S", 0.0)
    begun: list[str] = []

    def follow(_: Board) -> Any:
        begun.append("begin")
        return lambda: begun.append("end")

    async def look() -> None:
        board = Board(follow)
        fast, slow = Panel(), Panel()
        watchers = [board.open(panel.send, lambda: begun.append("cut")) for panel in (fast, slow)]
        assert b"event: snapshot" in fast.events[0]
        for second in range(20):
            slow.reads = second not in (5, 6, 7)
            board.take([window("online", second, second)])
            board.take([window("gifts", second, 1)])
            await asyncio.sleep(0.001)
            assert told(fast.events[-1])["online"]["value"] == second
        assert len(fast.events) == 21
        assert [b"event: snapshot" in event for event in slow.events] == [number in (0, 6) for number in range(18)]
        assert told(slow.events[6])["online"]["value"] == 8
        assert fast.events[-1] is slow.events[-1], "encoded once"
        board.cut()
        for watcher in watchers:
            board.close(watcher)
        board._end_if_idle()
        board.close(board.open(fast.send, lambda: None))

    asyncio.run(look())
    assert begun == ["begin", "cut", "cut", "end", "begin"], "the log is followed while somebody looks, once for all"


def test_a_panel_that_reads_nothing_when_it_opens_is_sent_everything_later(monkeypatch: Any) -> None:
    monkeypatch.setattr(pulse_board, "TELL_S", 0.0)

    async def look() -> None:
        board, panel = Board(lambda _: lambda: None), Panel()
        panel.reads = False
        board.open(panel.send, lambda: None)
        panel.reads = True
        board.take([window("online", 1, 3)])
        await asyncio.sleep(0.001)
        assert [b"event: snapshot" in event for event in panel.events] == [True]

    asyncio.run(look())


async def gone() -> dict[str, str]:
    return {"type": "http.disconnect"}


async def waits() -> dict[str, str]:
    await asyncio.sleep(60)
    return await gone()


def stream(receive: Any, lifetime_s: float) -> tuple[list[dict[str, Any]], Board]:
    """What a client is sent whose connection says this, and the board behind it."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def look() -> Board:
        board = Board(lambda _: lambda: None)
        await pulse.Now(board, lifetime_s)({}, receive, send)
        return board

    return sent, asyncio.run(look())


@pytest.mark.parametrize(("receive", "lifetime_s", "ends"), [(gone, 60.0, False), (waits, 0.2, True), (waits, -5.0, True)])
def test_a_stream_ends_with_its_client_or_its_token(monkeypatch: Any, receive: Any, lifetime_s: float, ends: bool) -> None:
    """Whoever is silent is sent pings; what ends by time says so, and nothing is left on the board."""
    monkeypatch.setattr(pulse, "PING_S", 0.05)
    sent, board = stream(receive, lifetime_s)
    assert sent[0]["status"] == 200
    assert sent[-1].get("more_body", False) != ends
    assert not board._watchers
    assert (sum(message.get("body") == pulse.PING for message in sent) > 1) == (lifetime_s == 0.2)
