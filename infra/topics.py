"""The admin's work on topics: which are missing, made, lost, or short of copies, and their ids."""

from collections.abc import Collection, Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from infra.config import Config
from infra.errors import UsageError
from infra.kafka import ELECTING, TIMEOUT_S, end_offsets, in_time, quiet, reader
from schemas.log.entity import DAY_S, Topic

KEPT: Final = {"max.compaction.lag.ms": str(DAY_S * 1000)}


def check_topics(config: Config, topics: Sequence[Topic]) -> list[Topic]:
    """The topics that the broker lacks. Those that it has must have as many partitions as ours: keys would stand in wrong ones.
    Errors: UsageError."""
    there = AdminClient(quiet(config)).list_topics(timeout=TIMEOUT_S).topics
    for topic in topics:
        found = len(there[topic.name].partitions) if topic.name in there else topic.partitions
        if found != topic.partitions:
            raise UsageError(
                f"OLO_PARTITIONS: the topic {topic.name} has {found} partitions, not {topic.partitions}, and keys cannot move: "
                f"set OLO_PARTITIONS={found}, or begin with a new OLO_HOME or broker"
            )
    return [topic for topic in topics if topic.name not in there]


def identity(config: Config, topics: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The cluster's id, and each topic's; one that was deleted and created again has another id. Errors: KafkaException."""
    admin = AdminClient(quiet(config))

    def ask() -> dict[str, str]:
        described = admin.describe_topics(TopicCollection(list(topics)))
        return {name: str(future.result(TIMEOUT_S).topic_id) for name, future in described.items()}

    # a node that has not heard yet of a topic that was just made does not know it
    found = in_time(ask, ELECTING | {KafkaError.UNKNOWN_TOPIC_OR_PART})
    return str(admin.list_topics(topics[0], timeout=TIMEOUT_S).cluster_id), found


def create_topics(config: Config, topics: Sequence[Topic]) -> list[str]:
    """Create the topics that are missing; the names of the created ones. Errors: UsageError (see `check_topics`), also where a
    topic is missing that holds a part of what was decided."""
    missing = check_topics(config, topics)
    _bring_up_to_date(config, [topic.name for topic in topics if topic.compacted and topic not in missing])
    if not missing:
        return []
    _refuse_lost(config, [topic.name for topic in missing])
    return _create(config, missing)


def _bring_up_to_date(config: Config, changelogs: Sequence[str]) -> None:
    """Changelogs of an older Olo get the settings that it did not know. Errors: KafkaException."""
    admin = AdminClient(quiet(config))
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in changelogs]
    found = admin.describe_configs(asked, request_timeout=TIMEOUT_S) if asked else {}
    old = [
        ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=[_entry(*setting) for setting in KEPT.items()])
        for resource, future in found.items()
        if (there := future.result(TIMEOUT_S)) and any(n in there and there[n].value != wanted for n, wanted in KEPT.items())
    ]
    for future in admin.incremental_alter_configs(old, request_timeout=TIMEOUT_S).values() if old else ():
        future.result(TIMEOUT_S)


def _entry(name: str, value: str) -> ConfigEntry:
    return ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)


def create_again(config: Config, name: str, partitions: int) -> None:
    """Create a changelog that was lost, for whoever is about to fill it. Errors: RuntimeError."""
    _create(config, [Topic(name, "", (), own_partitions=partitions, compacted=True)])


def _create(config: Config, missing: Sequence[Topic]) -> list[str]:
    admin = AdminClient(quiet(config))
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions,
            replication_factor=config.replication_factor,
            config=_config(topic) | {"min.insync.replicas": str(least_in_sync(config.replication_factor))},
        )
        for topic in missing
    ]
    for name, future in admin.create_topics(new).items():
        try:
            future.result(TIMEOUT_S)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR:
                raise RuntimeError(
                    f"topic {name}: the broker refuses OLO_REPLICATION_FACTOR={config.replication_factor}: it must not "
                    "be larger than the number of brokers, and odd on Redpanda"
                ) from error
            if code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise RuntimeError(f"topic {name}: {error}") from error
    return [topic.name for topic in missing]


def bring_back(entity: str = "") -> str:
    """What an operator can do about a lost topic. `entity`: whose changelog it is; a rebuild makes that again."""
    rebuilt = f"make it again with `olo rebuild {entity}` (try `--dry-run` first), " if entity else ""
    return f"{rebuilt}bring it back from a backup, or begin with a new log and a new OLO_HOME"


def _refuse_lost(config: Config, missing: Sequence[str]) -> None:
    """An inbox or a changelog that is made anew, empty, beside the facts that were decided from it: accounts would be gone, and
    commands decided twice. Errors: UsageError."""
    with reader(config, committed=False) as plain:
        there = plain.list_topics(timeout=TIMEOUT_S).topics
        for name in missing:
            entity, _, kind = name.rpartition(".")
            facts = f"{entity}.events"
            partitions = sorted(there[facts].partitions) if kind in ("inbox", "state") and facts in there else []
            if any(end_offsets(plain, facts, partitions).values()):
                raise UsageError(
                    f"the topic {name} is missing, and {facts} has facts that came of it: it was lost, and is not made anew; "
                    f"{bring_back(entity if kind == 'state' else '')}"
                )


def _config(topic: Topic) -> dict[str, str]:
    if topic.compacted:
        # A restore reads the whole changelog: compact soon, so that it stays near one record an entity.
        # A store of states that stood still for days must still learn what was forgotten meanwhile (`disk.STALE_S`).
        return {
            "cleanup.policy": ",".join(topic.policies),
            **({"retention.ms": str(topic.retention_s * 1000)} if topic.fades else {}),
            "min.cleanable.dirty.ratio": "0.2",
            # What was changed or forgotten is gone within a day (and a pass of the cleaner), however little is written.
            **KEPT,
            "segment.ms": "600000",
            "delete.retention.ms": str(7 * DAY_S * 1000),
            # A record that waits for a parked entity stands here under a longer key, and may be as large as a broker takes.
            "max.message.bytes": str(2 << 20),
        }
    return {"cleanup.policy": "delete", "retention.ms": str(topic.retention_s * 1000)}


def least_in_sync(replicas: int) -> int:
    """How many copies must have a record before it counts: half of them, or more."""
    return (replicas + 1) // 2


def short_of_replicas(cluster: ClusterMetadata, names: Collection[str]) -> list[str]:
    """The partitions ("<topic>/<partition>") that cannot take a record, for want of a leader or of copies that are in step."""
    found = [
        (name, part) for name in sorted(names) if name in cluster.topics for part in cluster.topics[name].partitions.values()
    ]
    return [
        f"{name}/{part.id} has {'no leader' if part.leader < 0 else f'{len(part.isrs)} of {len(part.replicas)} copies'}"
        for name, part in found
        if part.leader < 0 or len(part.isrs) < least_in_sync(len(part.replicas))
    ]
