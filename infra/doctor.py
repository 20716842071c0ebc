"""`olo doctor`: looks at everything that Olo needs, and names the command that mends each problem."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Final

import httpx
from clickhouse_connect.driver.exceptions import Error
from confluent_kafka import Consumer, KafkaException, TopicPartition

from infra.clickhouse import connect
from infra.config import EMULATOR_VARIABLE, Config, Environment
from infra.dead_letters import parked
from infra.doctor_log import Examined, examine_log
from infra.exposition import total
from infra.kafka import ends_of, quiet
from infra.platform import endpoints_of
from schemas.log.entity import Flow
from schemas.log.topics import ENTITIES
from schemas.outbox import OUTBOX

FREE_GB: Final = 5
# A flow that decides and is this far behind answers nobody in time; a store that is so far behind shows analysts the past.
LAG_RECORDS: Final = {"money": 5_000, "live": 5_000, "growth": 50_000, "dispatch": 5_000, "store": 200_000}
# Serving holds in memory what its store lacks.
VIEWS_BEHIND: Final = 100_000
READS: Final[dict[str, list[str]]] = {
    **{flow: [entity.inbox for entity in ENTITIES if entity.flow is flow] for flow in Flow},
    "dispatch": [OUTBOX.events],
    "store": [entity.inbox for entity in ENTITIES if not entity.private],
}


def examine(config: Config) -> Iterator[Examined]:
    """Every finding, as it is made."""
    yield _python()
    yield _disk(config)
    yield _production(config)
    yield _port(config)
    broker = _broker(config)
    yield broker
    if broker.fine:
        yield from examine_log(config, endpoints_of(config.home).get("children", []))
        for group in LAG_RECORDS:
            yield _lag(config, group)
        yield _parked(config)
    yield _clickhouse(config)
    yield from _views(config)
    yield _http(config)


def _python() -> Examined:
    version = ".".join(map(str, sys.version_info[:3]))
    fine = (3, 11) <= sys.version_info[:2] <= (3, 12)
    return Examined("Python", fine, version, "make clean && make up")


def _disk(config: Config) -> Examined:
    folder = config.home if config.home.exists() else config.home.absolute().parent
    free_gb = shutil.disk_usage(folder).free / 1e9
    return Examined("disk", free_gb >= FREE_GB, f"{free_gb:.0f} GB free at {folder}", "OLO_HOME=/a/larger/disk make up")


def _production(config: Config) -> Examined:
    emulated = bool(os.environ.get(EMULATOR_VARIABLE))
    fine = config.env is Environment.DEVELOPMENT or not emulated
    return Examined("environment", fine, config.env, f"unset {EMULATOR_VARIABLE}")


def _running(config: Config) -> bool:
    return (config.home / "endpoints.json").is_file()


def _port(config: Config) -> Examined:
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = probe.connect_ex((config.http_host, config.http_port)) == 0
    state = "in use by this Olo" if taken and _running(config) else "in use by another program" if taken else "free"
    fine = not taken or _running(config)
    return Examined(f"port {config.http_port}", fine, state, f"OLO_HTTP_PORT={config.http_port + 1} make up")


def _broker(config: Config) -> Examined:
    if not config.brokers:
        return Examined("broker", False, "not running", "make up")
    try:
        consumer = Consumer(quiet(config, **{"group.id": "olo-doctor"}))
        found = consumer.list_topics(timeout=5)
        consumer.close()
    except KafkaException as error:
        return Examined("broker", False, f"{config.brokers} does not answer ({error.args[0].name()})", "make up")
    return Examined("broker", True, f"{len(found.brokers)} node(s) at {config.brokers}")


def lag_of(config: Config, group: str) -> int | None:
    """Records of the inboxes that `group` has not taken yet; None when the broker does not say in time."""
    consumer = Consumer(quiet(config, **{"group.id": group, "isolation.level": "read_committed"}))
    try:
        places = [(topic, p) for topic in READS[group] for p in range(config.partitions)]
        ends = ends_of(consumer, places)
        taken = consumer.committed([TopicPartition(*place) for place in places], 5)
        behind: int = sum(max(0, ends[part.topic, part.partition] - max(part.offset, 0)) for part in taken)
        return behind
    except KafkaException:
        return None
    finally:
        consumer.close()


def _lag(config: Config, group: str) -> Examined:
    behind = lag_of(config, group)
    if behind is None:
        return Examined(f"{group} lag", False, "unknown: a transaction hangs or the broker is slow", "olo doctor")
    fine = behind <= LAG_RECORDS[group]
    processes = {"money": config.money_processes, "live": config.live_processes, "growth": config.growth_processes}
    room = processes.get(group, config.partitions) < config.partitions  # of more, the settings would complain
    more = f"OLO_{group.upper()}_PROCESSES={processes[group] + 1} make up" if room else "make up"
    return Examined(f"{group} lag", fine, f"{behind:,} records", more)


def _parked(config: Config) -> Examined:
    waiting = parked(config)
    first = next(iter(waiting.values()), [])
    seen = f"{len(waiting)} wait for an operator, the first one at {first[0].id} ({first[0].cause})" if first else "none"
    return Examined("parked entities", not waiting, seen, "olo dead-letters list")


def _clickhouse(config: Config) -> Examined:
    if not config.clickhouse_url:
        return Examined("ClickHouse", False, "not running", "make up")
    where = config.clickhouse_url.rpartition("@")[2]
    try:
        version = connect(config.clickhouse_url).server_version
    except (Error, OSError) as error:
        return Examined("ClickHouse", False, f"{where} does not answer ({type(error).__name__})", "make up")
    return Examined("ClickHouse", True, f"{version} at {where}")


def _views(config: Config) -> Iterator[Examined]:
    """The store that serving reads, where `olo up` keeps one."""
    for child in endpoints_of(config.home).get("children", []):
        if child["role"] != "views":
            continue
        try:
            told = httpx.get(child["url"], timeout=5).text
        except httpx.HTTPError as error:
            yield Examined("views' store", False, f"nobody keeps it ({type(error).__name__}); see {child['log']}", "make up")
            continue
        ready, behind = total(told, "olo_view_store_ready") > 0, total(told, "olo_view_store_behind_records")
        seen = f"{behind:,.0f} records behind" if ready else f"being built, {behind:,.0f} records to go; see {child['log']}"
        yield Examined("views' store", ready and behind <= VIEWS_BEHIND, seen, "olo doctor")


def _http(config: Config) -> Examined:
    url = f"http://{config.http_host}:{config.http_port}"
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5)
    except httpx.HTTPError as error:
        return Examined("HTTP", False, f"{url} does not answer ({type(error).__name__})", "make up")
    return Examined("HTTP", answer.status_code == 200, f"{url} answers {answer.status_code}", "make up")


def report(config: Config, tell: Callable[[str], None]) -> int:
    """Tell all findings; how many are not fine."""
    wrong = 0
    for finding in examine(config):
        wrong += not finding.fine
        mark = "[green]ok[/]  " if finding.fine else "[red]no[/]  "
        tell(f"{mark}{finding.what:<14} {finding.seen}" + ("" if finding.fine else f"\n      mend: [bold]{finding.mend}[/]"))
    return wrong
