"""What `/readyz` tells: ready only while the log answers, takes records, and is being followed."""

import os
import signal
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException

from infra.config import load
from infra.topics import short_of_replicas
from schemas.log.entity import log_partitions
from schemas.log.topics import FEED
from serving.runtime import reach
from serving.runtime.reach import REACH_S, STANDS_S, Standing, problem_of
from tests.conftest import Stack, eventually


@pytest.mark.parametrize(
    ("heard_at", "short", "stands", "code"),
    [
        (100.0, "", False, None),
        (100.0 - REACH_S, "", False, None),
        (99.0 - REACH_S, "", False, "log_unreachable"),
        (0.0, "", True, "log_unreachable"),
        (100.0, "account.inbox/0 has no leader", False, "log_unreachable"),
        (100.0, "", True, "views_stand_still"),
    ],
)
def test_what_keeps_a_process_from_being_ready(heard_at: float, short: str, stands: bool, code: str | None) -> None:
    assert (problem_of(heard_at, short, stands, 100.0) or (None,))[0] == code


@pytest.mark.parametrize(
    ("rounds", "stands"),
    [
        ([({}, {0: 9})], False),
        ([({0: 5}, {0: 9}), ({0: 5}, {0: 9})], True),
        ([({0: 9}, {0: 9}), ({0: 9}, {0: 9})], False),
        ([({0: 9}, {0: 9}), ({0: 9}, {0: 12})], False),
        ([({0: 5}, {0: 9}), ({0: 6}, {0: 9})], False),
        ([({0: 5}, {0: 9}), ({0: 6}, {0: 9}), ({0: 6}, {0: 9})], True),
        ([({0: -1001}, {0: 9}), ({0: -1001}, {0: 9})], False),
        ([({0: 9, 1: 5}, {0: 9, 1: 9}), ({0: 9, 1: 5}, {0: 9, 1: 9})], True),
        ([({0: 5}, {0: 9}), ({}, {0: 9})], False),
    ],
)
def test_what_stands_still(rounds: list[tuple[dict[int, int], dict[int, int]]], stands: bool) -> None:
    """Between two rounds lies more time than a process may stand. Idle, at the end, is no standstill, nor is the first look."""
    standing, found = Standing(), None
    for number, (positions, ends) in enumerate(rounds):
        found = standing.stands(positions, ends, number * (STANDS_S + 1))
    assert found is stands


def topic(*partitions: tuple[int, list[int]]) -> SimpleNamespace:
    parts = {
        n: SimpleNamespace(id=n, leader=leader, isrs=isrs, replicas=[1, 2, 3]) for n, (leader, isrs) in enumerate(partitions)
    }
    return SimpleNamespace(partitions=parts)


def test_partitions_that_cannot_take_a_record() -> None:
    cluster: Any = SimpleNamespace(topics={"a": topic((1, [1, 2]), (2, [2]), (-1, [])), "b": topic((-1, []))})
    assert short_of_replicas(cluster, ["a", "unknown"]) == ["a/1 has 1 of 3 copies", "a/2 has no leader"]


def ready(stack: Stack) -> httpx.Response:
    return httpx.get(f"{stack.http}/readyz", timeout=5, trust_env=False)


def test_a_broker_that_is_frozen_or_killed_is_503_and_afterwards_200(stack: Stack) -> None:
    assert ready(stack).status_code == 200
    pid = stack.child("broker")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: ready(stack).status_code == 503)
        assert ready(stack).json()["code"] == "log_unreachable"
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: ready(stack).status_code == 200)
    serving = stack.child("serving-0")["pid"]
    stack.kill("broker")
    eventually(lambda: ready(stack).status_code == 200, 60)
    time.sleep(STANDS_S + 2)
    assert ready(stack).status_code == 200, "idle is no standstill"
    assert stack.child("serving-0")["pid"] == serving


def test_a_client_that_does_not_find_a_node_again_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one never answers, as librdkafka's whose node was away from the metadata; each has an end of its own."""
    made: list[Mock] = []

    def new(_: object) -> Mock:
        made.append(Mock())
        return made[-1]

    def ask(consumer: Mock, *_: object) -> dict[tuple[str, int], int]:
        if consumer is made[0]:
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
        return dict.fromkeys([(FEED.name, partition) for partition in range(log_partitions())], 0)

    monkeypatch.setattr(reach, "EVERY_S", 0.01)
    monkeypatch.setattr(reach, "reader", new)
    monkeypatch.setattr(reach, "offsets_of", ask)
    monkeypatch.setattr(reach, "short_of_replicas", lambda *_: [])
    found = reach.Reach(load(), dict)
    eventually(lambda: found.problem() is None)
    found.stop()
    assert len(made) == 2
    assert all(client.close.called for client in made)
