"""What `olo doctor` makes of what it sees of the log, and that no cure makes anew what was lost."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from infra.config import load
from infra.doctor import listens, looked, of_refusals
from infra.doctor_log import (
    HOUR_S,
    YOUNG_S,
    Examined,
    Stored,
    of_replicas,
    of_restarts,
    of_slots,
    of_store,
    of_topics,
)
from infra.kafka import client_id
from schemas.log.entity import Topic
from tests.conftest import Stack


def wanted() -> list[Topic]:
    return [Topic(name, "", (), compacted=name.endswith(".state")) for name in ("a.inbox", "a.events", "a.state", "feed")]


def counts(**other: int) -> dict[str, int]:
    return {topic.name: topic.partitions for topic in wanted()} | other


@pytest.mark.parametrize(
    ("gone", "told", "fine", "mend"),
    [
        ((), {"a.events"}, True, ""),
        (("feed",), {"a.events"}, False, "olo topics --create"),
        (("a.inbox", "a.events", "a.state", "feed"), set(), False, "olo topics --create"),
        (("a.state",), set(), False, "olo topics --create"),
        (("a.state",), {"a.events"}, False, "bring it back"),
        (("a.inbox",), {"a.events"}, False, "bring it back"),
        (("feed", "a.state"), {"a.events"}, False, "bring it back"),
    ],
)
def test_a_topic_that_was_lost_is_not_to_be_made_anew(gone: tuple[str, ...], told: set[str], fine: bool, mend: str) -> None:
    found = of_topics(wanted(), {name: n for name, n in counts().items() if name not in gone}, told)
    assert (found.fine, mend in found.mend) == (fine, True)
    assert mend == "olo topics --create" or "--create" not in found.mend


def test_a_log_of_other_partitions_is_taken_as_it_is() -> None:
    most = dict.fromkeys(counts(), 7)
    assert of_topics(wanted(), most, set()).mend == "OLO_PARTITIONS=7 make up"
    assert "OLO_PARTITIONS" not in of_topics(wanted(), most | {"feed": 9}, set()).mend


@pytest.mark.parametrize(
    ("short", "behind", "seen"),
    [([], 0, "all in step"), ([], 3, "3 partitions have a copy"), (["a/0 has no leader"], 3, "1 partitions take no record")],
)
def test_copies(short: list[str], behind: int, seen: str) -> None:
    found = of_replicas(short, behind)
    assert (found.fine, seen in found.seen) == (not behind, True)


def test_a_slot_that_another_olo_holds() -> None:
    ours, other = client_id("/one", "host"), client_id("/other", "host")
    assert of_slots([("money-0", ours, "/127.0.0.1")], ours).fine
    found = of_slots([("money-0", ours, "/127.0.0.1"), ("live-0", other, "/10.0.0.7")], ours)
    assert not found.fine
    assert "live-0 is held by another Olo" in found.seen


@pytest.mark.parametrize(("deaths", "age_s", "fine"), [(0, 1, True), (1, 1, True), (2, 1, False), (9, YOUNG_S + 1, True)])
def test_processes_that_die_again_and_again(deaths: int, age_s: float, fine: bool) -> None:
    child = {"role": "money-0", "log": "money-0.log", "deaths": deaths, "started": 1_000.0 - age_s}
    assert of_restarts([child, {"role": "old", "log": ""}], 1_000.0).fine is fine


@pytest.mark.parametrize(("ago_s", "fine"), [([], True), ([1.0] * 4, True), ([1.0] * 5, False), ([HOUR_S + 1] * 9, True)])
def test_processes_that_die_now_and_then(ago_s: list[float], fine: bool) -> None:
    """Each has lived for a while, so that its deaths are none in a row."""
    died = [10_000.0 - ago for ago in ago_s]
    child = {"role": "live-0", "log": "live-0.log", "deaths": 1, "started": 0.0, "died": died}
    assert of_restarts([{"role": "old", "log": ""}, child], 10_000.0) == Examined(
        "restarts",
        fine,
        "no process dies again and again" if fine else "started again and again: live-0 (5 times)",
        "" if fine else "less live-0.log",
    )


@pytest.mark.parametrize(
    ("stored", "begin", "found", "mend"),
    [
        (None, 0, None, ""),
        (Stored(8, 70), 0, Stored(8, 70), ""),
        (Stored(8, 70), 10, None, ""),  # what lies between is a transaction's mark
        (Stored(8, 70), 9, None, ""),
        (Stored(10, 70), 0, None, "bring that log back"),
        (Stored(8, 70), 0, Stored(8, 71), "bring that log back"),
        (Stored(8, 70), 0, Stored(9, 70), "bring that log back"),
        (Stored(5, 70), 8, None, "the store goes on"),
    ],
)
def test_a_store_of_another_log(stored: Stored | None, begin: int, found: Stored | None, mend: str) -> None:
    """The log of a partition goes from `begin` up to 10."""
    place = ("a.events", 0)
    seen = of_store({place: stored} if stored else {}, {place: begin}, {place: 10}, {place: found} if found else {})
    assert (seen.fine, mend in seen.mend) == (not mend, True)


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), "olo topics --create"),
        (KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC)), "olo topics --create"),
        (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), "olo doctor"),
        (TimeoutError("no answer"), "olo doctor"),
        (TimeoutError(), "olo doctor"),
    ],
)
def test_a_look_that_the_broker_breaks_off_is_a_finding(error: Exception, mend: str) -> None:
    fine = Examined("one", True, "all is well")

    def look() -> Iterator[Examined]:
        yield fine
        raise error

    first, broken = looked("flows", look)
    assert (first, broken.what, broken.fine, broken.mend) == (fine, "flows", False, mend)
    assert not broken.seen.endswith(": "), "what there is to see is said in words"


@pytest.mark.parametrize(
    ("told", "port", "due"),
    [
        ("http://127.0.0.1:9123", 8080, ("127.0.0.1", 9123)), ("http://[::1]:9123", 0, ("::1", 9123)),
        (None, 8081, ("127.0.0.1", 8081)), (None, 0, ("127.0.0.1", 0)),
    ],
)  # fmt: skip
def test_http_is_looked_at_where_the_platform_that_runs_has_it(
    tmp_path: Path, told: str | None, port: int, due: tuple[str, int]
) -> None:
    if told:
        (tmp_path / "endpoints.json").write_text(json.dumps({"http": told}))
    assert listens(load(home=tmp_path, http_port=port, http_host="127.0.0.1")) == due


def test_it_sees_another_olo_on_the_same_log(stack: Stack, tmp_path: Path) -> None:
    """The same flows' slots, seen from a folder that is not theirs."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "endpoints.json").write_bytes((stack.home / "endpoints.json").read_bytes())
    done = stack.olo("doctor", OLO_HOME=str(home), OLO_HTTP_PORT=stack.http.rpartition(":")[2])
    assert "is held by another Olo" in done.stdout, done.stdout
    assert socket.gethostname() in done.stdout


def test_inboxes_whose_commands_are_refused_early_are_named() -> None:
    told = 'olo_commands_refusing{inbox="call.inbox"} 0.0\nolo_commands_refusing{inbox="gift.inbox"} 1.0\n'
    found = of_refusals("serving-0", told, {"call.inbox": "live", "gift.inbox": "live"})
    assert (found.fine, "gift.inbox" in found.seen, "call.inbox" in found.seen) == (False, True, False)
    assert "OLO_LIVE_PROCESSES" in found.mend
    assert of_refusals("serving-0", told, {"call.inbox": "live"}).fine
