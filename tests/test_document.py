"""What generators of clients need of the OpenAPI document: that it is valid, and names that a person would choose."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from schemas.log.topics import FEED
from serving.runtime.document import TAGS, as_3_0, document_of
from serving.runtime.problems import MEDIA_TYPE
from tests.front import Front

DOCUMENT: dict[str, Any] = json.loads(json.dumps(Front().app.openapi()))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
CAMEL = re.compile(r"[a-z]+([A-Z][a-z0-9]+)+")
PASCAL = re.compile(r"([A-Z][a-z0-9]+)+")
VERBS = {
    "GET": {"read", "list", "count", "follow", "export"},
    "DELETE": {"remove", "unblock", "unban", "close", "leave", "erase"},
    "PUT": {"put", "publish", "add", "block", "ban", "offer"},
    "POST": {
        "sign", "open", "beat", "place", "accept", "decline", "hang", "play", "join", "send", "grant", "transfer", "preview",
        "review", "add", "issue", "receive", "run", "pause", "resume", "acknowledge", "freeze", "unfreeze", "write", "ask",
        "give", "reject", "request", "approve", "settle", "export",
        "redrive", "drop", "backtest",
    },
}  # fmt: skip
# Words of Dart, Kotlin, Swift, Python and TypeScript that no model can be called, in the parameters of paths, too.
RESERVED = {
    "Any", "Case", "Class", "Default", "Enum", "Error", "False", "File", "Function", "In", "Is", "List", "Map", "None", "Null",
    "Object", "Of", "Operator", "Protocol", "Result", "Self", "Set", "String", "True", "Type", "Void",
}  # fmt: skip


def parts_of(node: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document, with the key that it stands under."""
    if isinstance(node, dict):
        yield key, node
        for name, part in node.items():
            yield from parts_of(part, name)
    elif isinstance(node, list):
        for part in node:
            yield from parts_of(part, key)


def test_the_document_is_valid_in_the_version_that_all_generators_know() -> None:
    assert DOCUMENT["openapi"] == "3.0.3"
    validate(DOCUMENT)


@pytest.mark.parametrize(("where", "operation"), OPERATIONS, ids=[where for where, _ in OPERATIONS])
def test_an_operation_has_a_name_a_tag_a_summary_and_its_problems(where: str, operation: dict[str, Any]) -> None:
    name, method = operation["operationId"], where.split()[0]
    assert CAMEL.fullmatch(name), f"{where}: name the function verb_noun, which makes verbNoun"
    verb = re.split("(?=[A-Z])", name)[0]
    assert verb in VERBS[method], f"{where}: {name} does not begin with what it does; is {verb!r} a verb for {method}?"
    assert [tag for tag in operation["tags"] if tag not in TAGS] == [], "describe the tag in TAGS"
    assert len(operation["tags"]) == 1
    assert operation["summary"]
    assert operation["description"]
    for status, answer in operation["responses"].items():
        media = list(answer.get("content", ()))
        if int(status) >= 400:
            assert media == [MEDIA_TYPE], f"{where} {status}: an error is a problem"
            assert answer["content"][MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/ProblemBody"}
        else:
            assert media or status == "204", f"{where} {status}: what comes is not told"
            assert all("schema" in answer["content"][one] for one in media)
    if "receive" not in name and where != "GET /v1/settings":
        assert "401" in operation["responses"]
        assert operation.get("security") is None, "who asks is told by the token"
    else:
        assert operation["security"] == []


def test_the_names_of_operations_are_unique() -> None:
    names = [operation["operationId"] for _, operation in OPERATIONS]
    assert sorted(set(names)) == sorted(names)


def test_the_names_of_models_are_words_without_a_module() -> None:
    assert [name for name in SCHEMAS if not PASCAL.fullmatch(name) or name in RESERVED] == []
    in_paths = {word for path in DOCUMENT["paths"] for word in re.findall(r"{(\w+)}", path)}
    asked = {one["name"] for _, operation in OPERATIONS for one in operation.get("parameters", ()) if one["in"] == "query"}
    assert [word for word in in_paths | asked if word.capitalize() in RESERVED] == [], (
        "Dart and Swift take it for a model's name"
    )


def test_nothing_is_left_for_a_generator_to_name() -> None:
    """An object within an object, or a choice, would get a name of the generator's own, such as `BlockRuleBody_role`."""
    for where, operation in OPERATIONS:
        assert not [one["name"] for one in operation.get("parameters", ()) if "enum" in one["schema"]], (
            f"{where}: make it a StrEnum"
        )
    for key, part in parts_of(DOCUMENT):
        assert not {"oneOf", "anyOf", "const", "prefixItems", "patternProperties"} & part.keys() or key == "properties", part
        if "properties" in part and key not in ("properties", *SCHEMAS):
            raise AssertionError(f"{key} has no name: {part}")
        assert "title" not in part or key == "properties" or not isinstance(part["title"], str) or part is DOCUMENT["info"]


def test_whole_numbers_have_room_for_coins() -> None:
    for key, part in parts_of(SCHEMAS):
        if part.get("type") == "integer":
            assert part.get("format") == "int64" or part["maximum"] < 2**31, f"{key}: Kotlin reads 32 bits"


def test_what_the_feed_brings_has_schemas_by_name() -> None:
    feed = DOCUMENT["paths"]["/v1/feed"]["get"]
    assert feed["responses"]["200"]["content"]["text/event-stream"]["schema"] == {"type": "string"}
    assert set(feed["x-events"]) == {*(type_.__name__ for type_ in FEED.messages), "ready", "gap", "Typing"}
    for event, schema in feed["x-events"].items():
        assert event in ("ready", "gap", "Typing") or SCHEMAS[schema]["properties"]["type"]["description"] == event
    assert DOCUMENT["paths"]["/v1/gallery/stream"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"]


def test_the_token_is_the_one_way_to_say_who_asks() -> None:
    assert DOCUMENT["components"]["securitySchemes"] == {"Bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    assert DOCUMENT["security"] == [{"Bearer": []}]
    assert {tag["name"] for tag in DOCUMENT["tags"]} == set(TAGS)


def test_two_schemas_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = {"BalanceAnswer": {"type": "object", "properties": {}}}
    monkeypatch.setattr("serving.runtime.document._event_schemas", lambda: twin)
    with pytest.raises(ValueError, match="two schemas are called BalanceAnswer"):
        document_of(Front().app)


OLDER = [
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
    ({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}, {"allOf": [{"$ref": "#/x"}], "nullable": True}),
    ({"anyOf": [{"type": "string"}, {"$ref": "#/x"}]}, {"anyOf": [{"type": "string"}, {"$ref": "#/x"}]}),
    ({"$ref": "#/x", "default": "a"}, {"allOf": [{"$ref": "#/x"}], "default": "a"}),
    ({"$ref": "#/x"}, {"$ref": "#/x"}),
    ({"const": "a", "type": "string"}, {"enum": ["a"], "type": "string"}),
    ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
    (
        {"type": "integer", "exclusiveMinimum": 0.0},
        {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "format": "int64"},
    ),
    ({"type": "integer", "maximum": 120.0}, {"type": "integer", "maximum": 120}),
    ({"type": "number", "minimum": 0.5}, {"type": "number", "minimum": 0.5}),
    ({"type": "string", "examples": ["a", "b"]}, {"type": "string", "example": "a"}),
    ({"type": "string", "pattern": "^a$", "default": ""}, {"type": "string", "pattern": "^a$"}),
    ({"type": "string", "pattern": "^a?$", "default": ""}, {"type": "string", "pattern": "^a?$", "default": ""}),
    (
        {"type": "array", "prefixItems": [{"type": "number"}] * 2, "minItems": 2, "maxItems": 2},
        {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
    ),
    (
        {"type": "object", "patternProperties": {"^a": {"type": "boolean"}}, "propertyNames": {"maxLength": 3}},
        {"type": "object", "additionalProperties": {"type": "boolean"}},
    ),
    (
        {
            "type": "object",
            "title": "A",
            "properties": {"title": {"type": "string", "title": "Title"}, "const": {"type": "null"}},
        },
        {"type": "object", "properties": {"title": {"type": "string"}, "const": {"type": "null"}}},
    ),
]


@pytest.mark.parametrize(("newer", "older"), OLDER)
def test_a_schema_says_the_same_in_the_words_of_3_0(newer: dict[str, Any], older: dict[str, Any]) -> None:
    assert as_3_0({"schemas": {"A": newer}}) == {"schemas": {"A": older}}
    assert as_3_0({"parameters": [{"name": "title", "schema": newer}]}) == {"parameters": [{"name": "title", "schema": older}]}


def test_examples_stay_as_they_are() -> None:
    example = {"title": "x", "const": 1, "schema": {"anyOf": [{"type": "null"}]}, "examples": [1]}
    assert as_3_0({"example": example, "examples": {"a": example}}) == {"example": example, "examples": {"a": example}}
