"""A step of a transaction that is only late is taken up again; one that failed is the end."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipelines.runtime.transactions import _resumed

LATE = KafkaException(KafkaError(KafkaError._TIMED_OUT, "retry call to resume", False, True, False))
FENCED = KafkaException(KafkaError(KafkaError._FENCED, "another one has this name", True, False, False))


def _step(*answers: KafkaException | None) -> list[KafkaException | None]:
    left = list(answers)

    def step() -> None:
        if (error := left.pop(0)) is not None:
            raise error

    _resumed(step)
    return left


def test_a_late_step_is_taken_up_again_until_it_is_done() -> None:
    assert _step(LATE, LATE, None, FENCED) == [FENCED]


@pytest.mark.parametrize("before", [(), (LATE,)])
def test_a_failed_step_is_the_end(before: tuple[KafkaException, ...]) -> None:
    with pytest.raises(KafkaException) as raised:
        _step(*before, FENCED, None)
    assert raised.value is FENCED
