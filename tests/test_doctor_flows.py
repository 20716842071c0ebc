"""What `olo doctor` makes of flows that stand still, of positions and states, and of Redpanda; its limits count answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from infra import asking
from infra.asking import LOOKS as ASKED
from infra.asking import SILENT, answered
from infra.config import load
from infra.doctor_flows import EACH, LAG_RECORDS, LOOKS, Process, Stand, of_flow, still_standing
from infra.doctor_pulse import of_pulse
from infra.doctor_redpanda import examine_redpanda, of_brokers
from infra.doctor_states import Share, of_states
from tests.broker import Kept

INBOX = ("account.inbox", 0)


class Look:
    """A broker that answers each look; `count`: how many."""

    count = 0

    def __call__(self) -> bool:
        self.count += 1
        return True


def hangs(_: float) -> int:
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_a_question_is_given_up_when_the_broker_answers_others() -> None:
    look = Look()
    assert answered(hangs, look) is None
    assert look.count == ASKED


def test_a_broker_that_is_away_for_a_while_is_no_answer() -> None:
    """What it leaves open while it is away counts for nothing, until that takes too long for a person."""
    answers = [False] * (SILENT - 1) + [True] + [False] * SILENT
    assert answered(hangs, lambda: answers.pop(0)) is None
    assert not answers


def test_where_the_broker_is_slow_each_try_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("infra.asking.time", SimpleNamespace(monotonic=lambda: clock[0]))
    tries: list[float] = []

    def ask(wait_s: float) -> str:
        tries.append(wait_s)
        if len(tries) < 3:
            raise TimeoutError
        return "so far"

    def look() -> bool:
        clock[0] += 40.0
        return True

    assert answered(ask, look) == "so far"
    assert tries == [asking.TRY_S, 40.0 * asking.SLOWER, 40.0 * asking.SLOWER]


def test_what_waiting_does_not_mend_is_raised_at_once() -> None:
    def refused(_: float) -> None:
        raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))

    with pytest.raises(KafkaException):
        answered(refused, lambda: True)


def stand(taken: int, end: int = 10) -> Stand:
    return Stand({INBOX: taken}, {INBOX: end})


def test_a_flow_stands_still_when_it_takes_nothing_while_the_broker_answers() -> None:
    moves = iter(range(5, 100))
    look = Look()
    found = still_standing(
        {"money": stand(3), "live": stand(3), "growth": stand(3)},
        lambda group: {"money": stand(3), "live": stand(next(moves)), "growth": None}[group],
        look,
        0.0,
    )
    assert (found, look.count) == ({"money"}, LOOKS)


def test_flows_that_go_on_are_waited_for_no_longer() -> None:
    look = Look()
    assert not still_standing({"live": stand(3)}, lambda _: stand(4), look, 0.0)
    assert look.count == EACH


def test_a_broker_that_does_not_answer_says_nothing_about_its_flows() -> None:
    assert not still_standing({"money": stand(3)}, lambda _: stand(3), lambda: False, 0.0)


def process(*, frozen: bool = False, left: float = 0.0) -> Process:
    return Process("money-0", 17, "money-0.log", frozen, left)


FIRST = Kept("account.inbox", 0, 3, b"k", b"v")
BEHIND = stand(0, LAG_RECORDS["money"] + 1)


@pytest.mark.parametrize(
    ("at", "first", "processes", "seen", "mend"),
    [
        (stand(3), None, [process()], "7 records", ""),
        (stand(3), None, [process(frozen=True)], "money-0 (pid 17) is frozen", "kill -CONT 17"),
        (None, None, [process(frozen=True)], "is frozen", "kill -CONT 17"),
        (None, None, [process()], "a transaction hangs", "olo doctor"),
        (stand(3), FIRST, [process()], "stands still before account.inbox/0/3", "kill 17 "),
        (stand(3), FIRST, [], "stands still before", "start the processes of money"),
        (BEHIND, None, [process()], "5,001 records", "OLO_MONEY_PROCESSES=2 make up"),
    ],
)
def test_flows(at: Stand | None, first: Kept | None, processes: list[Process], seen: str, mend: str) -> None:
    found = of_flow(load(partitions=2), "money", at, first, processes)
    assert (found.fine, seen in found.seen, mend in found.mend) == (not mend, True, True), found


@pytest.mark.parametrize(
    ("counted", "processes", "seen", "mend"),
    [
        (None, [process()], "nothing yet", ""),
        (1_000.0, [process()], "4 s", ""),
        (1_010.0, [process()], "0 s", ""),  # another machine's clock
        (900.0, [process()], "its newest second is 104 s old", "kill 17 "),
        (900.0, [], "its newest second is 104 s old", "start the processes of pulse"),
        (1_000.0, [process(frozen=True)], "is frozen", "kill -CONT 17"),
    ],
)
def test_the_pulse(counted: float | None, processes: list[Process], seen: str, mend: str) -> None:
    found = of_pulse(counted, 1_004.0, processes)
    assert (found.fine, seen in found.seen, not mend or mend in found.mend) == (not mend, True, True), found


def test_a_flow_that_reads_its_states_stands_still_for_a_reason() -> None:
    found = of_flow(load(partitions=2), "money", stand(3), FIRST, [process(left=2_000)])
    assert (found.fine, "it reads its states, 2,000 records to go" in found.seen) == (True, True)


def share(position: int = 10, offset: int = 10, begin: int = 0, *, facts: bool = True) -> Share:
    return Share("account", 1, begin, 20, position, offset, facts)


@pytest.mark.parametrize(
    ("first", "again", "fine", "mend"),
    [
        (share(), share(), True, ""),
        (share(-1, -1, facts=False), None, True, ""),  # nothing was decided yet
        (share(-1, 7), None, True, ""),  # written by a version that left the position to the group
        (share(-1, -1), None, False, "olo rebuild account --dry-run"),
        (share(-1, 0), None, False, "olo rebuild account --dry-run"),
        (share(21, 21), None, False, "bring it back from a backup"),
        (share(10, 10, begin=11), None, True, ""),  # the mark of a transaction
        (share(10, 10, begin=12), None, False, "make up"),
        (share(offset=11), share(offset=11), True, ""),  # Redpanda, behind an aborted transaction
        (share(offset=-1), share(offset=-1), True, ""),  # forgotten: nothing reads it
        (share(offset=8), share(offset=8), False, "nothing is to be done"),
        (share(offset=13), share(offset=13), False, "nothing is to be done"),
        (share(offset=8), share(12, 12), True, ""),
        (share(offset=8), share(12, 9), True, ""),  # it moves: the two were asked for at different times
    ],
)
def test_offsets_and_states(first: Share, again: Share | None, fine: bool, mend: str) -> None:
    found = of_states([share(), first], [again] if again else [])
    assert (found.fine, mend in found.mend) == (fine, True), found


@pytest.mark.parametrize(
    ("versions", "fine", "seen"),
    [
        (["v24.2.7 - 1a2b3c"], True, "v24.2.7"),
        (["v24.3.1 - 1a2b3c", "v25.1.1 - 2b3c4d"], True, "v24.3.1, v25.1.1"),
        (["v24.2.7", "v24.1.9 - 1a2b3c"], False, "broker 1 is v24.1.9: versions before 24.2"),
        (["v9.12.1"], False, "v9.12.1"),
        (["(unknown)"], False, "no version that can be read"),
        ([""], False, "no version that can be read"),
    ],
)
def test_versions_of_redpanda(versions: list[str], fine: bool, seen: str) -> None:
    found = of_brokers([{"node_id": node, "version": version} for node, version in enumerate(versions)])
    assert (found.fine, seen in found.seen) == (fine, True), found


@pytest.fixture
def admin() -> Iterator[tuple[str, list[Any]]]:
    """An admin API, and what it answers next: a status and a body."""
    answers: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.pop(0) if self.path == "/v1/brokers" else (404, b"")
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", answers
    server.shutdown()
    server.server_close()


def test_the_admin_api_is_asked(admin: tuple[str, list[Any]]) -> None:
    url, answers = admin
    brokers = [{"node_id": 0, "version": "v24.1.2 - 1a2b3c", "is_alive": True}]
    answers += [(200, json.dumps(brokers).encode()), (401, b"{}"), (200, b"<html>"), (200, b"{}"), (200, b"[]"), (200, b"[1]")]
    config = load(redpanda_admin=url, replication_factor=2)
    even, old = examine_redpanda(config)
    assert ("even factor" in even.seen, even.mend[:25]) == (True, "OLO_REPLICATION_FACTOR=3 ")
    assert "v24.1.2" in old.seen
    found = [next(examine_redpanda(config.model_copy(update={"replication_factor": 3}))) for _ in answers[:]]
    assert [one.fine for one in found] == [False] * 5
    assert "answers 401" in found[0].seen
    assert all("OLO_REDPANDA_ADMIN" in one.mend for one in found)
