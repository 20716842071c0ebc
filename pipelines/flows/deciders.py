"""Which function decides for which entity: by rule, from the map of the log.

The decider of the entity `gift_item` is the function `decide_gift_item` of a module in `pipelines`. Its type hints are held
against the map: it takes the entity's state, or None, and the union of exactly those messages that the entity's inbox hears.
Errors: `MapError`, which names what is missing and where it belongs.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from types import NoneType
from typing import Any, Final, get_args, get_type_hints

import pipelines
from pipelines.runtime.core import Decider
from schemas.log.base import Fact, Message
from schemas.log.entity import Entity, Flow
from schemas.log.topics import ENTITIES, hears

PREFIX: Final = "decide_"


class MapError(Exception):
    """A domain is not whole; the text says what is missing, and where it belongs."""


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """Entity's name -> decider, of all pure modules. Errors: MapError for two of one name."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(pipelines.__path__):
        if module.ispkg:
            continue
        name = f"pipelines.{module.name}"
        for attribute, value in vars(importlib.import_module(name)).items():
            if attribute.startswith(PREFIX) and inspect.isfunction(value) and value.__module__ == name:
                if (entity := attribute.removeprefix(PREFIX)) in found:
                    raise MapError(f"two modules decide for {entity}: {found[entity].__module__} and {name}")
                found[entity] = value
    return found


def decider_of(entity: Entity) -> Decider:
    """The entity with its decider. Errors: MapError."""
    if (decide := functions().get(entity.name)) is None:
        raise MapError(f"nobody decides for {entity.name}: write the function {PREFIX}{entity.name} in a module of pipelines")
    return Decider(entity, decide)


def deciders(flow: Flow) -> tuple[Decider, ...]:
    """What a flow hosts. Errors: MapError."""
    return tuple(decider_of(entity) for entity in ENTITIES if entity.flow is flow)


def faults(entity: Entity, decide: Callable[..., Any]) -> list[str]:
    """How a decider's type hints differ from what the map says of its entity, a line each."""
    where = f"{decide.__module__}.{decide.__name__}"
    hints = get_type_hints(decide)
    parameters = [hints.get(name) for name in inspect.signature(decide).parameters]
    wanted = 3 if entity.broadcast else 2
    if len(parameters) != wanted:
        return [f"{where} has {len(parameters)} parameters, not {wanted}: state, message{', common' * entity.broadcast}"]
    if None in parameters:
        return [
            f"{where} has a parameter without a type hint: {entity.state.__name__} | None, and all that {entity.inbox} hears"
        ]
    states = set(get_args(parameters[0])) - {NoneType}
    told = [] if states == {entity.state} else [f"{where} takes another state: hint it as {entity.state.__name__} | None"]
    taken = set(get_args(parameters[1])) or {parameters[1]}
    heard: set[type[Message]] = set(hears(entity))
    told += [
        f"{where} takes {name}, which {entity.inbox} never hears: add it to the entity's `{field}`, or take it out of the hint"
        for field, facts in (("hears", True), ("commands", False))
        for name in _names(type_ for type_ in taken - heard if issubclass(type_, Fact) is facts)
    ]
    told += [
        f"{where} does not take {name}, which {entity.inbox} hears: decide it, and add it to the hint"
        for name in _names(heard - taken)
    ]
    return told


def _names(types: Iterable[type]) -> list[str]:
    return sorted(type_.__name__ for type_ in types)
