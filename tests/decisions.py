"""Messages through a decider, one behind the other, as the host brings them. What goes in is checked; what comes out is looked
at field by field, whatever its type."""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from schemas.log.base import Message

P = ParamSpec("P")
M = TypeVar("M")


def decisions_of(decide: Callable[P, tuple[Any, Sequence[Message]]]) -> Callable[P, tuple[Any, Sequence[Any]]]:
    """The same function. A decider's type says only that it tells messages; a test knows which, and fails where it errs."""
    return decide


def last_decision(
    decide: Callable[[Any, M], tuple[Any, Sequence[Any]]], *messages: M, state: Any = None
) -> tuple[Any, list[Any]]:
    """The state behind the messages, and what the last one of them told."""
    told: Sequence[Any] = ()
    for message in messages:
        state, told = decide(state, message)
    return state, list(told)


def all_decisions(
    decide: Callable[[Any, M], tuple[Any, Sequence[Any]]], *messages: M, state: Any = None
) -> tuple[Any, list[Any]]:
    """The state behind the messages, and all that was told on the way."""
    told: list[Any] = []
    for message in messages:
        state, more = decide(state, message)
        told += more
    return state, told
