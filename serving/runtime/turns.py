"""Turns: what many want done at once is done a little in each turn of the loop, of each of them one, round and round.

An event loop does all that is ready before it looks for more: sixty requests of one address that come together hold up the one
of another by sixty times what each takes. Here that one waits for its own and for one of each other at most.
"""

import asyncio
from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# Requests that one turn of the loop begins; each takes a millisecond or two.
AT_ONCE: Final = 4


class Queues(Generic[T]):
    """A queue for each name; `take` takes the first of one name, then of the next. Every other time it is the turn of those of
    whom nothing was taken yet: who wants one thing does not wait for all who want many (as in fq_codel, RFC 8290)."""

    def __init__(self) -> None:
        self._new: OrderedDict[str, deque[T]] = OrderedDict()
        self._old: OrderedDict[str, deque[T]] = OrderedDict()
        self._turn_of_new = True

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._new or self._old)

    def put(self, name: str, one: T) -> None:
        """At the end of the name's queue."""
        queue = self._old.get(name)
        if queue is None:
            queue = self._new.setdefault(name, deque())
        queue.append(one)

    def take(self) -> tuple[str, T]:
        """Whose turn it is. Errors: KeyError, where nothing waits."""
        queues = self._new if self._new and (self._turn_of_new or not self._old) else self._old
        self._turn_of_new = queues is self._old
        name, queue = queues.popitem(last=False)
        one = queue.popleft()
        if queue:
            self._old[name] = queue
        return name, one


class Turns:
    """`await turns.mine(name)` comes back in a turn of the loop in which few others begin."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._begun = 0
        self._scheduled = False
        self._waiting = Queues[asyncio.Future[None]]()

    async def mine(self, name: str) -> None:
        """Wait until it is this name's turn; not at all, where few have begun."""
        loop = asyncio.get_running_loop()
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._next)
        if self._begun < self._at_once and not self._waiting:
            self._begun += 1
            return
        mine = loop.create_future()
        self._waiting.put(name, mine)
        await mine

    def _next(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < self._at_once:
            _, waits = self._waiting.take()
            if not waits.done():  # its request was given up
                waits.set_result(None)
                self._begun += 1
        self._scheduled = bool(self._begun)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._next)
