"""How refusals are told: each part's table `REFUSED` gives a refusal its HTTP status, its words, and when to ask again.

Words may name fields of the refusing fact: "{user} is banned". The refusal itself is the problem's stable `code`, and a fact's
`shortfall_coins` and what a daily cap leaves (`cap_room`) go along where there are any. Two enumerations may have members of
the same value, which Python takes for equal; the tables are therefore put together by enumeration.
"""

import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum
from string import Formatter
from typing import Any, Final, TypeAlias

from fastapi import Request

from schemas.balance_cap import CapRoom
from schemas.log.base import Fact
from serving.runtime.problems import Problem

log = logging.getLogger("olo.serving")

# Status, words, and where the same request may be taken later: after how many seconds.
Row: TypeAlias = tuple[int, str] | tuple[int, str, int]
Refusals: TypeAlias = Mapping[StrEnum, Row]

SHORTFALL: Final = "shortfall_coins"
# What each part says to, and of, a user who was erased.
USER_ERASED: Final[Row] = (403, "{user} was erased: nothing is known of them any more, and nothing new begins")


class RefusalTables:
    """The tables of all parts. Errors: ValueError, where two of them have a row for the same refusal."""

    def __init__(self, tables: Iterable[Refusals]) -> None:
        self.rows: dict[type[StrEnum], dict[StrEnum, Row]] = {}
        for table in tables:
            for refusal, row in table.items():
                if self.rows.setdefault(type(refusal), {}).setdefault(refusal, row) is not row:
                    raise ValueError(f"two tables have a row for {refusal!r}")

    def problem(self, refusal: StrEnum, **fields: Any) -> Problem:
        """A refusal as HTTP tells it; `fields`: what its words name."""
        row = self.rows.get(type(refusal), {}).get(refusal)
        if row is None:
            log.error("no table has a row for the refusal %r", refusal)
            return Problem(500, "unexpected_refusal", f"refused, and this server has no words for it: {refusal}")
        status, words, *retry_after_s = row
        headers = {"Retry-After": str(retry_after_s[0])} if retry_after_s else None
        return Problem(status, refusal, words.format(**fields), headers=headers)

    def problem_of(self, fact: Fact) -> Problem:
        """The refusal of a fact as HTTP tells it."""
        refusal = fact.refused
        assert refusal is not None
        row = self.rows.get(type(refusal), {}).get(refusal)
        problem = self.problem(refusal, **{name: getattr(fact, name, "") for name in (fields_in(row[1]) if row else ())})
        if shortfall_coins := getattr(fact, SHORTFALL, 0):
            problem.more[SHORTFALL] = shortfall_coins
        if room := getattr(fact, "cap_room", None):
            problem.more |= cap_fields(room)
        return problem


def fields_in(words: str) -> list[str]:
    """The fields that a row's words name."""
    return [name for _, name, _, _ in Formatter().parse(words) if name]


def cap_fields(room: CapRoom) -> dict[str, Any]:
    """What a problem says of a daily cap."""
    return {"left_coins": room.left_coins} | ({"more_at": room.more_at.isoformat()} if room.more_at else {})


def refusal_of(request: Request, refusal: StrEnum, **fields: Any) -> Problem:
    """The same refusal, where a route sees for itself that the command would be refused, or that there is nothing to show."""
    tables: RefusalTables = request.app.state.refusals
    return tables.problem(refusal, **fields)
