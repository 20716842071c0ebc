"""Commands: produce one, wait for its decision. The answer to a client is the fact whose cause is the command.

`ask` gives that fact, of a type that the route expects, or raises: Problem, for a refusal (by the part's table) and where the
log did not take the command; NotDecided, where the log has it and nobody has decided it in time. A route goes on behind `ask`
only with a decision. `tell` and `note` are for commands that nobody answers, such as beats.

While decisions of an inbox are late, `ask` refuses new commands for it at once (`serving/runtime/admission.py`): those that
begin something sooner than `urgent` ones, which answer or end what is in progress. What is told or noted is never refused:
beats keep paid calls alive, and their number follows from who is there.

Errors: Problem 503 `log_unreachable` when the broker has not taken the command in time. Then it is unknown whether it did, so
the client sends the same request again under the same Idempotency-Key: it counts once. Problem 503 `overloaded`, whose
Retry-After follows from the measured rate of decisions: the command is not in the log.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import cache, partial
from operator import attrgetter
from typing import Final, TypeVar, overload

import msgspec
from confluent_kafka import KafkaError, Producer
from fastapi import Request
from prometheus_client import Counter, Gauge

from infra.config import Config
from infra.kafka import quiet
from schemas.log.base import Fact, Message
from schemas.log.codec import decoder_of, encode
from schemas.log.dead_letters import DeadLetter
from schemas.log.entity import partition_of
from schemas.log.topics import DEAD_LETTERS, ENTITIES, Route, routes
from serving.runtime.admission import Asked
from serving.runtime.eyes import Eyes
from serving.runtime.later import Later, NotDecided
from serving.runtime.outcomes import Outcomes
from serving.runtime.problems import Problem, unavailable
from serving.runtime.refusals import RefusalTables
from serving.runtime.sending import Sender
from serving.runtime.views import Views

log = logging.getLogger("olo.serving")

# A client waits this long for a decision; then it is told where to look, or to ask again. A healthy platform takes some 30 ms.
OUTCOME_S: Final = 2.0
# The broker's answer takes milliseconds; a broker that restarts needs longer than any client should wait.
DELIVERY_MS: Final = 1_500
# Waiting commands of one process: more than it can answer in OUTCOME_S is an overload, and is said so at once.
MAX_WAITING: Final = 10_000

DEAD: Final = Route(DEAD_LETTERS.name, attrgetter("id"), DEAD_LETTERS.partitions)
UNDECIDED = Gauge("olo_commands_undecided", "Commands in the log that this process still awaits the decision of", ["inbox"])
REFUSING = Gauge("olo_commands_refusing", "1: a command was refused early within the last 5 s", ["inbox"])
REFUSED = Counter("olo_commands_refused", "Commands refused early, since decisions of their inbox are late", ["inbox"])
# Where the request that is being answered wants to know the ids of what it sent; None: it does not.
SENT: Final[ContextVar[list[str] | None]] = ContextVar("SENT", default=None)
NAMESPACE: Final = uuid.UUID("6c0f5f5e-9d3a-5b0e-8d0e-4f1f0c6f0a01")

A = TypeVar("A", bound=Fact)
B = TypeVar("B", bound=Fact)
C = TypeVar("C", bound=Fact)


def producer(config: Config) -> Producer:
    """A producer for commands."""
    conf = {
        "enable.idempotence": True,
        "linger.ms": 0,
        "message.timeout.ms": DELIVERY_MS,
        "partitioner": "consistent",
    }
    return Producer(quiet(config, **conf))


class Commands:
    """What one serving process sends, and who waits for what. `new`: makes a producer; `eyes`: which of staff's commands take a
    second person. Made in the event loop."""

    def __init__(
        self, new: Callable[[], Producer], outcomes: Outcomes, refusals: RefusalTables, eyes: Eyes = lambda _, __: None
    ) -> None:
        self._eyes = eyes
        self._sender = Sender(new)
        self._waiting = outcomes.waiting
        self._admission = outcomes.admission
        self._refusals = refusals
        self._loop = asyncio.get_running_loop()
        self._routes = routes()
        self._show()

    def _show(self) -> None:
        """Metrics that are looked up when somebody asks for them."""
        for entity in ENTITIES:
            if entity.commands:
                UNDECIDED.labels(entity.inbox).set_function(partial(self._admission.undecided, entity.inbox))
                REFUSING.labels(entity.inbox).set_function(partial(self._refusing, entity.inbox))

    def _refusing(self, inbox: str) -> bool:
        return self._admission.refusing(inbox, time.monotonic())

    def stop(self) -> None:
        """Deliver what is under way, then end."""
        self._sender.stop()

    @overload
    async def ask(
        self, command: Message, one: type[A], /, *, derived: str = "", later: Later | None = None, urgent: bool = False
    ) -> A: ...
    @overload
    async def ask(
        self,
        command: Message,
        one: type[A],
        two: type[B],
        /,
        *,
        derived: str = "",
        later: Later | None = None,
        urgent: bool = False,
    ) -> A | B: ...
    @overload
    async def ask(
        self,
        command: Message,
        one: type[A],
        two: type[B],
        three: type[C],
        /,
        *,
        derived: str = "",
        later: Later | None = None,
        urgent: bool = False,
    ) -> A | B | C: ...

    async def ask(
        self, command: Message, /, *expected: type[Fact], derived: str = "", later: Later | None = None, urgent: bool = False
    ) -> Fact:
        """Produce a command and wait for its decision: the first fact whose cause is the command, or `derived`, which is the id
        of the command that its decider sends on. `expected`: the types of fact that the route can tell of. `urgent`: it answers
        or ends what is in progress.

        Errors: Problem for a refusal, for what takes a second person, and for a fact of another type; Problem 503; NotDecided,
        which answers with `later`."""
        if SENT.get() is not None and (problem := self._eyes(command, getattr(command, "by", ""))):
            raise problem
        causes = [command.id, derived] if derived else [command.id]
        self._admit(command, causes, urgent=urgent)
        fact = await self._decision(command, causes, later)
        if fact.refused is not None:
            raise self._refusals.problem_of(fact)
        if not isinstance(fact, expected):
            log.error("%s was answered with %s, which its route does not expect", type(command).__name__, type(fact).__name__)
            raise Problem(500, "unexpected_answer", f"it was decided: {type(fact).__name__}, which this server cannot tell of")
        return fact

    async def ask_all(self, commands: Sequence[Message], expected: type[A]) -> list[A]:
        """Ask several things at once. Errors: those of `ask`, the first of them, when each command has had its answer."""
        found = await asyncio.gather(*(self.ask(command, expected) for command in commands), return_exceptions=True)
        facts = [one for one in found if not isinstance(one, BaseException)]
        for error in found:
            if isinstance(error, BaseException):
                raise error
        return facts

    def _admit(self, command: Message, causes: Sequence[str], *, urgent: bool) -> None:
        """Take note of a command that is about to be produced. Errors: Problem 503, where it could not be decided in time."""
        (route,) = self._routes[type(command)]
        key = route.key(command)
        place = (route.topic, partition_of(key.encode(), route.partitions))
        full = len(self._waiting) >= MAX_WAITING
        wait_s = 1 if full else self._admission.ask(Asked(place, key, causes, time.monotonic()), urgent=urgent)
        if wait_s:
            REFUSED.labels(route.topic).inc()
            detail = "decisions are late, so this was not taken; send it again, under the same key, after Retry-After seconds"
            raise Problem(503, "overloaded", detail, headers={"Retry-After": str(wait_s)})

    async def _decision(self, command: Message, causes: Sequence[str], later: Later | None) -> Fact:
        """The first fact that answers the command."""
        outcome: asyncio.Future[Fact] = self._loop.create_future()
        self._waiting.update(dict.fromkeys(causes, outcome))
        try:
            taken = self._produce(command)
            taken.add_done_callback(lambda done: _fail(outcome, done.exception()))
            return await asyncio.wait_for(outcome, OUTCOME_S)
        except Problem:
            self._admission.lost(command.id)
            raise
        except TimeoutError:
            if not taken.done():
                self._admission.lost(command.id)
                raise _unreachable("no answer in time") from None
            raise NotDecided(later) from None
        finally:
            for cause in causes:
                if self._waiting.get(cause) is outcome:
                    del self._waiting[cause]

    async def tell(self, *commands: Message) -> None:
        """Produce commands that nobody answers; returns when the log has them. Errors: Problem 503."""
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

        def delivered(error: KafkaError | None) -> None:
            self._loop.call_soon_threadsafe(_settle, taken, error)

        if (sent := SENT.get()) is not None:
            sent.append(command.id)
        (route,) = (DEAD,) if isinstance(command, DeadLetter) else self._routes[type(command)]
        key = route.key(command).encode()
        try:
            self._sender.send(route.topic, _readable(command), key, partition_of(key, route.partitions), delivered)
        except BufferError:
            raise unavailable("log_unreachable", "the log takes no more commands at the moment; try again soon") from None
        return taken


def _readable(command: Message) -> bytes:
    """The command as it is written, once it was read again: what no decider can read is not taken. Errors: Problem 422."""
    written = encode(command)
    try:
        _reader(type(command))(written)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid_request", f"this cannot be written down: {error}") from None
    return written


@cache
def _reader(type_: type[Message]) -> Callable[[bytes], Message]:
    return decoder_of((type_,))


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
