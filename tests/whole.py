"""What a domain lacks: each function gives a line for each thing, which says what to write, and where.

tests/test_map.py asks it of the tree, tests/test_recipe.py of the domain in CONTRIBUTING.md, whole and with a part taken out.
"""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import pytest

from schemas.log.base import Message
from schemas.log.entity import Entity
from schemas.log.personal import undeclared

# The functions that are only given types to look at, behind their first argument.
LOOKING = ("isinstance", "issubclass", "ask", "ask_all")


def say(lines: Sequence[str]) -> None:
    """Fail with these lines and nothing else, if there are any."""
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def made(trees: Iterable[ast.AST]) -> frozenset[str]:
    """The names of everything that some code calls, or hands on to be called. A name in a type hint, behind `case` or in an
    `isinstance` is only looked at."""
    return frozenset(name for tree in trees for name in _loaded(tree))


def _loaded(tree: ast.AST) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    looked_at = {id(name) for node in nodes for part in _types_in(node) for name in ast.walk(part)}
    return (
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in looked_at
    )


def _types_in(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that name types, and make nothing."""
    match node:
        case ast.arg(annotation=ast.expr() as hint) | ast.AnnAssign(annotation=hint):
            yield hint
        case ast.FunctionDef(returns=ast.expr() as hint) | ast.AsyncFunctionDef(returns=ast.expr() as hint):
            yield hint
        case ast.MatchClass(cls=type_):
            yield type_
        case ast.Subscript(slice=types):
            yield types
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            yield from (side for side in (left, right) if isinstance(side, ast.Name))
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[_, *types]) if name in LOOKING:
            yield from types


def unmade(entity: Entity, by_anybody: Collection[str], by_deciders: Collection[str]) -> list[str]:
    """Commands that nobody sends, and facts that no decider tells. The sets are those of `made`."""
    commands = [type_.__name__ for type_ in entity.commands if type_.__name__ not in by_anybody]
    facts = [type_.__name__ for type_ in entity.facts if type_.__name__ not in by_deciders]
    return [
        *(
            f"nobody makes the command {name}: write the route that asks it in serving, or tell it in another entity's decider;"
            f" or take it out of the commands of {entity.name}"
            for name in commands
        ),
        *(
            f"no decider makes the fact {name}: tell it in pipelines, by {name}(**reply(message), ...);"
            f" or take it out of the facts of {entity.name}"
            for name in facts
        ),
    ]


def unkeyed(entity: Entity) -> list[str]:
    """Messages without the field that their record is keyed by."""
    keyed: list[tuple[type[Message], Any]] = [(type_, entity.key) for type_ in (*entity.commands, *entity.facts)]
    keyed += [(heard.fact, heard.key) for heard in entity.hears]
    keyed += [(shown.fact, to) for shown in entity.shown for to in shown.to]
    return [
        f"{type_.__name__} has no field {key!r}, by which {entity.name} is to find it: name one that it has, or add it"
        for type_, key in keyed
        if isinstance(key, str) and not hasattr(type_, key)
    ]


def unsaid(entity: Entity) -> list[str]:
    """Texts in messages and states of which nobody has said whether they are personal."""
    return [
        f"say of {type_.__name__}.{path} whether it is personal: add PLAIN, WORDS or another word of schemas/log/personal.py to"
        " its type, or take a type that has one, such as Id or Code"
        for type_ in (*entity.commands, *entity.facts, entity.state)
        for path in undeclared(type_)
    ]


def ungolden(entity: Entity, stem: str, written: Collection[str]) -> list[str]:
    """Messages without an example among the types that are `written`."""
    types = [type_.__name__ for type_ in (*entity.commands, *entity.facts)]
    return [f"add a line of {name} to tests/golden/{stem}.jsonl" for name in types if name not in written]


def unstored(entity: Entity, topics: Collection[str]) -> list[str]:
    """An entity without a table that does not say why it has none; `topics`: those that some table is filled from."""
    if entity.events in topics and entity.raw:
        return [f"{entity.name} has a table: take out its `raw`, which says why it has none"]
    if entity.events in topics or entity.raw:
        return []
    return [
        f"no file in schemas/tables selects from {entity.events}: write <table>.sql and <table>.select.sql,"
        f" or say in {entity.name}'s `raw` why the raw log is enough"
    ]


def unpaired(files: Sequence[str]) -> list[str]:
    """Tables that nobody makes, or nobody fills; `files`: the names of the files in schemas/tables."""
    selects = {name.removesuffix(".select.sql") for name in files if name.endswith(".select.sql")}
    tables = {name.removesuffix(".sql") for name in files if name.endswith(".sql") and name.count(".") == 1} - {"log"}
    return [
        *(
            f"{name}.select.sql fills a table that no file makes: write schemas/tables/{name}.sql"
            for name in sorted(selects - tables)
        ),
        *(
            f"{name}.sql makes a table that no file fills: write schemas/tables/{name}.select.sql"
            for name in sorted(tables - selects)
        ),
    ]


def unworded(
    kinds: Iterable[type[StrEnum]], rows: Mapping[type[StrEnum], Mapping[StrEnum, Any]], internal: Collection[str]
) -> list[str]:
    """Refusals that no router has words for. `rows`: enumeration -> refusal -> row; `internal`: those that need none."""
    return [
        f"no words for {type(one).__name__}.{one.name}: add it to REFUSED in serving/{kind.__module__.split('.')[-1]}.py, with"
        " its status and what to do; or say in INTERNAL of tests/test_refusals.py why no client is ever told of it"
        for kind in kinds
        for one in kind
        if one not in rows.get(kind, {}) and f"{type(one).__name__}.{one.name}" not in internal
    ]


def untested(kinds: Iterable[type[StrEnum]], tests: str) -> list[str]:
    """Refusals that no test speaks of; `tests`: the text of all tests."""
    return [
        f"no test has {kind.__name__}.{one.name}: add a row to tests/test_{kind.__module__.split('.')[-1]}.py"
        for kind in kinds
        for one in kind
        if f"{kind.__name__}.{one.name}" not in tests
    ]
