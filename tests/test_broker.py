"""The embedded broker's start."""

import pytest

from infra import broker
from infra.platform import free_port


@pytest.fixture
def ports():
    first = free_port(set())
    return first, free_port({first})


def test_a_start_that_java_was_not_taught_goes_on_and_says_so(tmp_path, monkeypatch, ports):
    jars = broker.class_path(broker.CACHE)
    monkeypatch.setattr(broker, "CACHE", tmp_path)
    monkeypatch.setattr(broker, "class_path", lambda _: jars)

    def away(_):
        raise TimeoutError("the broker does not answer")

    monkeypatch.setattr(broker, "_exercise", away)
    told = []
    command = broker.prepare(tmp_path / "kafka", *ports, told.append)
    assert told[-1] == "that failed, so starts take longer: the broker does not answer"
    assert not any("AOTCache" in word for word in command)
    assert [path.name for path in tmp_path.iterdir()] == ["kafka"]


def test_what_java_was_taught_is_for_these_jars_and_this_java(tmp_path, monkeypatch, ports):
    monkeypatch.setattr(broker, "_teach", lambda classes, *_: classes.touch())
    monkeypatch.setattr(broker, "CACHE", tmp_path)
    monkeypatch.setattr(broker, "_command", lambda *given: given[-1])
    seen = set()
    for jars, version in (("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")):
        monkeypatch.setattr(broker, "class_path", lambda _, jars=jars: jars)
        monkeypatch.setattr(broker, "version", lambda _, version=version: version)
        seen.add(broker.prepare(tmp_path / "kafka", *ports, lambda _: None)[1])
    assert len(seen) == 3
    assert all(word.startswith(f"-XX:AOTCache={tmp_path}/kafka-") for word in seen)
