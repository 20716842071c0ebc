"""`olo doctor`: looks at everything that Olo needs, and names the command that mends each problem."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx
from clickhouse_connect.driver.exceptions import Error
from confluent_kafka import Consumer, KafkaError, KafkaException

from infra.clickhouse import connect
from infra.config import EMULATOR_VARIABLE, Config, Environment
from infra.dead_letters import parked
from infra.doctor_flows import examine_flows
from infra.doctor_log import Examined, examine_log
from infra.doctor_pulse import examine_pulse
from infra.doctor_redpanda import examine_redpanda
from infra.doctor_states import examine_states
from infra.endpoints import endpoints_of
from infra.errors import NO_ANSWER
from infra.exposition import total
from infra.kafka import quiet
from schemas.log.topics import ENTITIES

FREE_GB: Final = 5
# Serving holds in memory what its store lacks.
VIEWS_BEHIND: Final = 100_000
# How the broker, and the client, say that there is no such topic.
MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})


def examine(config: Config) -> Iterator[Examined]:
    """Every finding, as it is made."""
    yield _python()
    yield _disk(config)
    yield _production(config)
    yield _port(config)
    broker = _broker(config)
    yield broker
    if broker.fine:
        children = endpoints_of(config.home).get("children", [])
        yield from looked("log", lambda: examine_log(config, children))
        yield from looked("flows", lambda: examine_flows(config, children))
        yield from looked("pulse", lambda: [examine_pulse(config, children)])
        yield from looked("states", lambda: examine_states(config))
        yield from looked("broker's kind", lambda: examine_redpanda(config))
        yield from looked("parked entities", lambda: [_parked(config)])
    yield _clickhouse(config)
    yield from _views(config)
    yield from _refusing(config)
    yield _http(config)


def looked(what: str, look: Callable[[], Iterable[Examined]]) -> Iterator[Examined]:
    """The findings of one look at the broker. One that the broker breaks off, where a topic is missing, say, is a finding, too:
    all others are told."""
    try:
        yield from look()
    except (KafkaException, TimeoutError) as error:
        first = error.args[0] if error.args else error
        missing = isinstance(first, KafkaError) and first.code() in MISSING
        why = first.str() if isinstance(first, KafkaError) else str(first) or NO_ANSWER
        yield Examined(what, False, f"cannot be looked at: {why}", "olo topics --create" if missing else "olo doctor")


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


def listens(config: Config) -> tuple[str, int]:
    """Where HTTP is: as the platform that runs here says, which may have been started with another setting, or taken any free
    port; or else as the settings say."""
    told = urlsplit(endpoints_of(config.home).get("http", ""))
    return (told.hostname, told.port) if told.hostname and told.port else (config.http_host, config.http_port)


def _port(config: Config) -> Examined:
    host, port = listens(config)
    if not port:
        return Examined("port", True, "any free one")
    with socket.socket() as probe:
        probe.settimeout(1)
        taken = probe.connect_ex((host, port)) == 0
    state = "in use by this Olo" if taken and _running(config) else "in use by another program" if taken else "free"
    fine = not taken or _running(config)
    return Examined(f"port {port}", fine, state, f"OLO_HTTP_PORT={port + 1} make up")


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


def _refusing(config: Config) -> Iterator[Examined]:
    """Inboxes for which serving refuses commands early (`serving/runtime/admission.py`)."""
    for child in endpoints_of(config.home).get("children", []):
        if not child["role"].startswith("serving"):
            continue
        try:
            answer = httpx.get(f"{child['url']}/metrics", timeout=5, headers=_bearer(config.metrics_token))
        except httpx.HTTPError:
            continue  # HTTP has a finding of its own
        if answer.status_code == 401:
            seen = "does not tell its metrics without the token of OLO_METRICS_TOKEN"
            yield Examined(f"{child['role']} takes", False, seen, "OLO_METRICS_TOKEN=... olo doctor")
            continue
        yield of_refusals(child["role"], answer.text, {entity.inbox: entity.flow for entity in ENTITIES})


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def of_refusals(role: str, told: str, flows: Mapping[str, str]) -> Examined:
    """`told`: the metrics of a serving process; `flows`: who decides each inbox."""
    late = [inbox for inbox in flows if total(told, f'olo_commands_refusing{{inbox="{inbox}"}}')]
    if not late:
        return Examined(f"{role} takes", True, "every command")
    seen = f"commands are refused early (503 overloaded), since decisions are late: {', '.join(late)}"
    flow = flows[late[0]].upper()
    return Examined(f"{role} takes", False, seen, f"free the machine of other work, or OLO_{flow}_PROCESSES=2 make up")


def _http(config: Config) -> Examined:
    host, port = listens(config)
    if not port:
        return Examined("HTTP", False, "not running", "make up")
    url = f"http://{host}:{port}"
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
