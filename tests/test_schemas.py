"""The wire: old messages still read, exports do not drift, changes stay backward compatible, keys stay where they are."""

import copy
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.log import topics
from schemas.log.base import new_id
from schemas.log.codec import UnreadableError, decoder_of, encode, unreadable
from schemas.log.entity import partition_of
from schemas.log.export import ASYNCAPI, documents, problems
from tests.conftest import Stack
from tests.golden import golden_lines

EXPORTED = Path(__file__).parent.parent / "schemas" / "exported"
GOLDEN = golden_lines()
TYPES: dict[str, Any] = {type_.__name__: type_ for topic in topics.topics() for type_ in topic.messages}


def test_the_exported_documents_are_the_structs() -> None:
    there = {file.name: json.loads(file.read_text()) for file in EXPORTED.glob("*.json")}
    assert there == json.loads(json.dumps(documents())), "run `make schemas` and commit"


@pytest.mark.parametrize("line", GOLDEN, ids=lambda line: json.loads(line)["type"])
def test_every_message_ever_written_reads_and_is_written_alike(line: str) -> None:
    message = decoder_of((TYPES[json.loads(line)["type"]],))(line.encode())
    assert json.loads(encode(message)) == json.loads(line)


def test_every_message_has_a_golden_example() -> None:
    written = {json.loads(line)["type"] for line in GOLDEN}
    messages = {t.__name__ for e in topics.ENTITIES for t in (*topics.hears(e), *e.facts)} | {
        "DeadLetter",
        "LetterSettled",
        "Release",
        "PulseWindow",
    }
    lacking, strange = sorted(messages - written), sorted(written - messages)
    assert not lacking, f"add a line of each of {lacking} to the domain's file in tests/golden"
    assert not strange, f"the log carries no {strange}; what was written once must stay readable"


BREAKING = [
    ("a field was removed", lambda d: d["Credit.json"]["properties"].pop("ref"), "Credit.ref was removed"),
    ("a field was re-typed", lambda d: d["Credit.json"]["properties"]["ref"].update(type="integer"), "Credit.ref: type"),
    ("a field became required", lambda d: d["Credit.json"]["required"].append("ref"), "Credit.ref became required"),
    ("a bound became tighter", lambda d: d["Credit.json"]["properties"]["coins"].update(maximum=5), "maximum is tighter"),
    ("a value was removed", lambda d: d["Credit.json"]["$defs"]["Reason"]["enum"].remove("gift"), "'gift' was removed"),
    ("a message was removed", lambda d: d.pop("Credit.json"), "Credit was removed"),
    ("a topic was removed", lambda d: d[ASYNCAPI]["channels"].pop("feed"), "topic feed was removed"),
    ("keys would move", lambda d: d[ASYNCAPI]["channels"]["feed"].update({"x-key": "call"}), "keys would move"),
]


@pytest.fixture(scope="module")
def now_exported() -> dict[str, Any]:
    """The documents of today: to compare with, never to change."""
    return documents()


@pytest.mark.parametrize(("name", "change", "told"), BREAKING, ids=[row[0] for row in BREAKING])
def test_a_breaking_change_is_told(name: str, change: Callable[[Any], Any], told: str, now_exported: dict[str, Any]) -> None:
    new = copy.deepcopy(now_exported)
    change(new)
    assert any(told in line for line in problems(now_exported, new))


def test_an_added_field_or_message_breaks_nothing(now_exported: dict[str, Any]) -> None:
    old = copy.deepcopy(now_exported)
    old["Credit.json"]["properties"].pop("ref")
    old.pop("Void.json")
    old[ASYNCAPI]["channels"].pop("feed")
    assert problems(old, now_exported) == []


def unions(schema: Any) -> Iterator[Any]:
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from unions(part)
    if isinstance(schema, dict) and "anyOf" in schema:
        yield schema


def test_the_kinds_of_a_union_and_of_a_topic_can_be_told_apart(now_exported: dict[str, Any]) -> None:
    """In any language: a union of objects names the field that tells its kinds apart, and a topic's messages have `type`."""
    for name, document in now_exported.items():
        for union in unions(document):
            kinds = [document["$defs"][one["$ref"].rpartition("/")[2]] for one in union["anyOf"] if "$ref" in one]
            objects = [kind for kind in kinds if kind.get("type") == "object"]
            if len(objects) > 1:
                field = union["discriminator"]
                values = [one["properties"][field]["enum"] for one in objects]
                assert len({value for (value,) in values}) == len(objects), f"{name}: {field} does not tell them apart"
                assert all(field in one["required"] for one in objects)
    for topic, channel in now_exported[ASYNCAPI]["channels"].items():
        types = [now_exported[f"{message}.json"] for message in channel["messages"]]
        tagged = all("type" in one["properties"] and "type" in one["required"] for one in types)
        assert tagged or len(types) == 1, f"{topic} carries several types, and one of them does not say which it is"


@pytest.mark.parametrize(
    ("raw", "cause"),
    [(b"{", "broken_json"), (b'{"type":"No"}', "unknown_type"), (b'{"type":"Wake","id":""}', "invalid")],
)
def test_unreadable_bytes_are_sorted_by_cause(raw: bytes, cause: str) -> None:
    with pytest.raises(Exception, match=r".") as error:
        decoder_of((TYPES["Wake"], TYPES["Void"]))(raw)
    found = unreadable(error.value)
    assert isinstance(found, UnreadableError)
    assert found.cause == cause


def test_ids_are_uuid7_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(3)]
    assert all(uuid.UUID(one).version == 7 for one in ids)
    assert [one[:8] for one in ids] == sorted(one[:8] for one in ids)


def test_partitions_are_those_of_librdkafka(stack: Stack) -> None:
    """The `consistent` partitioner of librdkafka and `partition_of` agree: any Kafka client can write an inbox."""
    admin = AdminClient({"bootstrap.servers": stack.brokers})
    admin.create_topics([NewTopic("partitioning", 8, 1)])["partitioning"].result(10)
    placed = {}
    producer = Producer({"bootstrap.servers": stack.brokers, "partitioner": "consistent", "message.timeout.ms": 5000})
    keys = [b"ann/coins", "zoë/coins".encode(), b"x", b"0" * 100]
    for key in keys:
        producer.produce("partitioning", b"", key, on_delivery=lambda _, m: placed.update({m.key(): m.partition()}))
    producer.flush(10)
    assert placed == {key: partition_of(key, 8) for key in keys}
