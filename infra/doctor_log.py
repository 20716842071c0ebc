"""What `olo doctor` sees of the log itself: topics and copies, who holds the slots, the store against the log; and restarts.

Every cure that is named here is safe: none makes anew what holds a part of what was decided.
"""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from clickhouse_connect.driver.exceptions import Error
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.clickhouse import connect
from infra.config import Config
from infra.kafka import TIMEOUT_S, client_id, end_offsets, offsets_of, quiet, read_to_end, reader
from infra.topics import short_of_replicas
from schemas.log.entity import Topic
from schemas.log.topics import topics

BACKUP: Final = "bring it back from a backup, or begin with a new log and a new OLO_HOME"
# A child that has died more than once, and whose last start is so young, has not been seen to live.
YOUNG_S: Final = 20.0
# One that has died so often within the last hour does not live, either, though it works for a while each time.
OFTEN: Final = 5
HOUR_S: Final = 3_600.0
LOG_OF_STORE: Final = """SELECT topic, partition, max(offset), toUnixTimestamp64Milli(argMax(logged_at, offset))
FROM log GROUP BY topic, partition"""


# Behind a record lies the mark of its transaction, which is none.
MARKS: Final = 1

Place = tuple[str, int]


class Stored(NamedTuple):
    """A record, by its offset and the log's time in ms."""

    offset: int
    at_ms: int


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
    stored = {(topic, p): Stored(offset, at_ms) for topic, p, offset, at_ms in rows if p < counts.get(topic, 0)}
    begins, ends = (offsets_of(consumer, list(stored), which) for which in (OFFSET_BEGINNING, OFFSET_END))
    there = [place for place, last in stored.items() if begins[place] <= last.offset < ends[place]]
    starts = [TopicPartition(*place, stored[place].offset) for place in there]
    found: dict[Place, Stored] = {}
    for record in read_to_end(config, starts, {place: stored[place].offset + 1 for place in there}):
        found.setdefault((record.topic(), record.partition()), Stored(record.offset(), record.timestamp()[1]))
    yield of_store(stored, begins, ends, found)


def of_store(
    stored: Mapping[Place, Stored], begins: Mapping[Place, int], ends: Mapping[Place, int], found: Mapping[Place, Stored]
) -> Examined:
    """A warehouse that has other records than the log belongs to another log: new ones would not be stored. `found`: the first
    record that the log has from the last stored offset on."""
    other = "bring that log back, or name a new database with OLO_CLICKHOUSE_URL"
    for place, last in stored.items():
        name = f"{place[0]}/{place[1]}"
        if last.offset >= ends[place]:
            seen = f"ClickHouse has {name} up to {last.offset}, the log ends at {ends[place]}"
            return Examined("store and log", False, seen, other)
        if place in found and found[place] != last:
            seen = f"the record {name}/{last.offset} is another one in ClickHouse than in the log, which was begun anew"
            return Examined("store and log", False, seen, other)
        if begins[place] > last.offset + 1 + MARKS:
            gone = f"{name}: ClickHouse ends at {last.offset}, the log begins at {begins[place]}"
            mend = "make up: the store goes on; what lies between was deleted by the broker while nobody stored it"
            return Examined("store and log", False, gone, mend)
    return Examined("store and log", True, "of one log")


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
    # Other slots of the same flow may well run on other machines.
    mine = {child["role"] for child in children}
    yield of_slots([one for one in members if one[0] in mine], client_id(str(config.home.absolute()), socket.gethostname()))


def of_slots(members: Sequence[tuple[str | None, str, str]], ours: str) -> Examined:
    """Slots (instance, client, host) that a client of another Olo holds."""
    others = [(slot, client, host) for slot, client, host in members if client != ours]
    if not others:
        return Examined("slots", True, f"{len(members)} held by this Olo")
    slot, client, host = others[0]
    seen = f"{slot} is held by another Olo ({client} at {host}): the two fence each other without end"
    return Examined("slots", False, seen, "stop one of the two, or give it brokers of its own (OLO_BROKERS)")


def of_restarts(children: Sequence[Mapping[str, Any]], moment: float) -> Examined:
    """Processes that die again and again: in a row, or now and then, each time after a while. `moment`: Unix time."""
    again = {
        one["role"]: max(one.get("deaths", 0), recent)
        for one in children
        if (recent := sum(moment - at < HOUR_S for at in one.get("died", []))) >= OFTEN
        or (one.get("deaths", 0) > 1 and moment - one.get("started", 0.0) < YOUNG_S)
    }
    if not again:
        return Examined("restarts", True, "no process dies again and again")
    seen = ", ".join(f"{role} ({deaths} times)" for role, deaths in again.items())
    log = next(one["log"] for one in children if one["role"] in again)
    return Examined("restarts", False, f"started again and again: {seen}", f"less {log}")
