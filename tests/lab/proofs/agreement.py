"""What proofs hold against each other at the end: the log, the views, ClickHouse, the clients' answers and their streams."""

import time
from collections.abc import Callable, Iterator, Set
from typing import Final

import httpx
import msgspec

from infra.clickhouse import connect
from infra.config import Config
from infra.dead_letters import letters
from infra.kafka import key_of, read_topic
from tests.lab.proofs.auditor import Audit, Read, Row
from tests.lab.proofs.calls import CallAudit
from tests.lab.proofs.load import Load
from tests.lab.stage import Stage

# Longer than a phone rings that nobody answers, and than a call goes on that nobody keeps alive.
CALLS_END_S: Final = 90.0


def agree(
    stage: Stage, load: Load, others: Set[str] = frozenset(), left_out: Callable[[bytes], bool] = lambda _: False
) -> tuple[list[str], dict[str, int]]:
    """What is broken, and the counts. `others`: transfers that somebody else than the load has asked for; `left_out`: whether
    what a record holds, key and value, is no business of this audit's."""
    config = stage.config
    read = reader_of(config, left_out)
    calls = _when_nobody_talks(read)
    found = Audit(read)
    broken = [*found.broken, *calls.broken, *load.given_up]
    broken += _clients(read, load, others)
    broken += _view(stage, load, found)
    broken += _warehouse(config, found, calls, left_out)
    broken += _streams(load, found)
    broken += [f"there is a dead letter: {letter.id}" for letter in letters(config) if not left_out(letter.key + letter.value)][
        :1
    ]
    counts = (
        found.counts
        | calls.counts
        | {
            "answers": len(load.told),
            "streams resumed": load.resumed,
            "entries streamed": sum(map(len, load.seen.values())),
            "retries": sum(n for status, n in load.statuses.items() if status not in (201, 402, 404, 409)),
        }
    )
    return broken, counts


def reader_of(config: Config, left_out: Callable[[bytes], bool] = lambda _: False) -> Read:
    """The log's topics as auditors read them."""

    def read(topic: str) -> Iterator[Row]:
        for record in read_topic(config, topic):
            value = record.value()
            if not left_out((record.key() or b"") + (value or b"")):
                yield Row(record.partition(), key_of(record), None if value is None else msgspec.json.decode(value))

    return read


def _when_nobody_talks(read: Read) -> CallAudit:
    """The audit of calls, once all have ended. What was decided late may let two phones ring that are home already."""
    deadline = time.monotonic() + CALLS_END_S
    while (calls := CallAudit(read)).under_way and time.monotonic() < deadline:
        time.sleep(1.0)
    return calls


def _clients(read: Read, load: Load, others: Set[str]) -> list[str]:
    """Each answer that a client got is the transfer's one outcome; `others` are not the load's."""
    outcomes = {
        row.key: row.value["outcome"]
        for row in read("transfer.events")
        if row.value and row.value["type"] == "TransferSettled" and row.key not in others
    }
    due = {"insufficient_coins": 402, "account_unknown": 404}
    broken = []
    for key, told in load.told.items():
        outcome = outcomes.get(told.transfer) if told.transfer else None
        if told.transfer and outcome is None:
            broken.append(f"{key} was told {told.status}, the log has no outcome")
        elif outcome is not None and due.get(outcome.get("refusal", ""), 201) != told.status:
            broken.append(f"{key} was told {told.status}, the log says {outcome}")
    if len(outcomes) != len(load.told):
        broken.append(f"{len(load.told)} requests were answered, {len(outcomes)} transfers were settled")
    return broken[:10]


def _view(stage: Stage, load: Load, found: Audit) -> list[str]:
    """The balance that serving answers is the last entry's."""
    broken = []
    with httpx.Client(base_url=stage.http, trust_env=False) as client:
        for user in load.users:
            answer = client.get("/v1/balance", headers={"Authorization": f"Bearer {load.tokens[user]}"}).json()
            last = found.entries[f"{user}/coins"][-1]
            if (answer.get("seq"), answer.get("balance_coins")) != (last["seq"], last["balance_coins"]):
                broken.append(f"{user}: HTTP says {answer}, the log {last['seq']}, {last['balance_coins']}")
    return broken[:10]


def _warehouse(config: Config, found: Audit, calls: CallAudit, left_out: Callable[[bytes], bool]) -> list[str]:
    """ClickHouse holds every entry once (without FINAL), its fold is each balance, and bills and gifts sum up to the log's."""
    question = """SELECT account, count(), max(seq), sum(coins), argMax(balance_coins, seq)
    FROM balance_entries GROUP BY account"""
    due = {a: (len(e), e[-1]["seq"], e[-1]["balance_coins"], e[-1]["balance_coins"]) for a, e in found.entries.items()}
    client = connect(config.clickhouse_url)
    deadline = time.monotonic() + 30
    while True:
        rows = {row[0]: tuple(row[1:]) for row in client.query(question).result_rows if not left_out(row[0].encode())}
        if rows == due:
            break
        if time.monotonic() > deadline:
            return [f"{a}: ClickHouse says {rows.get(a)}, the log {due[a]}" for a in due if rows.get(a) != due[a]][:10]
        time.sleep(0.5)
    bills = client.query("SELECT call, paid_coins, earned_coins FROM bills").result_rows
    counted = [bill for bill in bills if not left_out(bill[0].encode())]
    sums = (len(counted), sum(bill[1] for bill in counted), sum(bill[2] for bill in counted))
    said = tuple(calls.counts[name] for name in ("bills", "call coins paid", "call coins earned"))
    if sums != said:
        return [f"ClickHouse has bills, coins paid, earned {sums}, the log {said}"]
    twice = client.query("SELECT count(), uniqExact(topic, partition, offset) FROM log").result_rows[0]
    return [] if twice[0] == twice[1] else [f"ClickHouse's log has {twice[0]} rows of {twice[1]} records"]


def _streams(load: Load, found: Audit) -> list[str]:
    """No stream missed or repeated an entry: what a phone saw is the account's seqs, in order."""
    broken = []
    for user, seen in load.seen.items():
        if not seen:
            continue
        for account in (f"{user}/coins", f"{user}/earnings"):
            seqs = [seq for of, seq in seen if of == account]
            due = [entry["seq"] for entry in found.entries[account]][-len(seqs) :] if seqs else []
            if seqs != due:
                broken.append(f"{user}: the feed showed {len(seqs)} entries of {account}, {seqs[:5]}..., due {due[:5]}...")
            elif account.endswith("coins") and seqs and seqs[0] > 2:
                broken.append(f"{user}: the feed began with entry {seqs[0]} of {account}")
    return broken[:10]
