"""The watchdog ends what hangs, and nothing else: its limit is what the broker answers meanwhile, not the time."""

import os
import signal
import subprocess
import sys

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from infra import asking, kafka
from infra.asking import broker_answers
from pipelines.runtime.watchdog import LOOKS, Watchdog
from tests.conftest import Stack, eventually
from tests.long_lists import long_lists


class Trial:
    """A watchdog whose turns the test makes; `answers` is what the broker will do, `ended` how often the process was ended."""

    def __init__(self, *answers: float) -> None:
        self.answers = list(answers)
        self.ended = self.asked = 0
        self.watchdog = Watchdog("money-0", self._look, self._end)

    def _look(self) -> float | None:
        """False: there is no broker."""
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else True
        return None if answer is False else answer

    def _end(self) -> None:
        self.ended += 1

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.watchdog.turn()


def test_a_step_that_hangs_while_the_broker_answers_is_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    trial = Trial()
    with trial.watchdog.watch("committing a transaction"):
        trial.turns(LOOKS)
        assert [trial.ended] == [0], "the first turn only takes note of the step"
        trial.turns(1)
    assert trial.ended == 1
    said = capfd.readouterr().err
    assert said == f"money-0: hangs in committing a transaction, while the broker has answered {LOOKS} looks\n"


def test_idle_nobody_is_asked() -> None:
    trial = Trial()
    trial.turns(3)
    with trial.watchdog.watch("a step"):
        pass
    trial.turns(1_000)
    assert [trial.asked, trial.ended] == [0, 0]


def test_a_broker_that_is_away_ends_nothing_however_long() -> None:
    trial = Trial(*[False] * 10_000)
    with trial.watchdog.watch("a step"):
        trial.turns(10_001)
        assert [trial.asked, trial.ended] == [10_000, 0]
        trial.turns(LOOKS)
    assert trial.ended == 1, "it is back, and the step still hangs"


@given(long_lists(st.integers(0, LOOKS), 20))
def test_steps_that_go_on_are_never_the_end(lengths: list[int]) -> None:
    """Each step is under way for less than LOOKS turns; the next one begins at once, under the same name."""
    trial = Trial()
    for length in lengths:
        with trial.watchdog.watch("a step"):
            trial.turns(length)
    assert not trial.ended


def test_a_step_that_ends_under_the_last_look_goes_on() -> None:
    trial = Trial()
    with trial.watchdog.watch("a step"):
        trial.turns(LOOKS)

        def goes_on() -> bool:
            trial.watchdog._step = (1, "")
            return True

        trial.watchdog._look = goes_on
        trial.turns(1)
    assert not trial.ended


HANGS = """
import time
from pipelines.runtime import watchdog
watchdog.EVERY_S = 0.001
with watchdog.Watchdog("money-0", lambda: True).start().watch("a step"):
    time.sleep(600)
"""


def test_the_end_tells_where_it_hangs() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("money-0: hangs in a step, while the broker has answered")
    assert 'File "<string>", line 6' in done.stderr


def test_patience_asks_again_what_had_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "PAUSE_S", 0.0)
    late = [KafkaException(KafkaError(code)) for code in kafka.LATE]
    told = KafkaException(KafkaError(KafkaError.UNKNOWN, "try again", False, True))
    answers: list[object] = [*late, told, TimeoutError(), 7]

    def ask() -> object:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    assert kafka.patiently("an answer", ask) == 7
    answers[:] = [KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), 7]
    with pytest.raises(KafkaException):
        kafka.patiently("an answer", ask)


def test_looks_at_the_real_broker(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers; while it is frozen it does not; then it does again."""
    monkeypatch.setattr(asking, "TIMEOUT_S", 0.5)
    look = broker_answers(stack.config)
    assert eventually(look)
    pid = stack.child("broker")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert eventually(lambda: not look()), "the signal takes a moment to reach all of the broker's threads"
        assert not look()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert eventually(look)
