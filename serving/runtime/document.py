"""The OpenAPI document, such that generators make clients of it without a warning, with names that a person would choose.

It is OpenAPI 3.0.3, the newest version that the generators for Dart, Kotlin and Swift know in full; FastAPI writes 3.1, and
`as_3_0` says the same in the older words. An operation's id is its function's name in camel case, so those names are unique
across all parts. The feed is no route of FastAPI's and is described here, with a schema for each event that it brings.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from schemas.log.topics import FEED
from schemas.mission_control import MAX_WHY
from serving.runtime.problems import ProblemBody, responses
from serving.runtime.staff import REASON, May

Json = dict[str, Any]
VERSION: Final = "3.0.3"
IN_COMPONENTS: Final = "#/components/schemas/{name}"
INT32_MAX: Final = 2**31 - 1
DESCRIPTION: Final = (
    "The back end of a live video-chat app. Who asks is told by a Firebase ID token. Errors are problem+json (RFC 9457) with a "
    "stable `code`. What Olo shows a phone comes by `GET /v1/feed`, as server-sent events."
)
TAGS: Final = {
    "agencies": "Agencies, their streamers and their share of what these earn",
    "attribution": "Campaigns: tracking consent, AppsFlyer's pushes, exports",
    "balance": "Balances and entries",
    "billing": "Tariffs and receipts",
    "blocks": "Blocks, their rules and reviews",
    "calls": "Direct calls, roulette and clips",
    "chats": "Chats between two users",
    "cohorts": "Cohorts, groups and tags of users",
    "erasure": "What is known of oneself, and to be forgotten",
    "favorites": "Favourites and followers",
    "feed": "What a phone is shown, live",
    "gallery": "Whom a user sees",
    "gifts": "Gifts and their catalogue",
    "insight": "What happens and happened, for staff, and what the platform runs with",
    "log": "Records, what came of them, and those that nobody could decide",
    "migration": "Moving over from a back end on Hasura: its rows, by rules, as commands",
    "notifications": "What a person is told, in the app and by pushes",
    "outbox": "What is owed to vendors, and what became of it",
    "outreach": "Campaigns to the members of a cohort",
    "payments": "Products, and coins that were bought at a store",
    "payouts": "What streamers and agencies earned, as money: requested, approved by a second person, paid by a bank",
    "postbacks": "What ad networks are told",
    "profiles": "Profiles, public and private",
    "questions": "Questions in SQL to the warehouse",
    "rooms": "Credentials of a call's picture and sound",
    "settings": "Global settings of the app",
    "staff": "What staff may do, and what it did",
    "timetable": "Jobs by the clock",
    "transfers": "Grants and transfers of coins",
    "users": "Users, sessions and bans",
}
STREAM: Final[Json] = {"text/event-stream": {"schema": {"type": "string"}}}


class FeedReady(msgspec.Struct):
    """The event `ready`: everything up to `cursor` has been shown, live events follow."""

    cursor: str


class FeedGap(msgspec.Struct):
    """The event `gap`: the log does not reach back to the cursor; read balances and calls anew."""

    code: str


class Typing(msgspec.Struct):
    """The event `Typing`: `user` is writing to you now. It has no `id`, and nobody keeps it."""

    user: str


def document_of(app: FastAPI) -> Json:
    """The whole document. Errors: ValueError, where two different schemas have one name."""
    document = get_openapi(
        title=app.title, version=app.version, openapi_version=VERSION, routes=app.routes, description=DESCRIPTION,
        tags=[{"name": name, "description": what} for name, what in TAGS.items()], servers=[{"url": "/"}],
    )  # fmt: skip
    document["paths"]["/v1/feed"] = _feed()
    for methods in document["paths"].values():
        for operation in methods.values():
            if gate := app.state.gates.get(operation["operationId"]):
                _of_staff(operation, gate)
    schemas = document["components"]["schemas"]
    for name, schema in _event_schemas().items():
        if name in schemas and sorted(schemas[name].get("enum", ())) != sorted(schema.get("enum", (name,))):
            raise ValueError(f"two schemas are called {name}")
        schemas.setdefault(name, schema)
    problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), "ProblemBody": problem}
    document["components"]["securitySchemes"] = {"Bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    document["security"] = [{"Bearer": []}]
    return as_3_0(document)  # type: ignore[no-any-return]


def _of_staff(operation: Json, gate: May) -> None:
    """What all of staff's operations have: a permission, a place for the reason, and what their gate answers."""
    operation["x-permission"] = gate.permission
    reason = {
        "name": REASON, "in": "header", "required": gate.reasoned, "description": "why; it is kept with your name",
        "schema": {"type": "string", "maxLength": MAX_WHY},
    }  # fmt: skip
    operation["parameters"] = [*operation.get("parameters", ()), reason]
    problems = {str(status): problem for status, problem in responses(401, 403, 422, 503).items()}
    operation["responses"] = dict(sorted((problems | operation["responses"]).items()))


def _event_schemas() -> dict[str, Json]:
    """What the feed brings, a schema for each name of an event. Its `type` is a text: an enumeration of one is a nuisance in
    Swift, and a union of all kinds one class with the fields of each in Dart and Kotlin; the event's name tells the kind."""
    _, found = msgspec.json.schema_components([*FEED.messages, FeedReady, FeedGap, Typing], ref_template=IN_COMPONENTS)
    for type_ in FEED.messages:
        found[type_.__name__]["properties"]["type"] = {"type": "string", "description": type_.__name__}
    return found


def _feed() -> Json:
    problems = {str(status): problem for status, problem in responses(400, 401, 403, 503).items()}
    text: Json = {"type": "string"}
    device: Json = {"type": "string", "maxLength": 64}
    return {
        "get": {
            "tags": ["feed"],
            "summary": "Follow Feed",
            "description": "Everything that the phone is to be shown, live (server-sent events). `id:` is the cursor, `event:` "
            "the message's type, `data:` its JSON, of the schema with that name. The event `ready` (`FeedReady`) says that the "
            "past has been told, `gap` (`FeedGap`) that a part of it is gone. Resume with `Last-Event-ID`, or with `cursor`.",
            "operationId": "followFeed",
            "parameters": [
                {"name": "Last-Event-ID", "in": "header", "required": False, "schema": text},
                {"name": "cursor", "in": "query", "required": False, "schema": text},
                {"name": "Olo-Device", "in": "header", "required": False, "schema": device},
                {"name": "device", "in": "query", "required": False, "schema": device},
            ],
            "responses": {"200": {"description": "A stream without an end", "content": STREAM}, **problems},
            "x-events": {
                **{type_.__name__: type_.__name__ for type_ in (*FEED.messages, Typing)},
                "ready": "FeedReady",
                "gap": "FeedGap",
            },
        }
    }


def as_3_0(node: Any) -> Any:
    """A part of an OpenAPI 3.1 document in the words of 3.0.3, without the titles that FastAPI makes of names."""
    if isinstance(node, list):
        return [as_3_0(one) for one in node]
    if not isinstance(node, dict):
        return node
    found: Json = {}
    for key, value in node.items():
        if key == "schema":
            found[key] = _schema(value)
        elif key == "schemas":
            found[key] = {name: _schema(one) for name, one in value.items()}
        else:
            found[key] = value if key in ("example", "examples") else as_3_0(value)
    return found


def _schema(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found: Json = {}
    for key, value in schema.items():
        found |= OLDER[key](value) if key in OLDER else {key: value}
    return _typed(_alone(found))


def _choice(key: str) -> Callable[[list[Json]], Json]:
    """A choice without null, which 3.0 says by `nullable`; what remains of a choice of one is that one."""

    def older(kinds: list[Json]) -> Json:
        others = [_schema(kind) for kind in kinds if kind != {"type": "null"}]
        nullable = {"nullable": True} if len(others) < len(kinds) else {}
        return (others[0] if len(others) == 1 else {key: others}) | nullable

    return older


def _alone(schema: Json) -> Json:
    """In 3.0 nothing may stand beside a reference."""
    if "$ref" not in schema or len(schema) == 1:
        return schema
    return {"allOf": [{"$ref": schema.pop("$ref")}], **schema}


def _typed(schema: Json) -> Json:
    """Coins and sequence numbers exceed 32 bits, which Kotlin and Java take for any whole number without a format. msgspec
    gives an enumeration no type, and a text that may be left out a default that is none of those it takes. 3.0 has no
    empty list of required fields."""
    if schema.get("type") == "integer" and schema.get("maximum", INT32_MAX + 1) > INT32_MAX:
        return schema | {"format": "int64"}
    if "type" not in schema and all(isinstance(value, str) for value in schema.get("enum", (0,))):
        return {"type": "string", **schema}
    if schema.get("required") == []:
        del schema["required"]
    if "pattern" in schema and not re.search(schema["pattern"], schema.get("default") or ""):
        schema.pop("default", None)
    return schema


def _whole(bound: float) -> float:
    return int(bound) if bound == int(bound) else bound


# A keyword of a schema in 3.1, and what says the same in 3.0. Tuples of ours are numbers of one kind.
OLDER: Final[dict[str, Callable[[Any], Json]]] = {
    "title": lambda _: {},
    "properties": lambda properties: {"properties": {name: _schema(one) for name, one in properties.items()}},
    "items": lambda item: {"items": _schema(item)},
    "additionalProperties": lambda item: {"additionalProperties": _schema(item)},
    "anyOf": _choice("anyOf"),
    "oneOf": _choice("oneOf"),
    "allOf": _choice("allOf"),
    "const": lambda value: {"enum": [value]},
    "examples": lambda values: {"example": values[0]},
    "minimum": lambda bound: {"minimum": _whole(bound)},
    "maximum": lambda bound: {"maximum": _whole(bound)},
    "exclusiveMinimum": lambda bound: {"minimum": _whole(bound), "exclusiveMinimum": True},
    "exclusiveMaximum": lambda bound: {"maximum": _whole(bound), "exclusiveMaximum": True},
    "prefixItems": lambda items: {"items": _schema(items[0])},
    "patternProperties": lambda kinds: {"additionalProperties": _schema(next(iter(kinds.values())))},
    "propertyNames": lambda _: {},
}
