"""The schemas for others: a JSON Schema per message and state, and one AsyncAPI 3.1 document of all topics.

A union tells its kinds apart by a field of its own, which `discriminator` names: as AsyncAPI has it, a word.

`documents` makes them from the Structs; `problems` tells how a new set would break readers or writers of an old one:
nothing is removed or re-typed, nothing becomes required, and no list of known values loses a member.
"""

from typing import Any, Final

import msgspec

from schemas.log.base import Message, State
from schemas.log.entity import Topic
from schemas.log.topics import topics

Json = dict[str, Any]
ASYNCAPI: Final = "asyncapi.json"


def documents() -> dict[str, Json]:
    """File name -> document."""
    types = {type_.__name__: type_ for topic in topics() for type_ in topic.messages}
    files: dict[str, Json] = {f"{name}.json": _schema(type_) for name, type_ in sorted(types.items())}
    return files | {ASYNCAPI: _asyncapi(sorted(types))}


def _schema(type_: type[Message] | type[State]) -> Json:
    (reference,), definitions = msgspec.json.schema_components([type_], ref_template="#/$defs/{name}")
    name = reference["$ref"].removeprefix("#/$defs/")
    _name_discriminators(definitions)
    own = definitions.pop(name)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **own, **({"$defs": definitions} if definitions else {})}


def _name_discriminators(schema: Any) -> None:
    """msgspec describes a union's field as OpenAPI does, in an object with a mapping; each kind has its value as an enum."""
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _name_discriminators(part)
    if isinstance(schema, dict) and isinstance(found := schema.get("discriminator"), dict) and "anyOf" in schema:
        schema["discriminator"] = found["propertyName"]


def _asyncapi(types: list[str]) -> Json:
    return {
        "asyncapi": "3.1.0",
        "info": {"title": "Olo's event log", "version": "1"},
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics()},
        "components": {
            "messages": {name: {"name": name, "payload": {"$ref": f"./{name}.json"}} for name in types},
        },
    }


def _channel(topic: Topic) -> Json:
    names = [type_.__name__ for type_ in topic.messages]
    return {
        "address": topic.name,
        "description": f"keyed by {topic.key}; partition = crc32(key) % partitions (OLO_PARTITIONS)",
        "x-key": topic.key,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {"cleanup.policy": list(topic.policies)}
                | ({"retention.ms": topic.retention_s * 1000} if "delete" in topic.policies else {}),
            }
        },
    }


def problems(old: dict[str, Json], new: dict[str, Json]) -> list[str]:
    """What in `new` breaks those who know `old`, a line each."""
    found: list[str] = []
    for name, before in old.items():
        if name == ASYNCAPI:
            found += _channel_problems(before, new[name])
        elif name not in new:
            found.append(f"{name.removesuffix('.json')} was removed")
        else:
            _compare(name.removesuffix(".json"), before, new[name], found)
    return found


def _channel_problems(old: Json, new: Json) -> list[str]:
    found = []
    for name, channel in old["channels"].items():
        now = new["channels"].get(name)
        if now is None:
            found.append(f"topic {name} was removed")
            continue
        gone = channel["messages"].keys() - now["messages"].keys()
        found += [f"topic {name} no longer carries {message}" for message in sorted(gone)]
        if (key := channel.get("x-key", now["x-key"])) != now["x-key"]:
            found.append(f"topic {name} is keyed by {now['x-key']} instead of {key}: keys would move")
    return found


def _compare(where: str, old: Json, new: Json, found: list[str]) -> None:
    for key in ("type", "$ref", "format", "const", "contentEncoding"):
        if old.get(key) != new.get(key):
            found.append(f"{where}: {key} is {new.get(key)!r} instead of {old.get(key)!r}")
    lost = set(old.get("enum", ())) - set(new.get("enum", ()))
    found += [f"{where}: the value {value!r} was removed" for value in sorted(map(str, lost))]
    for bound, tighter in (("minimum", 1), ("exclusiveMinimum", 1), ("minLength", 1), ("maximum", -1), ("maxLength", -1)):
        if bound in new and (bound not in old or (new[bound] - old[bound]) * tighter > 0):
            found.append(f"{where}: {bound} is tighter, {new[bound]}")
    required = set(new.get("required", ())) - set(old.get("required", ()))
    found += [f"{where}.{name} became required; give it a default" for name in sorted(required)]
    for part in ("properties", "$defs"):
        for name, schema in old.get(part, {}).items():
            if name in new.get(part, {}):
                _compare(f"{where}.{name}", schema, new[part][name], found)
            else:
                found.append(f"{where}.{name} was removed")
    if isinstance(old.get("items"), dict) and isinstance(new.get("items"), dict):
        _compare(f"{where}[]", old["items"], new["items"], found)
    if old.get("anyOf") is not None:
        gone = [choice for choice in old["anyOf"] if choice not in new.get("anyOf", [])]
        found += [f"{where}: no longer takes {choice}" for choice in gone]
