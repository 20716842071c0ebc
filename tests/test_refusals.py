"""Every refusal that a client can be told has its row, and every row can be told. Without a broker."""

import ast
from collections.abc import Iterator
from enum import StrEnum
from typing import cast, get_type_hints

import pytest
from msgspec import Struct

from schemas.balance import Refusal
from schemas.chat_message import ChatRefusal
from schemas.favorites import FavoriteRefusal
from schemas.gift import GiftRefusal
from schemas.log.base import Fact, State
from schemas.log.topics import ENTITIES
from schemas.video import CallRefusal
from schemas.video_line import LineRefusal
from serving.parts import parts
from serving.runtime.refusals import Refusals, RefusalTables, Row, fields_in
from tests.sources import ROOT, files, nodes_of, tree_of
from tests.whole import say, untested, unworded

# Members of an enumeration that clients are told of, which no command of serving is ever answered with.
# A list, since members of two enumerations may be equal: they are strings.
INTERNAL: list[tuple[StrEnum, str]] = [
    (LineRefusal.BLOCKED, "roulette is joined without a peer; calls and gifts hear of a block, and tell it in their own words"),
    (CallRefusal.CALLEE_BLOCKS, "who has blocked a caller is offline to the caller"),
    (CallRefusal.CALLEE_BANNED, "likewise who is banned"),
    (CallRefusal.CALLEE_LACKS_COINS, "likewise, to who would earn, whoever cannot pay for the call"),
    (GiftRefusal.RECEIVER_BLOCKS, "who has blocked a sender is not there for the sender"),
    (GiftRefusal.RECEIVER_BANNED, "likewise who is banned"),
    (ChatRefusal.RECEIVER_BLOCKS, "neither side is told who of the two has blocked the other"),
    (ChatRefusal.BLOCKED, "likewise"),
    (ChatRefusal.RECEIVER_BANNED, "likewise who is banned"),
    (FavoriteRefusal.PEER_BLOCKS, "who has blocked a user is not there for the user"),
    (Refusal.HOLD_UNKNOWN, "a transfer holds no coins, and asks for none that are held: only bills do"),
    (Refusal.HOLD_EXISTS, "likewise"),
    (Refusal.HOLD_EXPIRES_IN_PAST, "likewise"),
    (Refusal.HOLD_EXCEEDED, "likewise"),
    (Refusal.TOO_MANY_HOLDS, "likewise"),
]


def name(refusal: StrEnum) -> str:
    """Members of two enumerations may be equal: they are strings."""
    return f"{type(refusal).__name__}.{refusal.name}"


def enumerations(type_: type[Struct]) -> Iterator[type[StrEnum]]:
    """The enumerations of the field `refusal`, of a fact or of a state within it."""
    for field, hint in get_type_hints(type_).items():
        for one in (hint, *getattr(hint, "__args__", ())):
            if isinstance(one, type) and issubclass(one, State):
                yield from enumerations(one)
            elif field == "refusal" and isinstance(one, type) and issubclass(one, StrEnum):
                yield one


def told() -> dict[type[StrEnum], list[type[Fact]]]:
    """Enumeration -> the facts by which a command that serving sends can be refused with it."""
    names = {node.id for file in files("serving") for node in nodes_of(file) if isinstance(node, ast.Name)}
    asked = [entity for entity in ENTITIES if names & {command.__name__ for command in entity.commands}]
    refusing = [fact for entity in asked for fact in entity.facts if fact.refused is not Fact.refused]
    found: dict[type[StrEnum], list[type[Fact]]] = {}
    for fact in refusing:
        kinds = list(enumerations(fact))
        assert kinds, f"{fact.__name__} refuses, and has no field `refusal` of an enumeration (StrEnum)"
        for kind in kinds:
            found.setdefault(kind, []).append(fact)
    return found


TOLD = told()
TABLES = RefusalTables(part.refused for part in parts())
ROWS = [(refusal, row) for table in TABLES.rows.values() for refusal, row in table.items()]


def test_every_refusal_has_a_row_but_for_the_internal_ones() -> None:
    say(unworded(TOLD, TABLES.rows, {name(one) for one, _ in INTERNAL}))
    say([f"{name(one)} has a row: take it out of INTERNAL" for one, _ in INTERNAL if one in TABLES.rows.get(type(one), {})])
    say([f"no command is refused with {name(one)}: take it out of INTERNAL" for one, _ in INTERNAL if type(one) not in TOLD])


def test_every_refusal_has_a_test() -> None:
    refusing = [fact for entity in ENTITIES for fact in entity.facts if fact.refused is not Fact.refused]
    kinds = dict.fromkeys(kind for fact in refusing for kind in enumerations(fact))
    tests = "".join(file.read_text() for file in files("tests") if file.name != "test_refusals.py")
    say(untested(kinds, tests))


def test_every_row_can_be_told() -> None:
    strays = [kind.__name__ for kind in TABLES.rows if kind not in TOLD]
    say([f"REFUSED has rows for {kind}, with which no command that a route sends is refused: take them out" for kind in strays])


@pytest.mark.parametrize(("refusal", "row"), ROWS, ids=[name(refusal) for refusal, _ in ROWS])
def test_a_row_is_an_error_whose_words_name_fields_of_the_fact(refusal: StrEnum, row: Row) -> None:
    status, words, *retry_after_s = row
    assert 400 <= status < 500 or (status == 503 and retry_after_s), "a status of 4xx, or 503 and when to ask again"
    for field in fields_in(words):
        assert field not in ("id", "at", "cause"), f"{{{field}}} tells a client nothing"
        assert any(hasattr(fact, field) for fact in TOLD[type(refusal)]), f"no fact with this refusal has a field {field}"


def test_no_table_has_two_rows_for_one_refusal() -> None:
    for part in parts():
        tree = tree_of(ROOT / f"{part.name.replace('.', '/')}.py")
        tables = [node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "REFUSED"]
        assert sum(len(table.keys) for table in tables if isinstance(table, ast.Dict)) == len(part.refused), part.name
    row: Refusals = {GiftRefusal.SAME_USER: (409, "you cannot give yourself a gift")}
    with pytest.raises(ValueError, match="SAME_USER"):
        RefusalTables([row, cast(Refusals, {GiftRefusal.SAME_USER: (404, "another word for it")})])
