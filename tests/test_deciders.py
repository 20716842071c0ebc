"""What holds of every decider, tried with the golden example of each message that its entity hears."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.flows.deciders import decider_of
from pipelines.runtime.lane import Decision
from schemas.log.base import Message, State, Wake
from schemas.log.codec import decoder_of, encode
from schemas.log.entity import Entity
from schemas.log.topics import ENTITIES, hears, inbox_keys, routes
from tests.golden import golden_lines
from tests.long_lists import long_lists

GOLDEN = {json.loads(line)["type"]: line.encode() for line in golden_lines()}
HEARD = [
    pytest.param(entity, type_, id=f"{entity.name}-{type_.__name__}")
    for entity in ENTITIES
    for type_ in hears(entity)
    if type_ is not Wake
]


def decided(entity: Entity, state: State | None, message: Message) -> Decision:
    """A decision of the entity's decider, with no broadcast state, where it has one."""
    decide = cast(Callable[..., Decision], decider_of(entity).decide)
    return decide(state, message, None) if entity.broadcast else decide(state, message)


def example(type_: type[Message]) -> Message:
    line = GOLDEN.get(type_.__name__) or pytest.fail(
        f"add a line of {type_.__name__} to the files in tests/golden", pytrace=False
    )
    return decoder_of((type_,))(line)


@pytest.mark.parametrize(("entity", "type_"), HEARD)
def test_a_decision_knows_no_clock_and_no_random(entity: Entity, type_: type[Message]) -> None:
    message = example(type_)
    state, told = decided(entity, None, message)
    again, told_again = decided(entity, None, message)
    assert again == state
    assert list(told_again) == list(told)
    assert decided(entity, state, message) == decided(entity, state, message)


@pytest.mark.parametrize(("entity", "type_"), HEARD)
def test_what_is_told_has_a_way_an_id_of_its_cause_and_can_be_written(entity: Entity, type_: type[Message]) -> None:
    message = example(type_)
    state, told = decided(entity, None, message)
    assert state is None or isinstance(state, entity.state)
    for one in told:
        assert type(one) in routes()
        assert one.id != message.id
        encode(one)
    assert len({one.id for one in told}) == len(told)


@pytest.mark.parametrize(("entity", "type_"), HEARD)
def test_a_wake_for_nobody_or_before_its_time_changes_nothing(entity: Entity, type_: type[Message]) -> None:
    message = example(type_)
    wake = Wake(id="w", at=message.at - timedelta(days=1), key=inbox_keys(entity)[type_](message) or "nobody")
    state, _ = decided(entity, None, message)
    for standing in (None, state):
        after, told = decided(entity, standing, wake)
        assert after == standing
        assert not told


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
@given(st.data())
def test_no_order_of_messages_is_too_much(entity: Entity, data: st.DataObject) -> None:
    """What belongs to other keys is mixed in, too: a decider answers whatever its inbox lets through."""
    messages = [example(type_) for type_ in hears(entity) if type_ is not Wake]
    state, at = None, max(message.at for message in messages)
    for message in data.draw(long_lists(st.sampled_from(messages), 12)):
        at += timedelta(seconds=data.draw(st.sampled_from((0, 1, 20, 400))))
        state, told = decided(entity, state, replace(message, at=at))
        assert state is None or isinstance(state, entity.state)
        assert {type(one) for one in told} <= routes().keys()
        if state is not None and state.is_due(at):
            state, _ = decided(entity, state, Wake(id="w", at=at, key="k"))
            assert state is None or not state.is_due(at), "it would be woken for ever"
