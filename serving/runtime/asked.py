"""What was asked, as the audit keeps it: numbers, ids, codes and times as they are, every other text as its SHA-256.

A body's texts are declared by its model: one of an enumeration, a time, or of a pattern that only ids have. What is of no such
pattern, or stands where the model knows nothing, may be about a person, and only says which text it was. Ids in a path or a
query have no model here, and are told by their form.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from math import isfinite
from typing import Any, Final

from pydantic import BaseModel

from schemas.balance_fields import ACCOUNT_ID_PATTERN, PARTY_PATTERN
from schemas.mission_control import MAX_ASKED, MAX_SUBJECTS
from schemas.settings import VERSION_PATTERN
from schemas.user import USER_ID_PATTERN, is_contact, is_user_id
from serving.runtime.fields import ID_PATTERN

Json = dict[str, Any]

USERS: Final = frozenset({USER_ID_PATTERN})
ACCOUNTS: Final = frozenset({ACCOUNT_ID_PATTERN, PARTY_PATTERN})
PLAIN_PATTERNS: Final = USERS | ACCOUNTS | {ID_PATTERN, VERSION_PATTERN}
TIME: Final = re.compile(r"[0-9TZtz:.+ -]{1,40}")
# Names of a query's or a path's own.
PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.:+-]{1,64}")
DEPTH: Final = 12
# A longer body is not looked into: that would hold up whoever else wants to be answered.
MAX_BODY: Final = 16_384


def hashed(text: str) -> str:
    """What is kept of a text that may be about a person."""
    return f"sha256:{sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def plain(text: str) -> str:
    """A word of a path or a query: itself if it has the form of an id, else its hash."""
    return text if PLAIN_NAME.fullmatch(text) and not is_contact(text) else hashed(text)


def _bytes(body: bytes) -> Json:
    return {"bytes": len(body), "sha256": sha256(body).hexdigest()}


class Asked:
    """What is kept of a request: `text`, and the users that it names, `subjects`, those of the path first."""

    def __init__(self, path: Mapping[str, str], query: Mapping[str, str], body: bytes, model: type[BaseModel] | None) -> None:
        self._users: dict[str, None] = {}
        for name, value in (*path.items(), *query.items()):
            if name == "user":
                self._name(value)
        self.thing = "/".join(plain(value) for name, value in path.items() if name != "user")[:256]
        kept: Json = {}
        if asked := {plain(name): plain(value) for name, value in query.items() if name not in ("user", "reason")}:
            kept["query"] = asked
        if len(body) > MAX_BODY:
            kept["body"] = _bytes(body)
        elif body:
            kept["body"] = self._body(body, model)
        self.text = json.dumps(kept, separators=(",", ":")) if kept else ""
        if len(self.text) > MAX_ASKED:
            self.text = json.dumps({"body": _bytes(body)})
        self.subjects = tuple(self._users)[:MAX_SUBJECTS]

    def _name(self, user: str) -> None:
        if is_user_id(user) and user.isprintable():
            self._users.setdefault(user)

    def _body(self, body: bytes, model: type[BaseModel] | None) -> Any:
        schema = schema_of(model) if model else {}
        try:
            named = schema.get("$defs", {})
            return self._kept(json.loads(body), _kinds([schema], named), named, DEPTH)
        except (ValueError, RecursionError):  # no JSON, which its route will say
            return _bytes(body)

    def _kept(self, value: Any, kinds: list[Json], named: Json, depth: int) -> Any:
        """The value, of which the schemas `kinds` say what it may be."""
        match value:
            case str():
                return self._text(value, [kind for kind in kinds if kind.get("type") == "string" or "enum" in kind])
            case list() if depth:
                items = _kinds([kind["items"] for kind in kinds if "items" in kind], named)
                return [self._kept(one, items, named, depth - 1) for one in value]
            case dict() if depth:
                return {_name_of(kinds, name): self._kept(one, _kinds(_of_field(kinds, name), named), named, depth - 1)
                        for name, one in value.items()}  # fmt: skip
        known = value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value))
        return value if known else hashed(json.dumps(value))

    def _text(self, text: str, kinds: list[Json]) -> str:
        if not kinds or not all(_is_plain(kind, text) for kind in kinds) or is_contact(text.partition("/")[0].lstrip("@")):
            return hashed(text)
        patterns = {kind.get("pattern") for kind in kinds}
        if patterns & USERS:
            self._name(text)
        elif patterns & ACCOUNTS:
            self._name(text.rpartition("/")[0])
        return text


def _is_plain(kind: Json, text: str) -> bool:
    if "enum" in kind or "const" in kind:
        return text in kind.get("enum", (kind.get("const"),))
    pattern = kind.get("pattern")
    if pattern in PLAIN_PATTERNS:
        return bool(re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text))
    return kind.get("format") == "date-time" and bool(TIME.fullmatch(text))


def _name_of(kinds: list[Json], name: str) -> str:
    """A field's name, if the schemas have it; a key of a table, if it has the form of one."""
    if any(name in kind.get("properties", ()) for kind in kinds):
        return name
    return plain(name) if any(isinstance(kind.get("additionalProperties"), dict) for kind in kinds) else hashed(name)


def _of_field(kinds: list[Json], name: str) -> list[Json]:
    """What the schemas of an object say of one of its fields."""
    found = []
    for kind in kinds:
        if name in kind.get("properties", ()):
            found.append(kind["properties"][name])
        elif isinstance(more := kind.get("additionalProperties"), dict):
            found.append(more)
    return found


def _kinds(schemas: list[Json], named: Json) -> list[Json]:
    """The schemas, or those that they are a choice of."""
    return [kind for schema in schemas for kind in _kinds_of(schema, named, DEPTH)]


def _kinds_of(schema: Json, named: Json, depth: int) -> Iterator[Json]:
    if not depth:
        return
    if "$ref" in schema:
        yield from _kinds_of(named.get(schema["$ref"].rpartition("/")[-1], {}), named, depth - 1)
    choices = [one for way in ("anyOf", "oneOf", "allOf") for one in schema.get(way, ())]
    for one in choices:
        yield from _kinds_of(one, named, depth - 1)
    if not choices and "$ref" not in schema:
        yield schema


@cache
def schema_of(model: type[BaseModel]) -> Json:
    """A body's schema."""
    return model.model_json_schema()
