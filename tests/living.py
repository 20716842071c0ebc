"""A small city on the run's platform: it lives while tests look at it, and closes its books behind them."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Final

import pytest
from rich.console import Console

from tests.lab.city.books import Books
from tests.lab.city.town import City, Plan
from tests.lab.stage import Stage
from tests.vendor_stub import AdStub

PEOPLE: Final = 10
LIVES_S: Final = 12.0
MOVES_IN_WITHIN_S: Final = 120.0
SmallCity = tuple[City, Books]


class LivingCity:
    """A city that lives in a thread of its own, for LIVES_S at least, until its books are asked for."""

    def __init__(self, city: City) -> None:
        self.city = city
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._books: list[Books] = []
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        began = time.monotonic()
        while not city.moved_in.is_set():
            assert self._thread.is_alive(), "the city did not move in"
            assert time.monotonic() < began + MOVES_IN_WITHIN_S, "the city did not move in in time"
            time.sleep(0.05)
        self._until = time.monotonic() + LIVES_S

    @property
    def payer(self) -> str:
        """One of those who pay."""
        return self.city.people[-1].phone.user

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            self._books.append(runner.run(self.city.run(self._stop)))

    def end(self) -> Books:
        """Its books, when people have gone home."""
        time.sleep(max(0.0, self._until - time.monotonic()))
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        (books,) = self._books
        return books


@pytest.fixture(scope="session")
def living_city(stack: Stage, networks: AdStub) -> Iterator[LivingCity]:
    """Ten people who come by campaigns, and live until `small_city` is asked for."""
    living = LivingCity(City(stack.http, stack.config, Plan(PEOPLE, 0, 7, 30.0), Console(quiet=True), networks.url))
    yield living
    living.end()


@pytest.fixture(scope="session")
def small_city(living_city: LivingCity) -> SmallCity:
    """The city that has lived, and its books."""
    return living_city.city, living_city.end()
