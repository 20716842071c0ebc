"""Commands: produce one, wait for its outcome. The answer to a client is the fact whose cause is the command.

Errors: Problem 503 `log_unreachable` when the broker has not taken the command in time. Then it is unknown whether it did, so
the client sends the same request again under the same Idempotency-Key: it counts once.
"""

import asyncio
import logging
import threading
import uuid
from operator import attrgetter
from typing import Annotated, Any, Final

from confluent_kafka import KafkaError, Producer
from fastapi import Header, Request

from infra.config import Config
from infra.kafka import quiet
from schemas.log.base import Fact, Message
from schemas.log.codec import encode
from schemas.log.dead_letters import DeadLetter
from schemas.log.entity import partition_of
from schemas.log.topics import DEAD_LETTERS, Route, routes
from serving.runtime.problems import Problem, unavailable
from serving.runtime.views import Views

log = logging.getLogger("olo.serving")

# A client waits this long for an outcome; then it gets 202 and where to look. A healthy platform takes some 30 ms.
OUTCOME_S: Final = 2.0
# The broker's answer takes milliseconds; a broker that restarts needs longer than any client should wait.
DELIVERY_MS: Final = 1_500
# Waiting commands of one process: more than it can answer in OUTCOME_S is an overload, and is said so at once.
MAX_WAITING: Final = 10_000

DEAD: Final = Route(DEAD_LETTERS.name, attrgetter("id"), DEAD_LETTERS.partitions)
NAMESPACE: Final = uuid.UUID("6c0f5f5e-9d3a-5b0e-8d0e-4f1f0c6f0a01")


class Commands:
    """The producer of one serving process, and who waits for what."""

    def __init__(self, config: Config, views: Views, loop: asyncio.AbstractEventLoop) -> None:
        conf = {
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.timeout.ms": DELIVERY_MS,
            "partitioner": "consistent",
        }
        self._producer = Producer(quiet(config, **conf))
        self._views = views
        self._loop = loop
        self._routes = routes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="producer", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.1)

    def stop(self) -> None:
        """Deliver what is under way, then end."""
        self._producer.flush(2)
        self._stop.set()
        self._thread.join(2)

    async def ask(self, command: Message, *, told: str = "") -> Fact | None:
        """Produce a command and wait for its outcome: the fact whose cause is the command, or the message `told` that it tells.

        None: not decided within OUTCOME_S. Errors: Problem 503."""
        waiting = self._views.outcomes.waiting
        if len(waiting) >= MAX_WAITING:
            raise unavailable("overloaded", "too many commands are waiting for their outcome; try again soon")
        outcome: asyncio.Future[Fact] = self._loop.create_future()
        names = [command.id, told] if told else [command.id]
        waiting.update(dict.fromkeys(names, outcome))
        taken = self._produce(command)
        taken.add_done_callback(lambda done: _fail(outcome, done.exception()))
        try:
            return await asyncio.wait_for(outcome, OUTCOME_S)
        except TimeoutError:
            if not taken.done():
                raise _unreachable("no answer in time") from None
            return None
        finally:
            for name in names:
                waiting.pop(name, None)

    async def tell(self, *commands: Message) -> None:
        """Produce commands without an outcome; returns when the log has them. Errors: Problem 503."""
        try:
            await asyncio.wait_for(asyncio.gather(*map(self._produce, commands)), OUTCOME_S)
        except TimeoutError:
            raise _unreachable("no answer in time") from None

    async def note(self, *commands: Message) -> None:
        """Tell commands that nobody waits for, such as beats and what was looked at; those that the log did not take are
        lost, and a line of the process's log says so."""
        try:
            await self.tell(*commands)
        except Problem as problem:
            log.warning("%d x %s not taken: %s", len(commands), type(commands[0]).__name__, problem.detail)

    async def bury(self, letter: DeadLetter) -> None:
        """Keep what cannot be a command as a dead letter. Errors: Problem 503."""
        await self.tell(letter)

    def _produce(self, command: Message) -> asyncio.Future[None]:
        """Hand a command to the producer; done when the broker has it. Errors: Problem 503, also as the future's exception."""
        taken: asyncio.Future[None] = self._loop.create_future()

        def delivered(error: KafkaError | None, _: Any) -> None:
            self._loop.call_soon_threadsafe(_settle, taken, error)

        (route,) = (DEAD,) if isinstance(command, DeadLetter) else self._routes[type(command)]
        key = route.key(command).encode()
        try:
            self._producer.produce(
                route.topic, encode(command), key, partition_of(key, route.partitions), on_delivery=delivered
            )
        except BufferError:
            raise unavailable("log_unreachable", "the log takes no more commands at the moment; try again soon") from None
        return taken


def _settle(taken: asyncio.Future[None], error: KafkaError | None) -> None:
    if taken.done():
        return
    if error is None:
        taken.set_result(None)
    else:
        taken.set_exception(_unreachable(str(error)))


def _fail(outcome: asyncio.Future[Fact], error: BaseException | None) -> None:
    if error is not None and not outcome.done():
        outcome.set_exception(error)


def _unreachable(error: str) -> Problem:
    return unavailable("log_unreachable", f"the log did not take the command ({error}); send it again with the same key")


IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Your own name for this request. The same key within a day: the same answer, and nothing more happens.",
    ),
]


def request_id(caller: str, key: str) -> str:
    """The stable id of what a caller asked for under a key: same key, same id."""
    return str(uuid.uuid5(NAMESPACE, f"{caller}\n{key}"))


def commands_of(request: Request) -> Commands:
    """This process's commands, for routes; 503 until the views are there."""
    views_of(request)
    commands: Commands = request.app.state.commands
    return commands


def views_of(request: Request) -> Views:
    """This process's views, for routes; 503 until they are there."""
    views: Views = request.app.state.views
    if not views.ready:
        raise unavailable("starting", "this process is still reading the log; try again soon")
    return views
