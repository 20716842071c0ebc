"""Latency on a whole running platform: command to committed outcome, and an HTTP grant to its answer and its SSE delivery."""

import asyncio
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx
from confluent_kafka import Producer, TopicPartition

from infra import tokens
from infra.config import Config
from infra.kafka import end_offsets, partitions_of, quiet, reader
from schemas.balance import ACCOUNT, Credit, OpenAccount, Reason, coins_account
from schemas.log.base import AccountId, Message, now
from schemas.log.codec import encode
from schemas.log.entity import Entity, partition_of
from tests.lab.bench.ground import percentiles
from tests.lab.percentiles import percentile
from tests.lab.stage import Stage

ACCOUNTS = 1_000
BENCH = AccountId("@bench")
# The broker's first transactions run uncompiled; a platform is warm after a few thousand.
WARM_S = 15.0
AIMS_MS = {50: 15.0, 99: 60.0}


def main(tell: Callable[[str], None], scale: float = 1.0) -> None:
    """Print the latencies at 100/s and 1,000/s, and over HTTP."""
    seconds = max(3.0, 20.0 * scale)
    with tempfile.TemporaryDirectory(prefix="olo-bench-") as folder:
        stage = Stage(Path(folder))
        try:
            tell("latency on one machine: broker, warehouse, money, store, HTTP and the client share its cores")
            credits_ms(stage.config, 300, WARM_S * min(1.0, scale + 0.2))
            for each_s in (100, 1_000):
                found = credits_ms(stage.config, each_s, seconds)
                tell(f"  command -> committed outcome, {each_s:>5}/s   {percentiles(found)}   {verdict(found)}")
            answers, seen = asyncio.run(_http(stage, max(50, int(400 * scale))))
            tell(f"  HTTP grant -> answer (three transactions) {percentiles(answers)}")
            tell(f"  HTTP grant -> SSE delivery (two)          {percentiles(seen)}")
            tell(f"  SSE delivery / answer, medians: {statistics.median(seen) / statistics.median(answers):.2f}")
        finally:
            stage.stop()


def verdict(values: list[float]) -> str:
    """Whether the aims are reached."""
    found = sorted(values)
    at = {p: percentile(found, p) for p in AIMS_MS}
    return ", ".join(f"p{p} aim {aim:.0f}: {'reached' if at[p] <= aim else 'NOT reached'}" for p, aim in AIMS_MS.items())


class Asked(NamedTuple):
    """A command: whose inbox it is put into, under which key."""

    entity: Entity
    key: str
    command: Message


def outcomes_ms(config: Config, events: str, made: Callable[[int], Asked], each_s: int, seconds: float) -> list[float]:
    """Milliseconds from produce to the committed outcome, at a steady rate. `events`: the topic of the outcomes, which have the
    command as their cause. Errors: RuntimeError, if some do not come."""
    sent: dict[str, float] = {}
    found: list[float] = []
    total = int(each_s * seconds)
    consumer = reader(config)
    ends = end_offsets(consumer, events, partitions_of(consumer, events))
    consumer.assign([TopicPartition(events, p, end) for p, end in ends.items()])
    consumer.poll(0.5)

    def listen() -> None:
        deadline = time.monotonic() + seconds + 30
        while len(found) < total and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None or message.error():
                continue
            value = message.value() or b""
            start = value.find(b'"cause":"') + 9
            began = sent.pop(value[start : value.index(b'"', start)].decode(), None)
            if began is not None:
                found.append((time.perf_counter() - began) * 1000)

    listener = threading.Thread(target=listen)
    listener.start()
    producer = Producer(quiet(config, **{"linger.ms": 0, "enable.idempotence": True}))
    began = time.perf_counter()
    for number in range(total):
        entity, name, command = made(number)
        key = name.encode()
        due = began + number / each_s
        while (left := due - time.perf_counter()) > 0:
            time.sleep(min(left, 0.005))
        sent[command.id] = time.perf_counter()
        producer.produce(entity.inbox, encode(command), key, partition_of(key, entity.partitions))
        producer.poll(0)
    producer.flush(10)
    listener.join()
    consumer.close()
    if len(found) < total:
        raise RuntimeError(f"{total - len(found)} of {total} outcomes did not come")
    return found


def credits_ms(config: Config, each_s: int, seconds: float) -> list[float]:
    """Likewise, of credits to many accounts."""
    _open_accounts(Producer(quiet(config, **{"linger.ms": 0, "enable.idempotence": True})))

    def made(number: int) -> Asked:
        account = coins_account(f"lat{number % ACCOUNTS}")
        credit = Credit(
            id=uuid.uuid4().hex, at=now(), account=account, counterparty=BENCH, coins=1, reason=Reason.GRANT
        )  # fmt: skip
        return Asked(ACCOUNT, account, credit)

    return outcomes_ms(config, ACCOUNT.events, made, each_s, seconds)


def _open_accounts(producer: Producer) -> None:
    for number in range(ACCOUNTS):
        account = coins_account(f"lat{number}")
        key = account.encode()
        message = OpenAccount(id=uuid.uuid4().hex, at=now(), account=account)
        producer.produce(ACCOUNT.inbox, encode(message), key, partition_of(key, ACCOUNT.partitions))
    producer.flush(10)
    time.sleep(1)


async def _http(stage: Stage, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from a grant's request to its answer, and to its entry on the user's stream."""
    admin = {"Authorization": f"Bearer {tokens.token('demo-olo', 'bench', 'admin')}"}
    ann = {"Authorization": f"Bearer {tokens.token('demo-olo', 'bench-ann', 'user')}"}
    answers: list[float] = []
    seen: list[float] = []
    began: dict[str, float] = {}
    async with httpx.AsyncClient(base_url=stage.http, timeout=30, trust_env=False) as client:
        await client.post("/v1/users", headers=ann)
        ready = asyncio.Event()

        async def watch() -> None:
            async with client.stream("GET", "/v1/feed", headers=ann) as answer:
                async for line in answer.aiter_lines():
                    ready.set()
                    if line.startswith("data: ") and '"ref":"' in line:
                        ref = line.split('"ref":"')[1].split('"')[0]
                        seen.append((time.perf_counter() - began[ref]) * 1000)

        watching = asyncio.create_task(watch())
        await ready.wait()
        for number in range(count):
            ref = f"number {number}"
            began[ref] = time.perf_counter()
            body = {"account": "bench-ann/coins", "coins": 1, "ref": ref}
            answer = await client.post("/v1/admin/grants", json=body, headers=admin | {"Idempotency-Key": uuid.uuid4().hex})
            assert answer.status_code == 201, answer.text
            answers.append((time.perf_counter() - began[ref]) * 1000)
        await asyncio.sleep(1)
        watching.cancel()
    return answers, seen
