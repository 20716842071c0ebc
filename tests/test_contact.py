"""Blocks count by contact: only between people who met, once for a reason, and only from those who have signed up."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocklist import decide_record
from pipelines.contact import decide_contact
from schemas.billing_rules import CallKind
from schemas.blocklist import (
    SHIPPED_RULES,
    BlockReason,
    BlockRule,
    Consequence,
    ConsequenceDrawn,
    CountBlock,
    CountContact,
    UserBlocked,
    UserUnblocked,
    VouchBlock,
)
from schemas.chat import ItemPosted
from schemas.gift import GiftSent
from schemas.interaction import CONTACT, MET_FOR, PENDING_FOR, ContactInbox, ContactMade
from schemas.log.base import Message, UserId, Wake
from schemas.pair import pair_of
from schemas.user import Ban, Role, UserSignedUp
from schemas.video import CallEnded, EndReason
from tests.decisions import all_decisions, decisions_of
from tests.long_lists import long_lists

decide = decisions_of(decide_contact)
decide_blocked = decisions_of(decide_record)
T: Final = datetime(2030, 1, 1, tzinfo=UTC)
VIC: Final = UserId("vic")
RULE: Final = BlockRule("rude", BlockReason.HARASSMENT, 3, 86_400, Consequence.BAN)


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def talk(user: str, seconds: float = 0, *, connected: bool = True, kind: CallKind = CallKind.DIRECT) -> CallEnded:
    return CallEnded(
        id=f"c-{user}-{seconds}", at=at(seconds), cause="x", call="c", caller=UserId(user), callee=VIC, kind=kind,
        reason=EndReason.HUNG_UP, connected=connected, duration_s=9.0 * connected,
    )  # fmt: skip


def gift(sender: str, receiver: str = "vic", seconds: float = 0) -> GiftSent:
    return GiftSent(
        id=f"g-{sender}-{seconds}", at=at(seconds), cause="x", gift="g", sender=UserId(sender), receiver=UserId(receiver),
        item="rose", price_coins=5, share_coins=2,
    )  # fmt: skip


def note(sender: str, receiver: str = "vic", seconds: float = 0) -> ItemPosted:
    return ItemPosted(
        id=f"n-{sender}-{receiver}-{seconds}", at=at(seconds), cause="x", pair=pair_of(sender, receiver), user=UserId(sender),
        peer=UserId(receiver), seq=1, ref="m",
    )  # fmt: skip


def block(
    user: str, seconds: float = 1, reason: BlockReason = BlockReason.HARASSMENT, rules: tuple[BlockRule, ...] = (RULE,)
) -> UserBlocked:
    return UserBlocked(
        id=f"b-{user}-{seconds}", at=at(seconds), cause="x", user=UserId(user), peer=VIC, reason=reason, rules=rules
    )


def unblock(user: str, seconds: float = 2) -> UserUnblocked:
    return UserUnblocked(id=f"u-{user}-{seconds}", at=at(seconds), cause="x", user=UserId(user), peer=VIC)


def vouched(*messages: ContactInbox) -> list[Any]:
    heard = [message for message in messages if key_of(message)]
    return [one for one in all_decisions(decide, *heard)[1] if isinstance(one, VouchBlock)]


def key_of(message: ContactInbox) -> str:
    """The pair that hears of it; empty: none does."""
    (key,) = {heard.key(message) for heard in CONTACT.hears if type(message) is heard.fact and callable(heard.key)}
    return str(key)


ROWS: list[tuple[str, tuple[ContactInbox, ...], int]] = [
    ("met in a call", (talk("a"), block("a")), 1),
    ("gave a gift", (gift("a"), block("a")), 1),
    ("was given one", (gift("vic", "a"), block("a")), 1),
    ("was written to", (note("vic", "a"), block("a")), 1),
    ("wrote only", (note("a"), note("a", seconds=1), block("a", 2)), 0),
    ("wrote, and was answered", (note("a"), note("vic", "a", 1), block("a", 2)), 1),
    ("the block overtakes the message", (block("a"), note("vic", "a", 2)), 1),
    ("never met", (block("a"),), 0),
    ("rang only", (talk("a", connected=False), block("a")), 0),
    ("watched a clip", (talk("a", kind=CallKind.CLIP), block("a")), 0),
    ("the block ends the call", (block("a"), talk("a", 2)), 1),
    ("met a day later", (block("a"), talk("a", 2 + PENDING_FOR.total_seconds())), 0),
    ("taken back before the call ends", (block("a"), unblock("a"), talk("a", 3)), 0),
    ("taken back afterwards", (talk("a"), block("a"), unblock("a")), 1),
    ("again and again", (talk("a"), block("a"), unblock("a"), block("a", 3), unblock("a", 4), block("a", 90_000)), 1),
    ("for two reasons", (talk("a"), block("a"), block("a", 2, BlockReason.SPAM)), 2),
    ("met twice", (talk("a"), talk("a", 5), gift("a", seconds=6), block("a", 7)), 1),
]


@pytest.mark.parametrize(("name", "messages", "counts"), ROWS, ids=[row[0] for row in ROWS])
def test_who_counts(name: str, messages: tuple[ContactInbox, ...], counts: int) -> None:
    assert len(vouched(*messages)) == counts, name


def test_a_meeting_is_told_once_to_both_and_forgotten_after_a_year() -> None:
    meetings: list[ContactInbox] = [talk("a"), talk("a", 5), gift("a", seconds=6)]
    contact, told = all_decisions(decide, *meetings)
    assert [type(one) for one in told] == [ContactMade, CountContact, CountContact]
    assert {one.user for one in told[1:]} == {"a", "vic"}
    assert contact.wake_at == at(6) + MET_FOR
    assert decide(contact, Wake(id="w", at=contact.wake_at, key="a/vic")) == (None, ())
    waits, _ = decide(None, block("a"))
    assert decide(waits, unblock("a"))[0] is None, "a stranger's block leaves nothing behind"


class House:
    """All pairs and records: what one tells, the other decides."""

    def __init__(self, signed_up: dict[str, float]) -> None:
        self.contacts: dict[str, Any] = {}
        self.records: dict[str, Any] = {}
        self.drawn: list[Message] = []
        for user, seconds in signed_up.items():
            known = UserSignedUp(id=f"s-{user}", at=at(seconds), cause="x", user=UserId(user), role=Role.STREAMER)
            self.records[user], _ = decide_blocked(None, known)

    def say(self, message: Any) -> None:
        if isinstance(message, CountContact | VouchBlock | CountBlock):
            self.records[message.user], told = decide_blocked(self.records.get(message.user), message)
        else:
            key = key_of(message)
            self.contacts[key], told = decide(self.contacts.get(key), message) if key else (None, ())
        for one in told:
            if isinstance(one, ContactMade):
                assert one.pair == pair_of(one.user, one.peer)
            elif isinstance(one, CountContact | VouchBlock | CountBlock):
                self.say(one)
            else:
                self.drawn.append(one)


def test_strangers_and_tokens_without_a_sign_up_harm_nobody() -> None:
    house = House({"vic": -9})
    for n in range(9):
        house.say(block(f"troll{n}", rules=SHIPPED_RULES))
        house.say(block(f"troll{n}", 2, BlockReason.INDECENCY, SHIPPED_RULES))
        house.say(talk(f"puppet{n}", 3))  # as if it could: a puppet that met vic, and never signed up
        house.say(block(f"puppet{n}", 4, rules=SHIPPED_RULES))
    assert house.drawn == []


@pytest.mark.parametrize(
    ("more", "young", "met", "drawn"),
    [
        ({"min_age_s": 3600}, 0, 3, True),
        ({"min_age_s": 3600}, 1, 3, False),
        ({"percent": 30}, 0, 10, True),
        ({"percent": 31}, 0, 10, False),
        ({"percent": 100}, 0, 3, True),
    ],
)
def test_rules_ask_for_the_age_of_accounts_and_for_a_share_of_contacts(
    more: dict[str, Any], young: int, met: int, drawn: bool
) -> None:
    rule = BlockRule("rude", BlockReason.HARASSMENT, 3, 86_400, Consequence.BAN, **more)
    house = House({"vic": -9_999.0} | {f"p{n}": -3_599.0 if n < young else -3_600.0 for n in range(3)})
    for n in range(met):
        house.say(talk(f"p{n}"))
    for n in range(3):
        house.say(block(f"p{n}", 0, rules=(rule,)))
    assert [type(one) for one in house.drawn] == ([ConsequenceDrawn, Ban] if drawn else [])


people = st.sampled_from("abcdef")


@given(
    st.sets(people, max_size=6),
    long_lists(st.tuples(st.sampled_from(("talk", "gift", "ring", "write", "answer", "block", "unblock")), people), 40),
)
def test_random_blockers_count_as_a_naive_model_counts_them(signed_up: set[str], script: list[tuple[str, str]]) -> None:
    """The model: sets of who has met vic, whose block waits, and who has counted."""
    house = House({"vic": -9} | dict.fromkeys(signed_up, -9.0))
    met, waits, counted = set[str](), set[str](), set[str]()
    for second, (what, who) in enumerate(script):
        if what in ("talk", "gift"):
            house.say(talk(who, second) if what == "talk" else gift(who, seconds=second))
            met.add(who)
        elif what == "write":  # by which the writer has met nobody: vic has met the writer
            house.say(note(who, seconds=second))
        elif what == "answer":
            house.say(note("vic", who, second))
            met.add(who)
        elif what == "ring":
            house.say(talk(who, second, connected=False))
        elif what == "block":
            house.say(block(who, second))
            waits.add(who)
        else:
            house.say(unblock(who, second))
            waits.discard(who)
        counted |= {one for one in waits & met if one in signed_up}
        record = house.records["vic"]
        assert {one.by for one in record.counted} == counted
        assert len(record.counted) == len(counted)
        assert record.met == len(met)
        assert bool(house.drawn) is (len(counted) >= RULE.blocks)
        assert len([one for one in house.drawn if isinstance(one, Ban)]) <= 1
