"""The city on the real platform: every coin is accounted for, and books that were cooked are told."""

import asyncio
from pathlib import Path

import httpx

from tests.command_line import fresh_olo
from tests.lab.city.books import Books
from tests.lab.city.phone import Entry, Phone, Sights
from tests.living import SmallCity


def test_a_small_city_lives_and_its_books_are_right(small_city: SmallCity) -> None:
    city, books = small_city
    assert (city.sights.errors, city.sights.unfinished, books.broken) == ([], [], [])
    assert city.campaigns is not None
    assert city.campaigns.sums["installs"] > 0
    assert city.campaigns.sums["owed"] == city.campaigns.sums["accepted"] > 0
    assert books.sums["entries seen"] > 0
    assert min(city.talk_sums[what] for what in ("messages", "items seen", "notifications")) > 0
    sums = books.sums
    held = sums["on accounts"] - sums["owed"] + sums["platform's margin"] + sums["coins paid out"]
    assert city.sights.granted_coins + sums["coins bought"] == held
    assert sums["cash"] == sums["cash in the warehouse"] > 0
    assert sums["cents paid"] == sums["cents by provider and bank"]


def test_an_entry_that_does_not_follow_is_told() -> None:
    async def hear() -> list[str]:
        sights = Sights()
        phone = Phone("ann", "t", httpx.AsyncClient(), sights)
        phone.entries["ann/coins"] = [Entry(1, 0, 0, "start", "")]
        entry = {"account": "ann/coins", "seq": 2, "coins": 5, "balance_coins": 5, "reason": "grant"}
        phone._event("EntryRecorded", entry)
        phone._event("EntryRecorded", entry | {"seq": 4, "balance_coins": 10})
        phone._event("EntryRecorded", entry | {"seq": 5, "balance_coins": 99})
        return sights.errors

    missing, sum_ = asyncio.run(hear())
    assert "entry 4 after 2" in missing
    assert "does not add up" in sum_


def test_coins_that_are_nowhere_are_told() -> None:
    sights = Sights()
    sights.granted_coins = 5
    books = Books([], sights)
    asyncio.run(books.close())
    (broken,) = books.broken
    assert broken.startswith("5 coins were granted and 0 bought, 0 are on accounts")


def test_a_city_without_a_platform_is_one_line(tmp_path: Path) -> None:
    done = fresh_olo("city", environment={"OLO_HOME": str(tmp_path), "PATH": "/usr/bin"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nothing runs here" in done.stderr
