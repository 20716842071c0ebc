"""Turns at the door: nobody's many hold up another's one, whatever the order in which they come."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.runtime.turns import Queues, Turns
from tests.long_lists import long_lists

NAMES = long_lists(st.sampled_from("abcde"), 60)


@given(NAMES)
def test_all_that_was_put_is_taken_once_and_in_order_of_each_name(names: list[str]) -> None:
    queues = Queues[int]()
    for number, name in enumerate(names):
        queues.put(name, number)
    taken = []
    while queues:
        taken.append(queues.take())
    assert sorted(number for _, number in taken) == list(range(len(names)))
    for name in set(names):
        assert [n for of, n in taken if of == name] == [n for n, of in enumerate(names) if of == name]
    with pytest.raises(KeyError):
        queues.take()


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=60), st.integers(0, 60))
def test_who_wants_one_thing_waits_for_two_for_each_other_name_at_most(names: list[str], before: int) -> None:
    """Law: whatever others want and have had, it is as many as there are others that counts, not how much they want."""
    queues = Queues[int]()
    for number, name in enumerate(names):
        queues.put(name, number)
    for _ in range(min(before, len(names) - 1)):
        queues.take()
    queues.put("mine", -1)
    waited = 0
    while queues.take()[0] != "mine":
        waited += 1
    assert waited <= 2 * len(set(names)) + 1


@given(NAMES)
def test_few_begin_in_one_turn_of_the_loop_and_all_begin(names: list[str]) -> None:
    async def run() -> list[int]:
        turns, turn, begun = Turns(at_once=3), 0, list[int]()

        async def one(name: str) -> None:
            await turns.mine(name)
            begun.append(turn)

        tasks = [asyncio.ensure_future(one(name)) for name in names]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            turn += 1
        return begun

    begun = asyncio.run(run())
    assert len(begun) == len(names)
    assert max(Counter(begun).values(), default=0) <= 3


def test_who_gave_up_takes_nobodys_turn() -> None:
    async def run() -> list[str]:
        turns, begun = Turns(at_once=1), list[str]()

        async def one(name: str) -> None:
            await turns.mine(name)
            begun.append(name)

        tasks = [asyncio.ensure_future(one(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks)
        return begun

    assert asyncio.run(run()) == ["a", "c"]
