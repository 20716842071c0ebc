"""The ledger job, the same for every peer: fold commands into accounts, write an outcome a command and the changed state.

`python -m tests.lab.bench.jobs PEER TOPIC GROUP` runs one: host (Olo's), bare (a confluent-kafka loop, no transactions),
bytewax (its own connectors), quix (Quix Streams, exactly once). JSON in and out, msgspec wherever a peer lets us choose.
"""

import os
import sys
import tempfile
from typing import Any, Final, cast

from confluent_kafka import Consumer, Producer
from msgspec import Struct, json

from infra.config import Config, load
from infra.kafka import Record
from schemas.log.base import Fact, Key, Message, State, now
from schemas.log.entity import Entity, Flow
from schemas.log.topics import Route

BATCH: Final = 10_000


class Command(Message):
    """Add coins to an account (or take them)."""

    account: Key
    coins: int


class Outcome(Fact):
    """What became of it."""

    account: Key
    ok: bool
    balance_coins: int
    seq: int


class Book(State):
    """An account."""

    balance_coins: int = 0
    seq: int = 0


EMPTY: Final = Book()


def decide(book: Book | None, command: Command) -> tuple[Book, tuple[Outcome, ...]]:
    """The job itself."""
    before = book or EMPTY
    balance = before.balance_coins + command.coins
    after = Book(balance, before.seq + 1) if balance >= 0 else before
    outcome = Outcome(
        id=command.id + "/0",
        at=command.at,
        cause=command.id,
        account=command.account,
        ok=balance >= 0,
        balance_coins=after.balance_coins,
        seq=after.seq,
    )
    return after, (outcome,)


def entity_of(name: str) -> Entity:
    """The job as an entity: topics <name>.inbox, .events, .state."""
    return Entity(name, key="account", flow=Flow.MONEY, state=Book, commands=(Command,), facts=(Outcome,))


def host(topic: str, group: str, config: Config, *, on_disk: bool = True) -> None:
    """Olo's host, as it runs in production: the same worker and the same Bytewax flow."""
    from operator import attrgetter

    from pipelines.runtime.core import Core, Decider
    from pipelines.runtime.flow import run
    from pipelines.runtime.worker import Worker

    entity = entity_of(topic.removesuffix(".inbox"))
    table: dict[type[Message], tuple[Route, ...]] = {Outcome: (Route(entity.events, attrgetter("account")),)}
    run(group, Worker(group, 0, Core([Decider(entity, decide)], table), config, on_disk=on_disk))


def memory(topic: str, group: str, config: Config) -> None:
    """The same with all states in memory."""
    host(topic, group, config, on_disk=False)


def bare(topic: str, group: str, config: Config) -> None:
    """The limit of Python here: poll, fold, produce; no transactions, no group's offsets, nothing to survive a crash with."""
    consumer = Consumer(
        {**config.kafka, "group.id": group, "auto.offset.reset": "earliest", "queued.min.messages": 100_000,
         "fetch.queue.backoff.ms": 10}
    )  # fmt: skip
    producer = Producer(
        {**config.kafka, "linger.ms": 5, "compression.type": "lz4", "batch.num.messages": 10_000,
         "queue.buffering.max.messages": 2_000_000}
    )  # fmt: skip
    decode, encode = json.Decoder(Command).decode, json.Encoder().encode
    events, state = topic.replace("inbox", group), topic.replace("inbox", f"{group}.state")
    books: dict[bytes, Book] = {}
    consumer.subscribe([topic])
    while True:
        records = cast(list[Record], consumer.consume(BATCH, 0.05))
        changed: dict[bytes, tuple[int, Book]] = {}
        for record in records:
            key, partition = record.key() or b"", record.partition()
            book, (outcome,) = decide(books.get(key), decode(record.value() or b""))
            books[key] = book
            changed[key] = (partition, book)
            producer.produce(events, encode(outcome), key, partition)
        for key, (partition, book) in changed.items():
            producer.produce(state, encode(book), key, partition)
        producer.poll(0)


def bytewax(topic: str, group: str, config: Config) -> None:
    """Bytewax with its own Kafka connectors and keyed state; at least once."""
    import bytewax.operators as op
    from bytewax.connectors.kafka import KafkaSinkMessage
    from bytewax.connectors.kafka import operators as kop
    from bytewax.dataflow import Dataflow
    from bytewax.run import cli_main

    decode, encode = json.Decoder(Command).decode, json.Encoder().encode

    def fold(book: Book | None, message: Any) -> tuple[Book, tuple[Book, Outcome]]:
        after, (outcome,) = decide(book, decode(message.value))
        return after, (after, outcome)

    flow = Dataflow(group)
    taken = kop.input("in", flow, brokers=[config.brokers], topics=[topic], batch_size=BATCH)
    keyed = op.key_on("key", taken.oks, lambda message: (message.key or b"").decode())
    folded = op.stateful_map("fold", keyed, fold)
    outcomes = op.map("outcome", folded, lambda kv: KafkaSinkMessage(kv[0].encode(), encode(kv[1][1])))
    states = op.map("state", folded, lambda kv: KafkaSinkMessage(kv[0].encode(), encode(kv[1][0])))
    conf = {"linger.ms": "5", "compression.type": "lz4", "queue.buffering.max.messages": "2000000"}
    brokers = [config.brokers]
    kop.output("out", outcomes, brokers=brokers, topic=topic.replace("inbox", group), add_config=conf)
    kop.output("changelog", states, brokers=brokers, topic=topic.replace("inbox", f"{group}.state"), add_config=conf)
    cli_main(flow)


def quix(topic: str, group: str, config: Config) -> None:
    """Quix Streams, exactly once, its state store and changelog on."""
    from quixstreams import Application

    decode, encode = json.Decoder(Command).decode, json.Encoder().encode
    app = Application(
        broker_address=config.brokers,
        consumer_group=group,
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        commit_every=BATCH,
        state_dir=tempfile.mkdtemp(prefix="olo-quix-"),
        auto_create_topics=True,
        loglevel="ERROR",
    )
    taken = app.dataframe(app.topic(topic, value_deserializer="bytes"))

    def fold(value: bytes, state: Any) -> bytes:
        found = state.get("book")
        after, (outcome,) = decide(Book(*found) if found else None, decode(value))
        state.set("book", [after.balance_coins, after.seq])
        return encode(outcome)

    out = taken.apply(fold, stateful=True)
    out.to_topic(app.topic(topic.replace("inbox", group), value_serializer="bytes"))
    app.run()


class Fill(Struct):
    """The job's input: how many commands over how many accounts."""

    commands: int
    accounts: int

    def records(self) -> Any:
        """(key, value) pairs, spread evenly."""
        encode = json.Encoder().encode
        at = now()
        for number in range(self.commands):
            account = f"a{number * 7919 % self.accounts}/coins"
            command = Command(id=f"{number:032x}", at=at, account=account, coins=number % 150 - 40)
            yield account.encode(), encode(command)


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp(prefix="olo-job-"))
    peer, of_topic, as_group = sys.argv[1:]
    {"host": host, "memory": memory, "bare": bare, "bytewax": bytewax, "quix": quix}[peer](of_topic, as_group, load())
