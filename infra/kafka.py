"""Kafka clients, configured in one place: the admin's work on topics, and a bounded read of a whole topic."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.errors import UsageError
from infra.settings import Settings
from schemas.entity import Topic

# Brokers answer in milliseconds; ten seconds is a broker that is down.
TIMEOUT_S = 10.0


def quiet(settings: Settings, **more: Any) -> dict[str, Any]:
    """Connection properties without librdkafka's chatter on stderr; errors reach us as errors."""
    return {**settings.kafka, "log_level": 2, "error_cb": lambda _: None, **more}


def reader(settings: Settings, more: dict[str, Any] | None = None, *, committed: bool = True) -> Consumer:
    """A consumer outside of any group's business: assigned by hand, never commits."""
    level = "read_committed" if committed else "read_uncommitted"
    return Consumer(
        quiet(
            settings,
            **{
                "group.id": "olo-reader",
                "enable.auto.commit": False,
                "isolation.level": level,
                "auto.offset.reset": "earliest",
                **(more or {}),
            },
        )
    )


def member(settings: Settings, group: str, slot: int, more: dict[str, Any]) -> Consumer:
    """One of a group's consumers: a slot of its own, which a restart takes up again; reads what is committed, commits by hand.

    A static member under an eager assignor: each rebalance gives every partition to somebody. A cooperative one hands them over
    in two rebalances, and a member that is killed and back in between leaves them with nobody, for good.
    """
    conf = {
        "group.id": group,
        "group.instance.id": f"{group}-{slot}",
        "partition.assignment.strategy": "range",
        # A dead slot that is not started again loses its partitions after this; brokers refuse less by default.
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 1_000,
        # After its queue was full librdkafka fetches nothing for a second by default: a busy worker starves half of its time.
        "fetch.queue.backoff.ms": 10,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
    return Consumer(quiet(settings, **conf, **more))


def produce_one(settings: Settings, topic: str, key: bytes, value: bytes, partition: int) -> Message:
    """Write one record, for a person at the command line; where it stands now. Errors: KafkaException, TimeoutError."""
    placed: list[Message] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        placed.append(message)

    producer = Producer(quiet(settings, **{"enable.idempotence": True, "message.timeout.ms": 10_000}))
    producer.produce(topic, value, key, partition, on_delivery=delivered)
    producer.flush(TIMEOUT_S)
    if not placed:
        raise TimeoutError(f"the broker did not take the record for {topic}; see `olo doctor`")
    return placed[0]


def committed(consumer: Consumer, parts: list[TopicPartition], wait_s: float) -> list[TopicPartition]:
    """Where a group goes on with partitions; with one that it never had, at the beginning. Errors: KafkaException."""
    found = consumer.committed(parts, wait_s) if parts else []
    for part in found:
        if part.error:
            raise KafkaException(part.error)
        part.offset = max(part.offset, 0)
    return found


# What a client tells while its broker is away; it reconnects by itself.
AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT})


def records_of(messages: list[Message], passing: frozenset[int] = frozenset()) -> list[Message]:
    """Those of a poll's messages that are records. Errors that pass by themselves, also those with a code in `passing`, are
    left out. Errors: KafkaException for any other."""
    for message in messages:
        if message.error() is not None:
            return [one for one in messages if _is_record(one, passing)]
    return messages


def _is_record(message: Message, passing: frozenset[int]) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.retriable() or error.code() == KafkaError._PARTITION_EOF or error.code() in passing:
        return False
    raise KafkaException(error)


def check_topics(settings: Settings, topics: Sequence[Topic]) -> list[Topic]:
    """The topics that the broker lacks. Those that it has must have as many partitions as ours: keys would stand in wrong ones.
    Errors: UsageError."""
    there = AdminClient(quiet(settings)).list_topics(timeout=TIMEOUT_S).topics
    for topic in topics:
        found = len(there[topic.name].partitions) if topic.name in there else topic.partitions
        if found != topic.partitions:
            raise UsageError(
                f"OLO_PARTITIONS: the topic {topic.name} has {found} partitions, not {topic.partitions}, and keys cannot move: "
                f"set OLO_PARTITIONS={found}, or begin with a new OLO_HOME or broker"
            )
    return [topic for topic in topics if topic.name not in there]


def create_topics(settings: Settings, topics: Sequence[Topic]) -> list[str]:
    """Create the topics that are missing; the names of the created ones. Errors: UsageError (see `check_topics`)."""
    missing = check_topics(settings, topics)
    if not missing:
        return []
    admin = AdminClient(quiet(settings))
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=settings.replication_factor,
            config=_config(topic),
        )
        for topic in missing
    ]
    for name, future in admin.create_topics(new).items():
        try:
            future.result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise RuntimeError(f"topic {name}: {error}") from error
    return [topic.name for topic in missing]


def _config(topic: Topic) -> dict[str, str]:
    if topic.compacted:
        # A restore reads the whole changelog: compact soon, so that it stays near one record an entity.
        return {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.2", "segment.ms": "600000"}
    return {"cleanup.policy": "delete", "retention.ms": str(topic.retention_s * 1000)}


def end_offsets(consumer: Consumer, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Where each partition ends: the high watermark for read_uncommitted consumers, the last stable offset otherwise."""
    return {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), TIMEOUT_S)[1] for partition in partitions
    }


def partitions_of(consumer: Consumer, topic: str) -> list[int]:
    """A topic's partitions; none when there is no such topic."""
    found = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
    return sorted(found.partitions)


def read_to_end(
    consumer: Consumer, starts: Sequence[TopicPartition], ends: dict[tuple[str, int], int], stuck: Callable[[], None]
) -> Iterator[Message]:
    """Every record from `starts` until each partition's end of file lies at or behind `ends`; `stuck` is called while it waits.

    Needs `enable.partition.eof`. The end of file steps over control records, so a partition that ends with an aborted
    transaction ends, too.
    """
    todo = {(start.topic, start.partition) for start in starts if ends[start.topic, start.partition] > max(start.offset, 0)}
    consumer.assign([start for start in starts if (start.topic, start.partition) in todo])
    while todo:
        for message in consumer.consume(20_000, 0.05):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                place = (message.topic(), message.partition())
                if message.offset() >= ends[place]:
                    todo.discard(place)
            elif not error.retriable():
                raise KafkaException(error)
        stuck()
    consumer.unassign()


def read_topic(settings: Settings, topic: str, *, committed: bool = True, partition: int | None = None) -> Iterator[Message]:
    """Every record that a topic, or one of its partitions, holds now."""
    consumer = reader(settings, {"enable.partition.eof": True}, committed=committed)
    plain = reader(settings, committed=False)
    try:
        partitions = partitions_of(plain, topic) if partition is None else [partition]
        ends = {(topic, p): end for p, end in end_offsets(plain, topic, partitions).items()}
        starts = [TopicPartition(topic, partition, 0) for partition in partitions]
        yield from read_to_end(consumer, starts, ends, lambda: None)
    finally:
        consumer.close()
        plain.close()
