"""The flows on the real broker: garbage, crashes, timed-out inserts, and a platform that starts a second time."""

import os
import signal
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Producer

from infra.clickhouse import connect
from infra.kafka import read_topic
from pipelines.flows.store import SCHEMA, Store
from schemas.balance import ACCOUNT, Credit, Hold, Reason
from schemas.log.base import AccountId, HoldId
from schemas.log.codec import encode
from schemas.log.entity import partition_of
from schemas.tables import PROJECTIONS
from tests.conftest import Api, NewUser, Stack, eventually


def produce(stack: Stack, key: bytes, value: bytes, partition: int | None = None) -> None:
    producer = Producer({"bootstrap.servers": stack.brokers, "message.timeout.ms": 5000})
    where = partition_of(key, ACCOUNT.partitions) if partition is None else partition
    producer.produce(ACCOUNT.inbox, value, key, where)
    assert producer.flush(10) == 0


def test_garbage_in_an_inbox_becomes_dead_letters_and_money_goes_on(stack: Stack, admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    key = f"{ann.user}/coins".encode()
    account, source = AccountId(key.decode()), AccountId("@p")
    good = encode(Credit(id="x", at=datetime.now(UTC), account=account, counterparty=source, coins=1, reason=Reason.GRANT))
    marker = uuid.uuid4().hex
    produce(stack, key, b"\xff\x00" + marker.encode())
    produce(stack, key, b'{"type":"Nonsense' + marker.encode() + b'"}')
    produce(stack, key, good.replace(b'"coins":1', b'"coins":-1'))
    produce(stack, b"somebody/coins", good)
    produce(stack, key, good, (partition_of(key, ACCOUNT.partitions) + 1) % ACCOUNT.partitions)
    assert admin.place("/v1/admin/grants", account=key.decode(), coins=5).status_code == 201
    assert ann.balance().json()["balance_coins"] == 5
    listed = eventually(lambda: (o := stack.olo("dead-letters", "list").stdout).count("account.inbox/") >= 5 and o)
    for cause in ("broken_json", "unknown_type", "invalid", "key_mismatch", "misrouted"):
        assert cause in listed
    place = (
        next(line for line in listed.splitlines() if "broken_json" in line and "account.inbox/" in line).split("│")[1].strip()
    )
    assert (shown := stack.olo("dead-letters", "show", place).stdout).count("Unreadable") == 1
    assert marker not in shown + listed, "nobody knows what it is, so it may be personal"
    assert marker in stack.olo("dead-letters", "show", "--personal", place).stdout
    again = stack.olo("dead-letters", "redrive", place)
    new_place = again.stdout.strip().removeprefix("written again as ")
    assert new_place.startswith("account.inbox/")
    eventually(lambda: new_place in stack.olo("dead-letters", "list").stdout)
    assert f"{place} " not in stack.olo("dead-letters", "list").stdout, "it is settled, and has become another one"
    assert "will be skipped" in stack.olo("dead-letters", "skip", place).stdout
    stack.kill("money-0")
    grants(admin, ann.user, 2)
    eventually(lambda: ann.balance().json()["balance_coins"] == 7)


def test_a_hold_expires_by_itself_also_across_a_crash(stack: Stack, admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    account = f"{ann.user}/coins"
    grants(admin, ann.user, 3)
    now = datetime.now(UTC)
    for name, seconds in (("h1", 0.5), ("h2", 2.5)):
        hold = Hold(
            id=f"{name}-{ann.user}", at=now, account=AccountId(account), hold=HoldId(name), to=AccountId("@calls"), coins=1,
            reason=Reason.CALL, expires_at=now + timedelta(seconds=seconds),
        )  # fmt: skip
        produce(stack, account.encode(), encode(hold))
    eventually(lambda: ann.balance().json()["seq"] == 7)  # open, three grants, two holds, one expiry
    assert (ann.balance().json()["held_coins"], ann.balance().json()["available_coins"]) == (1, 2)
    stack.kill("money-0")
    eventually(lambda: ann.balance().json()["held_coins"] == 0)
    assert ann.balance().json()["seq"] == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dead-letters", "show", "nonsense"), "is no place"),
        (("dead-letters", "show", "account.inbox/0/999999"), "there is no dead letter"),
        (("dead-letters", "skip", "account.inbox/0/999999"), "there is no record"),
        (("dead-letters", "skip", "feed/0/0"), "is no inbox"),
    ],
)
def test_a_wrong_place_is_one_line_and_exit_code_2(stack: Stack, arguments: tuple[str, ...], said: str) -> None:
    done = stack.olo(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def entries_of(stack: Stack, account: str) -> Sequence[Sequence[Any]]:
    return connect(stack.clickhouse).query(
        "SELECT seq, coins FROM balance_entries WHERE account = {a:String} ORDER BY seq", parameters={"a": account}
    ).result_rows  # fmt: skip


def grants(admin: Api, user: str, count: int) -> None:
    for _ in range(count):
        answer = admin.place("/v1/admin/grants", account=f"{user}/coins", coins=1)
        assert answer.status_code in (201, 202, 503), answer.text


def assert_stored_once(stack: Stack) -> None:
    """Every committed record of the store's topics is in `log` exactly once, without FINAL."""
    client = connect(stack.clickhouse)
    for topic in ("account.inbox", "account.events", "transfer.inbox", "transfer.events"):
        places = sorted((m.partition(), m.offset()) for m in read_topic(stack.config, topic))
        question = "SELECT partition, offset FROM log WHERE topic = {t:String} ORDER BY partition, offset"
        eventually(lambda q=question, t=topic, d=places: client.query(q, parameters={"t": t}).result_rows == d)
    due = client.query("SELECT count() FROM log WHERE topic = 'account.events' AND type = 'EntryRecorded'").result_rows
    eventually(lambda: client.query("SELECT count() FROM balance_entries").result_rows == due)


def test_kill_9_of_the_flows_and_of_clickhouse_loses_and_repeats_nothing(stack: Stack, admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    grants(admin, ann.user, 5)
    stack.kill("store-0")
    grants(admin, ann.user, 5)
    stack.kill("warehouse")
    grants(admin, ann.user, 5)
    stack.kill("money-0")
    grants(admin, ann.user, 5)
    account = f"{ann.user}/coins"
    eventually(lambda: ann.balance().json()["balance_coins"] == 20)
    eventually(lambda: warehouse_rows(stack, account) == [(1, 0), *((seq, 1) for seq in range(2, 22))])
    assert_stored_once(stack)
    loaded = Path(f"/proc/{stack.child('store-0')['pid']}/maps")
    assert not loaded.exists() or "/pandas/" not in loaded.read_text()  # its next start would be two seconds later


def warehouse_rows(stack: Stack, account: str) -> Sequence[Sequence[Any]] | None:
    try:
        return entries_of(stack, account)
    except Exception:  # it is still starting
        return None


class Partitions:
    """Stands for the consumer in a Store that is fed by hand."""

    def commit(self, **_: object) -> None:
        pass


def test_a_batch_whose_insert_timed_out_is_stored_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gives up, the server goes on: the store asks what got there before it sends anything again."""
    store = Store.__new__(Store)
    store._client, store._stored = connect(stack.clickhouse), {}
    store._projected = {one.table: {} for one in PROJECTIONS}
    store._consumer = cast(Consumer, Partitions())
    topic = f"timeout.{uuid.uuid4().hex[:6]}"
    columns: list[list[Any]] = [[topic] * 5, [0] * 5, list(range(5)), [b"k"] * 5, [0] * 5, [b"{}"] * 5]
    rows = pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
    insert = Store._insert
    times: list[int] = []

    def times_out_after_it_was_sent(self: Store, rows: pa.Table) -> None:
        times.append(rows.num_rows)
        insert(self, rows if len(times) > 1 else rows.slice(0, 3))
        if len(times) == 1:
            raise OSError("timed out")

    monkeypatch.setattr(Store, "_insert", times_out_after_it_was_sent)
    store._write(rows)
    assert times == [5, 2]
    found = store._client.query("SELECT offset FROM log WHERE topic = {t:String} ORDER BY offset", parameters={"t": topic})
    assert [row[0] for row in found.result_rows] == list(range(5))


def test_a_log_that_cannot_be_reached_is_503_with_retry_after(stack: Stack, admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    pid = stack.child("broker")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = admin.place("/v1/admin/grants", "while-away", account=f"{ann.user}/coins", coins=3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert answer.status_code == 503, answer.text
    assert (answer.json()["code"], answer.headers["retry-after"]) == ("log_unreachable", "1")
    body = {"account": f"{ann.user}/coins", "coins": 3}
    eventually(lambda: admin.place("/v1/admin/grants", "while-away", **body).status_code == 201)
    assert ann.balance().json()["balance_coins"] == 3
