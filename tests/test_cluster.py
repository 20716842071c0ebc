"""What needs no cluster of `olo prove brokers`, and of the platform's reads behind an election."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, KafkaError, KafkaException

from infra.kafka import ELECTING, ends_of, offsets_of
from tests.lab.cluster import behind, coordinator_partition
from tests.lab.proofs.brokers import SESSION_S, Doctor, Plan


class Electing:
    """A consumer whose first answer says `code` of every partition, each later one that it ends at 7."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.asked = 0

    def offsets_for_times(self, parts: list[Any], _: float) -> list[Any]:
        self.asked += 1
        error = KafkaError(self.code) if self.asked == 1 else None
        return [SimpleNamespace(topic=part.topic, partition=part.partition, offset=7, error=error) for part in parts]


@pytest.mark.parametrize("code", sorted(ELECTING))
def test_an_election_passes_while_offsets_are_asked_for(code: int) -> None:
    consumer = Electing(code)
    assert ends_of(consumer, [("account.inbox", 3)]) == {("account.inbox", 3): 7}  # type: ignore[arg-type]
    assert consumer.asked == 2


@pytest.mark.parametrize(
    ("code", "wait_s"), [(KafkaError.TOPIC_AUTHORIZATION_FAILED, 10.0), (KafkaError.UNKNOWN_LEADER_EPOCH, -1.0)]
)
def test_what_does_not_pass_or_not_in_time_is_told(code: int, wait_s: float) -> None:
    with pytest.raises(KafkaException):
        offsets_of(Electing(code), [("account.inbox", 3)], OFFSET_END, wait_s)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "hashed"), [("", 0), ("a", 97), ("hello", 99162322), ("polygenelubricants", 0)])
def test_the_coordinator_is_found_as_java_does(name: str, hashed: int) -> None:
    assert coordinator_partition(name, 1 << 31) == hashed
    assert coordinator_partition(name, 4) == hashed % 4


def _partition(id_: int, leader: int, isrs: list[int]) -> SimpleNamespace:
    return SimpleNamespace(id=id_, leader=leader, isrs=isrs, replicas=[1, 2, 3])


def test_partitions_that_are_behind() -> None:
    parts = [_partition(0, 1, [1, 2, 3]), _partition(1, 2, [2, 3]), _partition(2, -1, [1, 2, 3])]
    cluster: Any = SimpleNamespace(topics={"feed": SimpleNamespace(partitions=dict(enumerate(parts)))})
    assert behind(cluster) == ["feed/1", "feed/2"]


def test_the_doctor_names_copies() -> None:
    assert Doctor(
        "ok   topics         all\nno   copies         3 partitions have a copy that is not in step", False
    ).names_copies
    assert not Doctor("ok   copies         all in step\nno   money lag      9,000 records", False).names_copies


@pytest.mark.parametrize("freeze_s", [0.0, 4.0, 8.0, 30.0, 70.0])
def test_a_freeze_outlasts_the_session(freeze_s: float) -> None:
    plan = Plan(freeze_s=freeze_s)
    assert 0 < plan.session_s <= SESSION_S
    assert not freeze_s or freeze_s > plan.session_s
