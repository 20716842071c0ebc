"""What is personal leaves the log nowhere: all texts of all types are declared, and what is declared personal is left out."""

import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from traceback import format_exception
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest
from fastapi.routing import APIRoute
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Struct, inspect
from pydantic import BaseModel

from infra import outbox
from infra.config import ConfigError, load
from infra.vendors import appsflyer
from pipelines.runtime.core import Batch, Core, Decider
from pipelines.runtime.failures import DeciderError
from schemas.ads import PutTracking
from schemas.balance import ACCOUNT
from schemas.log.base import Message, UserId
from schemas.log.codec import encode, wording
from schemas.log.dead_letters import DeadCause, DeadLetter, letter_of
from schemas.log.entity import DEFAULT_PARTITIONS, Flow, partition_of
from schemas.log.outward import keeps_all, line_of, outward, outward_key
from schemas.log.parking import Parked
from schemas.log.personal import Personal, blank, blank_of, personal_of, undeclared
from schemas.log.topics import DEAD_LETTERS, ENTITIES, SUBSCRIPTIONS, hears, topics
from schemas.outbox import OUTBOX, Effect, EffectDue
from schemas.user import is_contact, is_user_id
from serving.parts import parts
from tests.golden import golden_lines
from tests.whole import say, unsaid
from tests.worst import kind_of, message_of

T = datetime(2030, 1, 1, tzinfo=UTC)
TYPES: list[type[Struct]] = sorted(
    {type_ for topic in topics() for type_ in topic.messages} | {Parked}, key=lambda t: t.__name__
)
PLACES: list[tuple[str, Any]] = [(topic.name, type_) for topic in topics() for type_ in topic.messages if personal_of(type_)]
INPUTS = [topic.name for topic in topics() if topic.name.endswith(".inbox") or topic is DEAD_LETTERS]
MARK = "zq7mark"
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['Moz{illa "', '"}}', "},{", "\\", "\u2028"]
)


def marked(of: inspect.Type, value: Any, text: str, personal: bool = False) -> Any:
    """The value of a type, as plain JSON, with the text wherever it is personal."""
    match of:
        case inspect.Metadata():
            own = (of.extra or {}).get("personal")
            return marked(of.type, value, text, personal if own is None else own is not Personal.NO)
        case inspect.StructType():
            found = dict(value or {})
            for field in of.fields:
                made = marked(field.type, found.get(field.encode_name), text)
                if made is not None or field.encode_name in found:
                    found[field.encode_name] = made
            return found if value is not None or found.keys() >= {f.encode_name for f in of.fields if f.required} else None
        case inspect.VarTupleType():
            items = value or ([None] if marked(of.item_type, None, text, personal) is not None else [])
            return [marked(of.item_type, item, text, personal) for item in items] if value is not None or items else None
        case inspect.UnionType():
            structs = [part for part in of.types if isinstance(part, inspect.StructType)]
            return marked(structs[0], value, text) if len(structs) == 1 and value is not None else value
        case inspect.StrType() if personal:
            return text[: of.max_length]
        case inspect.BytesType() if personal:
            return text
    return value


def test_every_text_of_every_type_is_declared() -> None:
    say([line for entity in ENTITIES for line in unsaid(entity)])
    for type_ in TYPES:
        assert not undeclared(type_), type_.__name__
        blank_of(type_)


def test_a_text_that_nobody_declared_is_found_wherever_it_stands_and_does_not_leave() -> None:
    class Inner(Struct):
        word: str = "inner"

    class Outer(Struct):
        own: str
        plain: msgspec.Raw | None = None
        kept: "dict[str, int]" = {}
        inner: Inner | None = None
        many: tuple[Inner, ...] = ()

    assert set(undeclared(Outer)) == {"own", "plain", "kept{}", "inner.word", "many[].word"}
    with pytest.raises(TypeError, match="keys of a table"):
        blank_of(Outer)

    class Without(Struct):
        own: str
        inner: Inner | None = None
        many: tuple[Inner, ...] = ()

    assert blank(Without("a", Inner(), (Inner(), Inner()))) == Without("", Inner(""), (Inner(""), Inner("")))


@given(place=st.sampled_from(PLACES), seed=st.integers(0, 10_000), before=AROUND, behind=AROUND)
def test_what_is_personal_leaves_no_topic(place: tuple[str, Any], seed: int, before: str, behind: str) -> None:
    topic, type_ = place
    text = f"{before}{MARK}{behind}"
    if type_ is DeadLetter:
        record: Any = letter_of(("gift.inbox", 1), (7, text.encode(), text.encode()), DeadCause.INVALID, text, "SendGift")
    else:
        made = marked(kind_of(type_), msgspec.to_builtins(message_of(type_, random.Random(seed))), text)
        record = msgspec.convert(made, type_)
    seen = outward(topic, encode(record))
    assume(MARK in str(msgspec.to_builtins(record)) or type_ is DeadLetter)
    assert seen is not None
    assert MARK.encode() not in seen
    assert MARK not in line_of(topic, encode(record))
    # It is a record still, with all else that it had: the next reader takes it.
    assert msgspec.json.decode(seen, type=type_) == blank(record)


@given(topic=st.sampled_from(INPUTS), before=AROUND, behind=AROUND, cut=st.integers(0, 60))
def test_what_cannot_be_read_leaves_its_size_and_digest(topic: str, before: str, behind: str, cut: int) -> None:
    text = f"{before}{MARK}{behind}"
    known = next(one for one in topics() if one.name == topic).messages[0].__name__
    whole = json.dumps({"type": known, "id": "x", "at": "yesterday", "user": text, "email": text}).encode()
    strange = json.dumps({"type": "Strange", "email": text}).encode()
    for value in (whole, strange, text.encode(), whole[: len(whole) - cut], b"\xff" + text.encode(), f"[{text!r}]".encode()):
        seen = json.loads(outward(topic, value) or b"")
        assert (seen.keys(), seen["size"]) == ({"type", "size", "sha256"}, len(value))
        assert outward_key(text.encode(), outward(topic, value)) == b""
    assert outward(topic, None) is None
    assert MARK.encode() not in (outward(f"webhooks.{topic}", whole) or b"")


def test_fields_that_a_type_does_not_have_do_not_leave_an_inbox() -> None:
    beat = b'{"type":"Beat","id":"b","at":"2030-01-01T00:00:00Z","user":"ann","session":"s"}'
    assert outward("user.inbox", beat) == beat
    assert outward("user.inbox", beat[:-1] + b',"email":"ann@example.com"}') == beat


@pytest.mark.parametrize("agent", ["Moz{illa", '{"', "}", "Mozilla/5.0 (ünï; \U0001f600)", "\\u007b", "a\x00b"])
def test_a_browsers_name_opens_nothing(agent: str) -> None:
    (line,) = [line for line in golden_lines() if line.startswith('{"type":"EffectDue"') and '"identity"' in line][:1]
    due = msgspec.json.decode(line, type=EffectDue)
    assert due.postback is not None
    identity = msgspec.structs.replace(due.postback.identity, user_agent=agent, ip="203.0.113.7")
    told = msgspec.structs.replace(due, postback=msgspec.structs.replace(due.postback, identity=identity))
    seen = json.loads(outward(OUTBOX.events, encode(told)) or b"")
    assert seen["postback"].get("identity", {}).keys() <= {"tracking_allowed"}
    assert (seen["effect"], seen["postback"]["event"]) == (due.effect, due.postback.event)
    tracking = PutTracking(id="t", at=T, user=UserId("ann"), user_agent=agent, tracking_allowed=True)
    assert json.loads(outward("attribution.inbox", encode(tracking)) or b"").keys() == {
        "type", "id", "at", "user", "tracking_allowed",
    }  # fmt: skip


@pytest.mark.parametrize("line", golden_lines())
def test_a_record_without_anything_personal_leaves_as_it_stands(line: str) -> None:
    name = json.loads(line)["type"]
    for topic in topics():
        for type_ in topic.messages:
            if type_.__name__ == name and not personal_of(type_):
                stands = encode(msgspec.json.decode(line, type=type_))
                assert outward(topic.name, stands) == stands


def test_what_moves_coins_has_nothing_personal_and_is_replayed_for_good() -> None:
    lossy = {entity.name for entity in ENTITIES if not keeps_all((*hears(entity), *entity.facts))}
    keeps_words = {"attribution", "chat_evidence", "chat_message", "clip", "install", "member", "migration_row"}
    keeps_words |= {"notification", "outbox", "payee", "private_profile", "profile"}
    assert lossy == {*keeps_words, "timetable", "user"}
    assert not any(entity.flow is Flow.MONEY for entity in ENTITIES if entity.name in lossy)


def test_nobody_is_shown_what_is_personal_to_another_on_a_feed() -> None:
    for shown in (one for one in SUBSCRIPTIONS if one.topic == "feed"):
        assert {leaf.path for leaf in personal_of(shown.fact)} <= set(shown.hides), shown.fact.__name__


def test_an_operator_sees_a_vendors_last_words_and_nothing_else_that_is_personal() -> None:
    owed = next(json.loads(line) for line in golden_lines() if line.startswith('{"type":"OweEffect"') and '"identity"' in line)
    made = marked(kind_of(Effect), owed | {"status": "refused"}, MARK)
    effect = msgspec.convert(made | {"detail": "HTTP 400: no such app"}, Effect)
    assert MARK in str(effect)
    shown = str(outbox.shown(effect))
    assert (MARK in shown, "no such app" in shown, "identity" in shown) == (False, True, False)


# --- words ------------------------------------------------------------------------------------------------------------------


def test_the_words_of_a_failure_do_not_repeat_a_record() -> None:
    for type_ in (type_ for topic in topics() for type_ in topic.messages if issubclass(type_, Message)):
        for body in ({"type": MARK}, dict.fromkeys(type_.__struct_fields__, MARK) | {"type": type_.__name__}):
            with pytest.raises(msgspec.ValidationError) as raised:
                msgspec.json.decode(json.dumps(body).encode(), type=type_)
            assert MARK not in wording(raised.value)
    for enum in (DeadCause, Personal):
        with pytest.raises(msgspec.ValidationError) as raised:
            msgspec.json.decode(json.dumps(f"it's '{MARK}'").encode(), type=enum)
        assert MARK not in wording(raised.value)


def test_a_decider_that_fails_is_told_by_its_place_and_not_by_its_words() -> None:
    def fails(state: Any, message: Any) -> Any:
        raise KeyError(MARK)

    core = Core([Decider(ACCOUNT, fails)])
    (line,) = [line for line in golden_lines() if line.startswith('{"type":"OpenAccount"')][:1]
    key = json.loads(line)["account"].encode()
    lane = core.open(ACCOUNT.inbox, partition_of(key, DEFAULT_PARTITIONS))
    lane.begin()
    batch = Batch(core)
    with pytest.raises(DeciderError, match=r"KeyError in test_personal\.py:\d+") as raised:
        batch.take(lane, 0, key, line.encode())
    assert MARK not in "".join(format_exception(raised.value)).replace("KeyError(MARK)", "")


def test_a_secret_setting_that_cannot_be_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as raised:
        load(clip_secret=[MARK], partitions="many")
    assert MARK not in str(raised.value)
    assert "'many'" in str(raised.value)


# --- names by others --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ours", "contact"),
    [
        ("ann", True, False), ("kX3bQ9ZrT1YpL0aVwS8dUeFgHjK2", True, False), ("1415211453000-6513894", True, False),
        ("user-1001", True, False), ("42", True, False), ("123456789", True, False), ("жанна", True, False),
        ("01a2093f-d9c7-72e7-b010-298e5a6f94b3", True, False), ("", False, False), ("a/b", False, False), ("a b", False, False),
        ("x" * 129, False, False), ("ann@example.com", False, True), ("@ann", False, True), ("жанна@пример.рф", False, True),
        ("+4915112345678", False, True), ("004915112345678", False, True), ("(202) 555-0123", False, True),
        ("2025550123", False, True), ("+49 151 1234 5678", False, True),
    ],
)  # fmt: skip
def test_what_is_an_id_of_a_user_and_what_reaches_a_person(text: str, ours: bool, contact: bool) -> None:
    assert (is_user_id(text), is_contact(text)) == (ours, contact)


@given(st.emails() | st.from_regex(r"\A\+[0-9]{10,15}\Z"))
def test_no_address_is_an_id(text: str) -> None:
    assert (is_contact(text), is_user_id(text)) == (True, False)


PUSH = {"appsflyer_id": "1415211453000-6513894", "event_name": "af_purchase", "event_time": "2026-11-24 04:00:00.000"}


@pytest.mark.parametrize(
    ("customer", "user", "why"),
    [
        ("ann", "ann", ""),
        (None, "", ""),
        ("ann@example.com", "", "contact"),
        ("+4915112345678", "", "contact"),
        ("a/b", "", "foreign"),
    ],
)
def test_a_push_counts_for_a_user_only_by_an_id_of_ours(customer: str | None, user: str, why: str) -> None:
    found = appsflyer.read_push(PUSH | {"customer_user_id": customer}, datetime(2026, 11, 24, 5, tzinfo=UTC))
    assert (found.user, found.details.unattributed) == (user, why)


def test_of_a_push_only_declared_codes_are_kept() -> None:
    body = PUSH | {
        "os_version": "17.4.1", "language": "de-DE", "device_model": "ann@example.com", "ip": MARK, "idfa": MARK,
        "advertising_id": MARK, "customer_user_id": f"{MARK}@example.com", "user_agent": MARK, "city": MARK,
        "event_value": json.dumps({"af_revenue": 4.99, "af_currency": "EUR", "email": MARK, "af_content_id": f"+49{'1' * 10}"}),
    }  # fmt: skip
    found = appsflyer.read_push(body, datetime(2026, 11, 24, 5, tzinfo=UTC))
    assert msgspec.to_builtins(found.details) == {
        "os_version": "17.4.1", "language": "de-DE", "revenue": "4.99", "currency": "EUR", "unattributed": "contact",
    }  # fmt: skip
    assert MARK not in str(found)
    with pytest.raises(appsflyer.PushError):
        appsflyer.read_push(PUSH | {"appsflyer_id": "ann@example.com"}, datetime(2026, 11, 24, 5, tzinfo=UTC))


# --- answers ----------------------------------------------------------------------------------------------------------------

# Routes whose answers have a field of a name that is personal somewhere in the log, and why whoever asks may see it.
CATALOGUE, PUBLIC, OWN = "a thing's name, by staff", "what its owner shows to everybody", "the caller's own"
TALK = "what was said to the caller, or by the caller"
ANSWERED = {
    "GET /v1/admin/questions": "a title is staff's word for a question",
    "PUT /v1/admin/questions/{question}": "likewise",
    "GET /v1/admin/outreach/{campaign}": "what staff writes to many, for who may see campaigns",
    "POST /v1/admin/queries": "a column's name; the warehouse has nothing personal",
    "GET /v1/admin/cohorts": CATALOGUE, "GET /v1/admin/tariffs": CATALOGUE, "PUT /v1/admin/tariffs/{tariff}": CATALOGUE,
    "GET /v1/products": CATALOGUE, "GET /v1/admin/products/{product}": CATALOGUE,
    "PUT /v1/admin/products/{product}": CATALOGUE,
    "GET /v1/gifts": CATALOGUE, "PUT /v1/admin/gifts/{item}": CATALOGUE,
    "GET /v1/admin/tariffs/{tariff}/versions": CATALOGUE, "POST /v1/admin/gallery/{role}/preview": PUBLIC,
    "GET /v1/gallery": PUBLIC, "GET /v1/profiles/{user}": PUBLIC, "GET /v1/clips": PUBLIC,
    "GET /v1/subscriptions": "what was bought at a store, and no phone at OneSignal",
    "GET /v1/admin/accounts/{user}/subscriptions": "likewise",
    "PUT /v1/profile": OWN, "PUT /v1/profile/private": OWN, "GET /v1/profile/private": OWN, "PUT /v1/clips/{clip}": OWN,
    "GET /v1/admin/profiles/{user}/private": "for staff, with a reason that is kept",
    "POST /v1/admin/chats/reports/{report}/read": "for staff, with a reason that is kept",
    "GET /v1/admin/insight/settings": "the platform's settings are no person's, and its secrets are not among them",
    "GET /v1/admin/outbox/effect": "a vendor's last words about one effect, for staff, and in the audit",
    "GET /v1/chats": TALK, "GET /v1/chats/{user}": TALK, "GET /v1/chats/{user}/messages/{message}": TALK,
    "POST /v1/calls/{call}/credentials": OWN,
    "POST /v1/clips/{clip}/plays": "the film that the caller pays for", "GET /v1/calls/{call}": "the caller's film",
    "POST /v1/calls": "empty but for films", "POST /v1/calls/{call}/accept": "empty but for films",
    "GET /v1/notifications": OWN, "GET /v1/admin/notifications/{user}/{notification}": "phones, by what stands for their names",
    "GET /v1/payouts/destination": OWN, "PUT /v1/payouts/destination": OWN,
    "POST /v1/calls/{call}/decline": "empty but for films", "POST /v1/calls/{call}/hang-up": "empty but for films",
}  # fmt: skip


def _fields(model: Any, seen: set[Any]) -> Iterator[str]:
    if get_origin(model) in (list, dict, tuple, Union, UnionType) or hasattr(model, "__metadata__"):
        for part in get_args(model):
            yield from _fields(part, seen)
    elif isinstance(model, type) and issubclass(model, BaseModel) and model not in seen:
        seen.add(model)
        for name, field in model.model_fields.items():
            yield f"{model.__name__}.{name}"
            yield from _fields(field.annotation, seen)


def test_an_answer_tells_nobody_what_is_personal_to_another() -> None:
    types = [type_ for type_ in TYPES if type_ not in (DeadLetter, Parked)]
    names = {re.sub(r"\W", "", leaf.path.rpartition(".")[2]) for type_ in types for leaf in personal_of(type_)}
    routes = [route for part in parts() for route in part.router.routes if isinstance(route, APIRoute)]
    assert {
        f"{method} {route.path}" for route in routes for method in route.methods or ()
        if any(field.partition(".")[2] in names for field in _fields(route.response_model, set()))
    } == set(ANSWERED)  # fmt: skip
