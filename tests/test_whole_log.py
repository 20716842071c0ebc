"""What the tests before have left in the log, looked at as a whole, and found again by a platform that starts on it. By name it
stands a while behind the tests of calls: the calls that they left end meanwhile."""

import json
import signal
import time
from collections.abc import Iterator

import pytest

from infra.backtest import Draft, backtest
from infra.clickhouse import connect
from infra.kafka import key_of, read_topic
from schemas.billing import SHIPPED
from schemas.tables import PROJECTIONS
from tests.command_line import fresh_olo
from tests.conftest import Api, NewUser, Stack, eventually
from tests.lab.proofs.auditor import Row
from tests.lab.proofs.calls import CallAudit
from tests.lab.proofs.shares import broken_shares


@pytest.mark.timeout(300)
def test_what_the_log_says_of_all_calls_keeps_every_law(stack: Stack) -> None:
    """The auditor over the real log, once the calls that the tests of calls left have ended."""

    def read(topic: str) -> Iterator[Row]:
        for message in read_topic(stack.config, topic):
            value = message.value()
            yield Row(message.partition(), key_of(message), None if value is None else json.loads(value))

    deadline = time.monotonic() + 180
    while (broken := [*CallAudit(read).broken, *broken_shares(read)]) and time.monotonic() < deadline:
        time.sleep(1)
    assert broken == []
    bills = [row.value or {} for row in read("bill.events")]
    closed = sum(bill["type"] == "BillClosed" and "connected_at" in bill for bill in bills)
    client = connect(stack.clickhouse)
    draft = Draft("standard", SHIPPED[0].payer, SHIPPED[0].earner)
    result = eventually(lambda: (found := backtest(client, draft, 1)).calls == closed and found)
    assert result.unequal == 0, "a re-rate with the tariff in force is the bill, to the coin"
    assert closed >= 4, "the calls are those of tests/test_video.py: run both"
    for projection in PROJECTIONS:
        if projection.table == "pulse":  # goes on meanwhile, and a window is written again: tests/test_pulse_live.py
            continue
        due = client.query(f"SELECT count() FROM ({projection.select})").result_rows
        assert client.query(f"SELECT count() FROM {projection.table}").result_rows == due, projection.table


@pytest.mark.timeout(300)
def test_all_that_was_decided_is_decided_again_byte_for_byte(stack: Stack) -> None:
    done = fresh_olo("prove", "replay", environment=stack.environment)
    assert (done.returncode, "PROVEN" in done.stdout) == (0, True), done.stdout + done.stderr
    assert "0 differ, 0 cannot be replayed" in done.stdout


def test_a_second_start_resumes_and_one_beside_it_is_refused(stack: Stack, admin: Api, new_user: NewUser) -> None:
    ann = new_user()
    assert admin.place("/v1/admin/grants", account=f"{ann.user}/coins", coins=42).status_code == 201
    beside = fresh_olo("up", environment=stack.environment)
    assert (beside.returncode, beside.stderr.count("\n")) == (2, 1)
    assert "runs already" in beside.stderr
    assert stack.stop(signal.SIGINT) == 0
    assert not (stack.home / "endpoints.json").exists()
    stack.start()
    assert Api(stack, ann.user).balance().json()["balance_coins"] == 42
