"""The HTTP application in this process, with doubles for the log: whatever is asked of it ends at the double of `Commands`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from infra import tokens
from infra.config import EMULATOR_VARIABLE, Config
from schemas.log.base import Fact, Message
from schemas.log.codec import encode
from schemas.log.topics import routes
from schemas.mission_control import AnswerAct, NoteAct
from schemas.user import USER, Role, User
from serving.app import build
from serving.runtime.later import Later, NotDecided

SECRETS = {
    "agora_webhook_secret": "hook",
    "twilio_auth_token": "authtoken",
    "appsflyer_push_token": "push-token",
    "public_url": "https://olo.example",
}
# Hundreds of tests ask as the same people from the same address, within a second or two.
UNRATED = {f"rate_{who}": "1000000/second" for who in ("user", "write", "staff", "address")}
AT = datetime(2026, 11, 26, tzinfo=UTC)


class WrittenCommands:
    """A log that takes each command, if it can be written, and on which nobody decides."""

    def __init__(self) -> None:
        self.taken: list[Message] = []

    @property
    def asked(self) -> list[Message]:
        """What it took but the audit's acts of staff."""
        return [one for one in self.taken if not isinstance(one, NoteAct | AnswerAct)]

    async def ask(self, command: Message, *_: type[Fact], later: Later | None = None, **__: str) -> Fact:
        await self.tell(command)
        raise NotDecided(later)

    async def ask_all(self, commands: list[Message], *_: type[Fact]) -> list[Fact]:
        await self.tell(*commands)
        raise NotDecided

    async def tell(self, *commands: Message) -> None:
        for command in commands:
            encode(command)
            for route in routes().get(type(command), ()):
                route.key(command).encode()
            self.taken.append(command)

    note = bury = tell


@contextmanager
def unsigned_tokens() -> Iterator[None]:
    """Development's setting, for as long as it is needed: other tests must not find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EMULATOR_VARIABLE, "127.0.0.1:9099")
        yield


class Front:
    """The application, the commands that it sent, and requests to it."""

    def __init__(self, **settings: Any) -> None:
        nobody = {"brokers": "127.0.0.1:1", "clickhouse_url": "http://127.0.0.1:1/olo"}
        config = Config(**{**nobody, **SECRETS, **UNRATED, **settings})
        with unsigned_tokens():
            self.app, self.asgi, self.hub = build(config)
        self.commands = WrittenCommands()
        self.app.state.commands = self.commands
        self.app.state.views.ready = True
        for name, role in (("bob", Role.USER), ("sue", Role.STREAMER), ("root", Role.ADMIN)):
            self.app.state.views.of(USER)[name] = User(role, AT)
        self.app.state.clickhouse = _no_warehouse

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Send one request, from 192.0.2.1 unless `address` says otherwise."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.asgi, client=(given.pop("address", "192.0.2.1"), 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://olo") as client:
                return await client.request(method, path, **given)

        with unsigned_tokens():
            return asyncio.run(send())


def _no_warehouse() -> Any:
    raise OSError("there is no warehouse")


def bearer(user: str = "bob", role: str = "user", **claims: Any) -> dict[str, str]:
    """The header of a user's token."""
    return {"Authorization": f"Bearer {tokens.token('demo-olo', user, role, **claims)}"}


def code(answer: httpx.Response) -> tuple[int, str]:
    """An answer's status, and its problem's code."""
    return answer.status_code, str(answer.json().get("code", ""))
