"""The map of the log is whole: whoever forgets a part of a domain is told which, and where it belongs. No broker is needed."""

import importlib
import inspect
import json
import pkgutil
from functools import cache
from types import ModuleType
from typing import cast

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

import serving
from infra.config import load
from pipelines.flows.deciders import MapError, decider_of, faults, functions
from schemas.balance import ACCOUNT, Account, AccountInbox
from schemas.gift import GIFT, GIFT_ITEM
from schemas.log.base import Message, Wake
from schemas.log.dead_letters import DeadLetter, LetterSettled
from schemas.log.entity import Entity
from schemas.log.parking import Release
from schemas.log.topics import DOMAINS, ENTITIES, PULSE_MINUTES, entities_of, hears, routes
from schemas.pulse import PulseWindow
from schemas.tables import PROJECTIONS, Projection, ddl
from serving.app import build
from serving.parts import parts
from tests.golden import golden_lines
from tests.sources import ROOT, files, imports, name_of, tree_of
from tests.whole import made, say, ungolden, unkeyed, unmade, unpaired, unstored

NAMES = [entity.name for entity in ENTITIES]
WITH_ENTITIES = [domain for domain in DOMAINS if entities_of(domain)]


# Commands that nobody sends, and why they are there.
# Commands that nobody makes, and why.
UNSENT: dict[str, str] = {}


@cache
def made_in(*folders: str) -> frozenset[str]:
    return made(tree_of(file) for folder in folders for file in files(folder))


def test_every_name_on_the_log_is_one_things() -> None:
    assert len(set(NAMES)) == len(NAMES), "two entities have one name"
    owners: dict[type[Message], str] = {}
    for entity in ENTITIES:
        for type_ in (*entity.commands, *entity.facts):
            assert owners.setdefault(type_, entity.name) == entity.name, f"{type_.__name__} is declared by two entities"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_entity_has_its_decider(entity: Entity) -> None:
    say(faults(entity, decider_of(entity).decide))


def test_every_decider_has_its_entity() -> None:
    strays = functions().keys() - set(NAMES)
    assert not strays, f"no entity in schemas/*.py is called {strays}: declare it there, or rename the function"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_fact_that_is_heard_or_shown_is_told_by_somebody(entity: Entity) -> None:
    told = {fact for one in ENTITIES for fact in one.facts}
    for fact in (*(heard.fact for heard in entity.hears), *(shown.fact for shown in entity.shown)):
        assert fact in told, f"{entity.name} names {fact.__name__}, which is among no entity's facts"
    for shown in entity.shown:
        assert shown.fact in entity.facts, f"{entity.name} shows {shown.fact.__name__}, which is another entity's fact"
    for heard in entity.hears:
        assert heard.why, f"say why {entity.name} hears {heard.fact.__name__}"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_message_is_made_by_somebody(entity: Entity) -> None:
    say(unmade(entity, made_in("pipelines", "serving", "infra") | UNSENT.keys(), made_in("pipelines")))


def test_what_is_said_to_be_sent_by_nobody_is_sent_by_nobody() -> None:
    say([f"{name} is made: take it out of UNSENT" for name in UNSENT.keys() & made_in("pipelines", "serving", "infra")])


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_message_has_the_field_that_it_is_keyed_by(entity: Entity) -> None:
    say(unkeyed(entity))


@pytest.mark.parametrize("domain", WITH_ENTITIES, ids=lambda domain: domain.__name__)
def test_every_domain_is_served(domain: ModuleType) -> None:
    readers = [name_of(file) for folder in ("serving", "infra") for file in files(folder) if domain.__name__ in imports(file)]
    assert readers, f"no router asks {domain.__name__} for anything: write serving/{domain.__name__.split('.')[-1]}.py"


@pytest.mark.parametrize("domain", WITH_ENTITIES, ids=lambda domain: domain.__name__)
def test_every_domain_has_its_tests(domain: ModuleType) -> None:
    file = ROOT / "tests" / f"test_{domain.__name__.split('.')[-1]}.py"
    assert file.exists(), f"write {name_of(file)}: a row for each refusal, and the laws of {domain.__name__}"


def test_every_router_is_a_part_of_the_application() -> None:
    app, _, _ = build(load(brokers="127.0.0.1:1"))
    served = set(app.openapi()["paths"])
    for module in pkgutil.iter_modules(serving.__path__):
        names = vars(importlib.import_module(f"serving.{module.name}"))
        for name, router in names.items():
            if isinstance(router, APIRouter):
                assert name == "router", f"nobody looks for serving/{module.name}.py's {name}: call it router"
                for route in cast(list[APIRoute], router.routes):
                    assert route.path in served, f"{route.path} of serving/{module.name}.py is not served"


def test_every_function_that_answers_requests_is_a_route() -> None:
    say([
        f"{part.name}.{name} is no route: write @router.get(...) or the like over it, or call it _{name}"
        for part in parts()
        for name, value in vars(importlib.import_module(part.name)).items()
        if inspect.iscoroutinefunction(value) and value.__module__ == part.name and name[0] != "_"
        and value not in [route.endpoint for route in cast(list[APIRoute], part.router.routes)]
    ])  # fmt: skip


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_entity_is_stored(entity: Entity) -> None:
    """What a person's page needs of many entities is nobody's own table."""
    say(unstored(entity, {one.topics[0] for one in PROJECTIONS if len(one.topics) == 1}))


def test_every_table_is_made_and_filled() -> None:
    say(unpaired([file.name for file in (ROOT / "schemas" / "tables").glob("*.sql")]))


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: one.table)
def test_every_table_reads_topics_and_says_why_it_is_ordered_so(projection: Projection) -> None:
    name, topics = projection.table, [PULSE_MINUTES.name, *(entity.events for entity in ENTITIES)]
    strays = set(projection.topics) - set(topics)
    assert not strays, f"{name}.select.sql reads {strays}: no entity has that name"
    assert "-- ORDER BY:" in ddl(name), f"add a comment `-- ORDER BY: why` to schemas/tables/{name}.sql"


@pytest.mark.parametrize("domain", WITH_ENTITIES, ids=lambda domain: domain.__name__)
def test_every_message_has_a_golden_line(domain: ModuleType) -> None:
    written = {json.loads(line)["type"] for line in golden_lines()}
    stem = domain.__name__.split(".")[-1]
    say([line for entity in entities_of(domain) for line in ungolden(entity, stem, written)])


def test_every_golden_line_is_of_a_message_of_the_log() -> None:
    others: tuple[type[Message], ...] = (Wake, Release, DeadLetter, LetterSettled, PulseWindow)
    known = {type_.__name__ for type_ in (*routes(), *others)}
    strays = {json.loads(line)["type"] for line in golden_lines()} - known
    assert not strays, f"the log carries no {strays}; what was written once must stay readable"


# --- what the checks say of a domain that is not whole ------------------------------------------------------------------------


def test_an_entity_without_a_decider_is_named() -> None:
    lost = Entity("lost", key="lost", flow=ACCOUNT.flow, state=Account)
    with pytest.raises(MapError, match="nobody decides for lost: write the function decide_lost in a module of pipelines"):
        decider_of(lost)


def test_a_decider_that_takes_too_little_or_too_much_is_named() -> None:
    def decide_account(account: Account | None, message: AccountInbox) -> None: ...

    assert faults(ACCOUNT, decide_account) == []
    (too_much,) = faults(GIFT_ITEM, decider_of(GIFT_ITEM).decide) or [""]
    assert not too_much
    lines = faults(GIFT, decider_of(GIFT_ITEM).decide)
    takes, lacks = "decide_gift_item takes PutGiftItem, which gift.inbox never hears", "decide_gift_item does not take SendGift"
    assert f"pipelines.gift.{takes}: add it to the entity's `commands`, or take it out of the hint" in lines
    assert f"pipelines.gift.{lacks}, which gift.inbox hears: decide it, and add it to the hint" in lines


def test_a_decider_without_the_broadcast_state_is_named() -> None:
    member = next(entity for entity in ENTITIES if entity.broadcast)
    (line,) = faults(member, decider_of(ACCOUNT).decide)
    assert line.endswith("has 2 parameters, not 3: state, message, common")


def test_an_inbox_hears_a_type_once() -> None:
    for entity in ENTITIES:
        assert len(set(hears(entity))) == len(hears(entity)), f"{entity.inbox} hears a type twice"
