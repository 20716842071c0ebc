"""Blocks: refusals by table; what follows from them by rule; what a review takes back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines import blocklist
from schemas.balance import Credit, EntryKind, EntryRecorded, Transfer
from schemas.blocklist import (
    MAX_CASES,
    MAX_COUNTED,
    MAX_NAMED,
    SHIPPED_RULES,
    BlockReason,
    BlockRefusal,
    BlockRule,
    BlocksInbox,
    BlockUser,
    Consequence,
    ConsequenceDrawn,
    CountBlock,
    Review,
    UnblockUser,
    VouchBlock,
)
from schemas.log.base import AccountId, Message, UserId
from schemas.user import Ban, Role, Unban, UserBanned, UserErased, UserSignedUp, UserUnbanned
from schemas.video_line import Bar, PartFrom, Unbar
from tests.decisions import all_decisions, decisions_of, last_decision
from tests.people import BOB, SUE

decide = decisions_of(blocklist.decide_blocks)
decide_record = decisions_of(blocklist.decide_record)
T = datetime(2030, 1, 1, tzinfo=UTC)


def block(peer: str = "sue", reason: BlockReason = BlockReason.SPAM) -> BlockUser:
    return BlockUser(id=f"b-{peer}-{reason}", at=T, user=BOB, peer=UserId(peer), reason=reason)


UNBLOCK = UnblockUser(id="u", at=T, user=BOB, peer=SUE)


after = partial(last_decision, decide)


def test_each_refusal_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocklist, "MAX_BLOCKS", 2)
    rows: list[tuple[tuple[BlocksInbox, ...], BlockRefusal]] = [
        ((block("bob"),), BlockRefusal.SAME_USER),
        ((block("a"), block("b"), block("c")), BlockRefusal.TOO_MANY_BLOCKS),
        ((UNBLOCK,), BlockRefusal.NOT_BLOCKED),
        ((UserErased(id="e", at=T, cause="x", user=UserId("bob")), block("sue")), BlockRefusal.USER_ERASED),
    ]
    for messages, refusal in rows:
        _, (fact,) = after(*messages)
        assert fact.refusal is refusal
    _, (fact,) = decide_record(None, Review(id="r", at=T, user=SUE, case="none", upheld=True, by="root"))
    assert {refusal for _, refusal in rows} | {fact.refusal} == set(BlockRefusal)


def test_a_block_bars_on_the_blockers_side_once_and_parts_the_two() -> None:
    _, told = after(block())
    assert [(one.user, one.peer) for one in told if isinstance(one, Bar)] == [("bob", "sue")]
    assert [(one.user, one.peer) for one in told if isinstance(one, PartFrom)] == [("sue", "bob")]
    _, told = after(block(), block())
    assert [type(one).__name__ for one in told] == ["UserBlocked"]
    _, told = after(block(), block(reason=BlockReason.HARASSMENT))
    assert [type(one).__name__ for one in told] == ["UserBlocked"]
    _, told = after(block(), UNBLOCK)
    assert [(one.user, one.peer) for one in told if isinstance(one, Unbar)] == [("bob", "sue")]


def count(by: str, reason: BlockReason, days: float = 0.0, user: str = "sue") -> CountBlock:
    at = T + timedelta(days=days)
    return CountBlock(id=f"c-{by}-{days}", at=at, user=UserId(user), by=UserId(by), reason=reason, rules=SHIPPED_RULES)


def record_of(role: Role, *messages: CountBlock) -> tuple[Any, Sequence[Any]]:
    record, _ = decide_record(None, UserSignedUp(id="s", at=T, cause="x", user=SUE, role=role))
    return all_decisions(decide_record, *messages, state=record)


@pytest.mark.parametrize(
    ("role", "counts", "consequence"),
    [
        (Role.STREAMER, [count(by, BlockReason.INDECENCY) for by in "abc"], Transfer),
        (Role.USER, [count(by, BlockReason.INDECENCY) for by in "abc"], None),
        (Role.STREAMER, [count(by, BlockReason.INDECENCY) for by in "aab"], None),
        (Role.STREAMER, [count(by, BlockReason.INDECENCY, days) for days, by in enumerate("abc")], None),
        (Role.USER, [count(by, BlockReason.HARASSMENT) for by in "abcde"], Ban),
        (Role.USER, [count(by, BlockReason.HARASSMENT) for by in "abcd"], None),
        (Role.USER, [count(by, BlockReason.HARASSMENT) for by in "abcdefgh"], Ban),
        (Role.USER, [count(by, BlockReason.SPAM) for by in "abcdefgh"], None),
    ],
)
def test_rules_turn_blocks_into_consequences(role: Role, counts: list[CountBlock], consequence: type[Message] | None) -> None:
    _, told = record_of(role, *counts)
    assert [type(one) for one in told if not isinstance(one, ConsequenceDrawn)] == ([consequence] if consequence else [])
    assert len([one for one in told if isinstance(one, ConsequenceDrawn)]) == bool(consequence)


def test_a_review_gives_back_what_was_taken_and_lifts_the_ban_once() -> None:
    record, told = record_of(Role.STREAMER, *(count(by, BlockReason.INDECENCY) for by in "abc"))
    (case,) = record.cases
    (penalty,) = [one for one in told if isinstance(one, Transfer)]
    paid = EntryRecorded(
        id="e", at=T, cause=penalty.id, account=AccountId("sue/earnings"), seq=2, kind=EntryKind.DEBIT, balance_coins=0,
        held_coins=0, coins=-penalty.coins, reason="penalty", ref=penalty.ref,
    )  # fmt: skip
    record, _ = decide_record(record, paid)
    review = Review(id="r", at=T, user=SUE, case=case.case, upheld=False, by="root")
    record, told = decide_record(record, review)
    assert [one.coins for one in told if isinstance(one, Credit)] == [penalty.coins]
    _, (again,) = decide_record(record, review)
    assert again.refusal is BlockRefusal.REVIEW_UNKNOWN
    record, _ = record_of(Role.USER, *(count(by, BlockReason.HARASSMENT) for by in "abcde"))
    _, told = decide_record(record, Review(id="r", at=T, user=SUE, case=record.cases[0].case, upheld=False, by="root"))
    assert [type(one) for one in told if isinstance(one, Unban)] == [Unban]


def test_blocks_for_one_reason_do_not_push_out_those_for_another_and_names_are_few() -> None:
    spam = [count(f"s{n}", BlockReason.SPAM) for n in range(MAX_COUNTED + 5)]
    record, told = record_of(Role.STREAMER, *(count(by, BlockReason.INDECENCY) for by in "ab"), *spam)
    assert told == []
    assert len(record.counted) == MAX_COUNTED + 2
    many = [count(f"h{n}", BlockReason.HARASSMENT) for n in range(MAX_NAMED + 5)]
    rule = BlockRule("many", BlockReason.HARASSMENT, MAX_NAMED + 3, 3600, Consequence.BAN)
    _, (drawn, _) = record_of(Role.USER, *(replace(one, rules=(rule,)) for one in many))
    assert drawn.by == tuple(f"h{n}" for n in range(3, MAX_NAMED + 3))
    far = BlockRule("far", BlockReason.SPAM, 1_000, 366 * 86_400, Consequence.BAN)
    _, told = record_of(Role.USER, *(replace(one, rules=(far,)) for one in spam))
    assert len(told) == 2, "a rule that asks for more than are counted fires at as many"


def test_of_the_cases_that_there_is_no_room_for_the_looked_at_go_first_and_none_has_anothers_name() -> None:
    rule = BlockRule("often", BlockReason.SPAM, 1, 60, Consequence.PENALTY, coins=1)
    other = BlockRule("once", BlockReason.UNDERAGE, 1, 366 * 86_400, Consequence.BAN)
    blocks = [replace(count("a", BlockReason.SPAM, n / 100), rules=(rule,)) for n in range(MAX_CASES + 10)]
    record, told = record_of(Role.USER, replace(count("b", BlockReason.UNDERAGE), rules=(other,)), *blocks)
    names = [case.case for case in record.cases]
    assert len(names) == len(set(names)) == MAX_CASES
    assert len({one.case for one in told if isinstance(one, ConsequenceDrawn)}) == MAX_CASES + 11
    assert names[0] == "once-1", "the newest case of a rule keeps it from firing again"
    looked_at, _ = decide_record(record, Review(id="r", at=T, user=SUE, case=names[5], upheld=True, by="root"))
    after, _ = decide_record(looked_at, replace(count("a", BlockReason.SPAM, 9), rules=(rule,)))
    assert [case.case for case in after.cases][:-1] == [name for name in names if name != names[5]]


def test_only_who_has_signed_up_and_is_not_banned_vouches_for_a_block() -> None:
    """A block may cost a streamer coins: the blocker's own record asks, not the door only."""
    vouch = VouchBlock(id="v", at=T, user=BOB, peer=SUE, reason=BlockReason.SPAM, rules=())
    assert decide_record(None, vouch) == (None, ())
    record, _ = decide_record(None, UserSignedUp(id="u", at=T, cause="x", user=BOB, role=Role.USER))
    assert [type(one) for one in decide_record(record, vouch)[1]] == [CountBlock]
    banned, _ = decide_record(record, UserBanned(id="b", at=T, cause="x", user=BOB, reason="r"))
    assert decide_record(banned, vouch) == (banned, ())
    again, _ = decide_record(banned, UserUnbanned(id="n", at=T, cause="x", user=BOB))
    assert again == record


def test_a_review_of_somebody_unknown_leaves_no_record() -> None:
    after, (told,) = decide_record(None, Review(id="m", at=T, user=UserId("stranger"), case="spam-1", upheld=True, by="root"))
    assert (after, told.refusal) == (None, BlockRefusal.REVIEW_UNKNOWN)
