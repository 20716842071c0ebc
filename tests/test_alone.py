"""A test without the mark `platform`, such as these, reaches no broker, no platform and no network, in whatever run."""

import socket
from pathlib import Path

import pytest

from infra import kafka
from infra.config import load
from infra.topics import create_topics
from tests.alone import NotAloneError
from tests.branches import FLOOR, told
from tests.lab.stage import Stage


def test_it_can_make_no_kafka_client() -> None:
    config = load(brokers="127.0.0.1:9092")
    with pytest.raises(NotAloneError, match="fixture `stack`"):
        kafka.reader(config)
    with pytest.raises(NotAloneError, match="the mark `platform`"):
        create_topics(config, ())


def test_it_can_start_no_platform(tmp_path: Path) -> None:
    with pytest.raises(NotAloneError):
        Stage(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_reaches_this_machine_and_no_other() -> None:
    with socket.socket() as probe, pytest.raises(NotAloneError, match=r"192\.0\.2\.1"):
        probe.connect(("192.0.2.1", 80))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


@pytest.mark.parametrize(("percent", "enough"), [(FLOOR - 0.1, False), (FLOOR, True)])
def test_branches_below_the_floor_are_told(percent: float, enough: bool) -> None:
    summary = {"percent_branches_covered": percent, "covered_branches": 7, "num_branches": 8}
    files = {
        "schemas/whole.py": {"summary": summary, "missing_branches": []},
        "schemas/part.py": {"summary": summary, "missing_branches": [[4, 7], [5, -1]]},
    }
    lines, reached = told({"files": files, "totals": summary})
    assert reached is enough
    assert [line.split()[0] for line in lines] == ["schemas/part.py", "7"]
    assert "4->7, 5->exit" in lines[0]
