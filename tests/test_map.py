"""The map of the log is whole: whoever forgets a part of a domain is told which, and where it belongs. No broker is needed."""

import ast
import importlib
import json
import pkgutil
from functools import cache

import pytest

import serving
from infra.config import load
from pipelines.flows.deciders import MapError, decider_of, faults, functions
from schemas.balance import ACCOUNT, Account, AccountInbox
from schemas.gift import GIFT, GIFT_ITEM
from schemas.log.base import Message, Wake
from schemas.log.dead_letters import DeadLetter, LetterSettled
from schemas.log.entity import Entity
from schemas.log.parking import Release
from schemas.log.topics import DOMAINS, ENTITIES, entities_of, hears, routes
from schemas.tables import PROJECTIONS, TABLES, ddl
from serving.app import build
from tests.golden import golden_lines
from tests.sources import ROOT, files, imports, name_of, nodes_of

NAMES = [entity.name for entity in ENTITIES]
WITH_ENTITIES = [domain for domain in DOMAINS if entities_of(domain)]


@cache
def made() -> frozenset[str]:
    """The names of everything that is called, or handed on to be called, in the code that runs the platform."""
    nodes = (node for folder in ("pipelines", "serving", "infra") for file in files(folder) for node in nodes_of(file))
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))


def test_every_name_on_the_log_is_one_things():
    assert len(set(NAMES)) == len(NAMES), "two entities have one name"
    owners: dict[type[Message], str] = {}
    for entity in ENTITIES:
        for type_ in (*entity.commands, *entity.facts):
            assert owners.setdefault(type_, entity.name) == entity.name, f"{type_.__name__} is declared by two entities"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_entity_has_its_decider(entity):
    assert faults(entity, decider_of(entity).decide) == []


def test_every_decider_has_its_entity():
    strays = functions().keys() - set(NAMES)
    assert not strays, f"no entity in schemas/*.py is called {strays}: declare it there, or rename the function"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_fact_that_is_heard_or_shown_is_told_by_somebody(entity):
    told = {fact for one in ENTITIES for fact in one.facts}
    for fact in (*(heard.fact for heard in entity.hears), *(shown.fact for shown in entity.shown)):
        assert fact in told, f"{entity.name} names {fact.__name__}, which is among no entity's facts"
    for shown in entity.shown:
        assert shown.fact in entity.facts, f"{entity.name} shows {shown.fact.__name__}, which is another entity's fact"
    for heard in entity.hears:
        assert heard.why, f"say why {entity.name} hears {heard.fact.__name__}"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_message_is_made_by_somebody(entity):
    for type_ in (*entity.commands, *entity.facts):
        assert type_.__name__ in made(), f"no router, decider or command line makes {type_.__name__} of {entity.name}"


@pytest.mark.parametrize("domain", WITH_ENTITIES, ids=lambda domain: domain.__name__)
def test_every_domain_is_served(domain):
    readers = [name_of(file) for folder in ("serving", "infra") for file in files(folder) if domain.__name__ in imports(file)]
    assert readers, f"no router asks {domain.__name__} for anything: write serving/{domain.__name__.split('.')[-1]}.py"


def test_every_router_is_a_part_of_the_application():
    app, _, _ = build(load(brokers="127.0.0.1:1"))
    served = set(app.openapi()["paths"])
    for module in pkgutil.iter_modules(serving.__path__):
        router = getattr(importlib.import_module(f"serving.{module.name}"), "router", None)
        for route in router.routes if router else ():
            assert route.path in served, f"{route.path} of serving/{module.name}.py is not served"


@pytest.mark.parametrize("entity", ENTITIES, ids=NAMES)
def test_every_entity_is_stored(entity):
    tables = [one.table for one in PROJECTIONS if one.topic == entity.events]
    assert tables or entity.raw, (
        f"no file in schemas/tables selects from {entity.events}: write <table>.sql and <table>.select.sql,"
        f" or say in {entity.name}'s `raw` why the raw log is enough"
    )
    assert not (tables and entity.raw), f"{entity.name} says that it has no table, and has {tables}"


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: one.table)
def test_every_table_has_its_select_and_a_topic(projection):
    assert projection.topic in {entity.events for entity in ENTITIES}, (
        f"{projection.table} reads the unknown {projection.topic}"
    )
    assert "-- ORDER BY:" in ddl(projection.table), f"{projection.table}.sql does not say why it is ordered so"


def test_every_table_is_filled():
    made_by_hand = {
        file.name.removesuffix(".sql") for file in (ROOT / "schemas" / "tables").glob("*.sql") if "." not in file.stem
    }
    assert made_by_hand == set(TABLES), "a table's file has no <table>.select.sql beside it, or the other way round"


@pytest.mark.parametrize("domain", WITH_ENTITIES, ids=lambda domain: domain.__name__)
def test_every_message_has_a_golden_line(domain):
    written = {json.loads(line)["type"] for line in golden_lines()}
    stem = domain.__name__.split(".")[-1]
    for entity in entities_of(domain):
        for type_ in (*entity.commands, *entity.facts):
            assert type_.__name__ in written, f"add a line of {type_.__name__} to tests/golden/{stem}.jsonl"


def test_every_golden_line_is_of_a_message_of_the_log():
    known = {type_.__name__ for type_ in (*routes(), Wake, Release, DeadLetter, LetterSettled)}
    strays = {json.loads(line)["type"] for line in golden_lines()} - known
    assert not strays, f"the log carries no {strays}; what was written once must stay readable"


# --- what the checks say of a domain that is not whole ------------------------------------------------------------------------


def test_an_entity_without_a_decider_is_named():
    lost = Entity("lost", key="lost", flow=ACCOUNT.flow, state=Account)
    with pytest.raises(MapError, match="nobody decides for lost: write the function decide_lost in a module of pipelines"):
        decider_of(lost)


def test_a_decider_that_takes_too_little_or_too_much_is_named():
    def decide_account(account: Account | None, message: AccountInbox) -> None: ...

    assert faults(ACCOUNT, decide_account) == []
    (too_much,) = faults(GIFT_ITEM, decider_of(GIFT_ITEM).decide) or [""]
    assert not too_much
    lines = faults(GIFT, decider_of(GIFT_ITEM).decide)
    assert "pipelines.gift.decide_gift_item takes PutGiftItem, which gift.inbox never hears" in lines
    assert "pipelines.gift.decide_gift_item does not take SendGift, which gift.inbox hears" in lines


def test_a_decider_without_the_broadcast_state_is_named():
    member = next(entity for entity in ENTITIES if entity.broadcast)
    (line,) = faults(member, decider_of(ACCOUNT).decide)
    assert line.endswith("has 2 parameters, not 3: state, message, common")


def test_an_inbox_hears_a_type_once():
    for entity in ENTITIES:
        assert len(set(hears(entity))) == len(hears(entity)), f"{entity.inbox} hears a type twice"
