"""What `olo doctor` sees of Redpanda: that it is one, its versions, and factors that it refuses.

A client of the Kafka protocol learns neither name nor version of a broker. Redpanda shows by settings of its own on topics; its
versions are told by its admin API (`GET /v1/brokers`), where `OLO_REDPANDA_ADMIN` names it. What Olo takes for granted of a
broker beyond the protocol: docs/broker.md.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from infra.config import Config
from infra.doctor_log import Examined
from infra.kafka import TIMEOUT_S, quiet
from schemas.log.topics import FEED

OWN_SETTINGS: Final = "redpanda."
# Before it transactions hang, lose offsets, or end with the wrong producer's.
FIRST: Final = (24, 2)
VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\b")
WHAT: Final = "Redpanda"
UPGRADE: Final = "upgrade the brokers one by one, a feature release at a time: what is in the log stays"


def examine_redpanda(config: Config) -> Iterator[Examined]:
    """Every finding; none where the broker is another kind."""
    if not (config.redpanda_admin or _is_redpanda(config)):
        return
    if config.replication_factor % 2 == 0:
        seen = f"OLO_REPLICATION_FACTOR is {config.replication_factor}, and it makes no topic of an even factor"
        yield Examined("copies wanted", False, seen, "OLO_REPLICATION_FACTOR=3 make up (three brokers; 1: no copies)")
    if not config.redpanda_admin:
        seen = "its version is not known, and those before 24.2 lose transactions: `rpk redpanda admin brokers list` shows it"
        yield Examined(WHAT, True, f"{seen}; with OLO_REDPANDA_ADMIN=http://host:9644 it is looked at here")
        return
    yield of_brokers(*_brokers(config.redpanda_admin))


def of_brokers(brokers: Sequence[Mapping[str, Any]], failed: str = "") -> Examined:
    """`brokers`: as the admin API tells them; `failed`: why it does not."""
    if failed:
        return Examined(WHAT, False, failed, "set OLO_REDPANDA_ADMIN to the admin API of a broker, such as http://host:9644")
    told = {str(one.get("node_id", "?")): str(one.get("version", "")) for one in brokers}
    found = {node: VERSION.match(version) for node, version in told.items()}
    if unknown := [node for node, match in found.items() if match is None]:
        return Examined(
            WHAT, False, f"broker {unknown[0]} tells no version that can be read: {told[unknown[0]]!r:.60}", UPGRADE
        )
    versions = {node: (int(match[1]), int(match[2])) for node, match in found.items() if match}
    old = [node for node, version in versions.items() if version < FIRST]
    if old:
        seen = f"broker {old[0]} is {told[old[0]].split()[0]}: versions before 24.2 lose transactions"
        return Examined(WHAT, False, seen, UPGRADE)
    return Examined(WHAT, True, ", ".join(sorted({version.split()[0] for version in told.values()})))


def _brokers(url: str) -> tuple[list[Mapping[str, Any]], str]:
    where = f"{url.rstrip('/')}/v1/brokers"
    try:
        answer = httpx.get(where, timeout=TIMEOUT_S)
        found = answer.raise_for_status().json()
    except httpx.HTTPStatusError as error:
        return [], f"{where} answers {error.response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return [], f"{where} does not answer ({type(error).__name__})"
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        return [], f"{where} tells no brokers"
    return found, ""


def _is_redpanda(config: Config) -> bool:
    admin = AdminClient(quiet(config))
    try:
        (found,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, FEED.name)], request_timeout=TIMEOUT_S).values()
        return any(name.startswith(OWN_SETTINGS) for name in found.result(TIMEOUT_S))
    except (KafkaException, TimeoutError):
        return False  # no such topic: that has a finding of its own
