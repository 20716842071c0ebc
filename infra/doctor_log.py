"""What `olo doctor` sees of the log itself: topics and copies, who holds the slots, the store against the log; and restarts.

Every cure that is named here is safe: none makes anew what holds a part of what was decided.
"""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.exceptions import Error
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from infra.clickhouse import connect
from infra.config import Config
from infra.kafka import TIMEOUT_S, client_id, end_offsets, ends_of, quiet, reader
from infra.topics import short_of_replicas
from schemas.log.entity import Topic
from schemas.log.topics import FEED, topics

BACKUP: Final = "bring it back from a backup, or begin with a new log and a new OLO_HOME"
# A child that has died more than once, and whose last start is so young, has not been seen to live.
YOUNG_S: Final = 20.0
REDPANDA: Final = "redpanda."
LOG_OF_STORE: Final = "SELECT topic, partition, max(offset) FROM log GROUP BY topic, partition"


class Examined(NamedTuple):
    """One thing looked at: fine or not, what was seen, and what mends it."""

    what: str
    fine: bool
    seen: str
    mend: str = ""


def examine_log(config: Config, children: Sequence[Mapping[str, Any]]) -> Iterator[Examined]:
    """Every finding, as it is made. `children`: those of a running platform, as its endpoints file has them."""
    with reader(config, committed=False) as consumer:
        cluster = consumer.list_topics(timeout=TIMEOUT_S)
        counts = {name: len(found.partitions) for name, found in cluster.topics.items()}
        told = {t.name for t in topics() if t.name.endswith(".events") and t.name in counts and _has_facts(consumer, t, counts)}
        yield of_topics(topics(), counts, told)
        yield of_replicas(short_of_replicas(cluster, [topic.name for topic in topics()]), _behind(cluster))
        yield from _store(config, consumer, counts)
    yield from _slots(config, children)
    yield of_restarts(children, time.time())
    yield from _redpanda(config)


def _has_facts(consumer: Consumer, topic: Topic, counts: Mapping[str, int]) -> bool:
    return any(end_offsets(consumer, topic.name, range(counts[topic.name])).values())


def of_topics(wanted: Sequence[Topic], counts: Mapping[str, int], told: set[str]) -> Examined:
    """Topics that are missing or have other partitions. `counts`: name -> partitions; `told`: topics of events with facts."""
    other = {counts[topic.name] for topic in wanted if topic.name in counts and counts[topic.name] != topic.partitions}
    if other:
        mend = f"OLO_PARTITIONS={other.pop()} make up" if len(other) == 1 else BACKUP
        return Examined("topics", False, "topics have other partitions than the map", mend)
    missing = [topic.name for topic in wanted if topic.name not in counts]
    lost = [name for name in missing if name.endswith((".inbox", ".state")) and f"{name.rpartition('.')[0]}.events" in told]
    if lost:
        return Examined("topics", False, f"lost, though facts came of them: {', '.join(lost)}", BACKUP)
    if missing:
        return Examined("topics", False, f"missing: {', '.join(missing)}", "olo topics --create")
    return Examined("topics", True, f"{len(wanted)} as the map has them")


def _behind(cluster: Any) -> int:
    names = [topic.name for topic in topics() if topic.name in cluster.topics]
    return sum(len(part.isrs) < len(part.replicas) for name in names for part in cluster.topics[name].partitions.values())


def of_replicas(short: Sequence[str], behind: int) -> Examined:
    """`short`: partitions that take no record; `behind`: how many have a copy that is not in step."""
    if short:
        seen = f"{len(short)} partitions take no record, the first: {short[0]}"
        return Examined("copies", False, seen, "start the brokers that are missing; flows go on by themselves")
    if behind:
        return Examined(
            "copies", False, f"{behind} partitions have a copy that is not in step", "start the broker that is missing"
        )
    return Examined("copies", True, "all in step")


def _store(config: Config, consumer: Consumer, counts: Mapping[str, int]) -> Iterator[Examined]:
    try:
        rows = connect(config.clickhouse_url).query(LOG_OF_STORE).result_rows if config.clickhouse_url else []
    except (Error, OSError):
        return  # ClickHouse has a finding of its own
    stored = {(topic, partition): offset for topic, partition, offset in rows if partition < counts.get(topic, 0)}
    yield of_store(stored, ends_of(consumer, list(stored)))


def of_store(stored: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> Examined:
    """A warehouse that has records which the log has not got belongs to another log: new ones would never be stored."""
    beyond = [place for place, offset in stored.items() if offset >= ends[place]]
    if not beyond:
        return Examined("store and log", True, "of one log")
    seen = f"ClickHouse has {beyond[0][0]}/{beyond[0][1]} up to {stored[beyond[0]]}, the log ends at {ends[beyond[0]]}"
    return Examined("store and log", False, seen, "bring that log back, or name a new database with OLO_CLICKHOUSE_URL")


def _slots(config: Config, children: Sequence[Mapping[str, Any]]) -> Iterator[Examined]:
    flows = sorted({role.rpartition("-")[0] for role in (child["role"] for child in children) if role.rpartition("-")[0]})
    groups = [flow for flow in flows if flow != "serving"]
    if not groups:
        return
    admin = AdminClient(quiet(config))  # it has to live until its answers are there
    found = admin.describe_consumer_groups(groups, request_timeout=TIMEOUT_S)
    try:
        members = [(member.group_instance_id, member.client_id, member.host)
                   for group in found.values() for member in group.result(TIMEOUT_S).members]  # fmt: skip
    except (KafkaException, TimeoutError):
        return  # the lag of the group tells it
    yield of_slots(members, client_id(str(config.home.absolute()), socket.gethostname()))


def of_slots(members: Sequence[tuple[str | None, str, str]], ours: str) -> Examined:
    """Slots (instance, client, host) that a client of another Olo holds."""
    others = [(slot, client, host) for slot, client, host in members if client != ours]
    if not others:
        return Examined("slots", True, f"{len(members)} held by this Olo")
    slot, client, host = others[0]
    seen = f"{slot} is held by another Olo ({client} at {host}): the two fence each other without end"
    return Examined("slots", False, seen, "stop one of the two, or give it brokers of its own (OLO_BROKERS)")


def of_restarts(children: Sequence[Mapping[str, Any]], moment: float) -> Examined:
    """Processes that die again and again. `moment`: Unix time."""
    again = [one for one in children if one.get("deaths", 0) > 1 and moment - one.get("started", 0.0) < YOUNG_S]
    if not again:
        return Examined("restarts", True, "no process dies again and again")
    seen = ", ".join(f"{one['role']} ({one['deaths']} times)" for one in again)
    return Examined("restarts", False, f"started again and again: {seen}", f"less {again[0]['log']}")


def _redpanda(config: Config) -> Iterator[Examined]:
    """Redpanda shows by its topics' settings; its version it tells to its own tool only."""
    resource = ConfigResource(ResourceType.TOPIC, FEED.name)
    admin = AdminClient(quiet(config))
    try:
        (found,) = admin.describe_configs([resource], request_timeout=TIMEOUT_S).values()
        names = found.result(TIMEOUT_S)
    except (KafkaException, TimeoutError):
        return  # no such topic: that has a finding of its own
    if any(name.startswith(REDPANDA) for name in names):
        seen = "Redpanda: versions before 24.2 lose transactions; `rpk redpanda admin brokers list` shows yours"
        yield Examined(
            "broker's kind", config.replication_factor % 2 == 1, seen, "OLO_REPLICATION_FACTOR=3: factors are odd there"
        )
