"""What keeps a test without the mark `platform` by itself: there is no broker for it, no platform, and no network.

The mark is given by a rule (`tests/conftest.py`): whatever uses the platform's fixture has it, directly or through another
fixture. `make quick` runs the tests without it. One that slips through must not pass by luck, on the machine where something
happens to run: it cannot make a Kafka client, start a platform, or connect to anything but this machine.
"""

import socket
import sys
from functools import cache
from types import ModuleType
from typing import Any, NoReturn

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from tests.lab.stage import Stage

CLIENTS = (Consumer, Producer, AdminClient)
OURS = ("schemas", "pipelines", "serving", "infra", "tests")
HERE = ("127.0.0.1", "::1", "localhost")


class NotAloneError(BaseException):
    """A test without the mark `platform` reaches for what only a platform has. No `except Exception` hides it."""


def _refuse(*_: object, **__: object) -> NoReturn:
    raise NotAloneError("only a test that uses the fixture `stack`, or has the mark `platform`, may use a broker or a platform")


def _connect(self: socket.socket, address: Any) -> None:
    if self.family != socket.AF_UNIX and address[0] not in HERE:
        raise NotAloneError(f"{address}: only a test with the mark `platform` may use the network")
    CONNECT(self, address)


CONNECT = socket.socket.connect


@cache
def _known_as() -> list[tuple[ModuleType, str]]:
    """The names under which the modules know a client's type: it is made in C, and only its names can lead elsewhere."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] in OURS]
    return [(module, name) for module in modules for name in _clients_in(module)]


def _clients_in(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if any(value is client for client in CLIENTS)]


def keep_alone(patch: pytest.MonkeyPatch) -> None:
    """Take away clients, platforms and the network, until `patch` is undone."""
    for module, name in _known_as():
        patch.setattr(module, name, _refuse)
    patch.setattr(Stage, "__init__", _refuse)
    patch.setattr(socket.socket, "connect", _connect)
