"""The parts of the HTTP application, found by rule: every module of `serving` that has a `router`.

A part may also have `REFUSED`, the table by which its refusals are told, and `prepare(app)`, which puts what the part derives
from the views into the application's state before the log is read. Parts know nothing of each other and no two of them have a
path in common, so their order, which is that of their names, decides nothing.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from fastapi import APIRouter, FastAPI

import serving
from serving.runtime.refusals import Refusals


class Part(NamedTuple):
    """One part: its module's name, its routes, how its refusals are told, and what it prepares."""

    name: str
    router: APIRouter
    refused: Refusals
    prepare: Callable[[FastAPI], None]


def parts() -> list[Part]:
    """Every part, by name."""
    names = sorted(found.name for found in iter_modules(serving.__path__, "serving.") if not found.name.endswith("__"))
    modules = [(name, import_module(name)) for name in names]
    return [
        Part(name, module.router, getattr(module, "REFUSED", {}), getattr(module, "prepare", _nothing))
        for name, module in modules
        if hasattr(module, "router")
    ]


def _nothing(_: FastAPI) -> None:
    """What a part prepares that derives nothing from the views."""
