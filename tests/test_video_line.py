"""A line's refusals, a row each; who takes it, who waits, and who is kept apart."""

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
from msgspec.structs import replace

from pipelines.video_line import decide_line
from schemas.log.base import UserId, Wake
from schemas.user import CameOnline, Role, UserBanned, UserSignedUp
from schemas.video import EndCall, EndReason
from schemas.video_line import (
    APART_FOR,
    ASK_EVERY,
    AdmitGift,
    AdmitViewer,
    Bar,
    EnterPool,
    JoinRoulette,
    LeaveRoulette,
    Line,
    LineFreed,
    LineInbox,
    LineRefusal,
    PartFrom,
    QuitPool,
    ReleaseLine,
    SeizeLine,
    Unbar,
    mark_of,
)
from tests.decisions import decisions_of, last_decision
from tests.people import BOB, SUE

decide = decisions_of(decide_line)
T = datetime(2030, 1, 1, tzinfo=UTC)
SIGNED_UP = UserSignedUp(id="u", at=T, cause="x", user=SUE, role=Role.STREAMER)
SUPPORT = UserSignedUp(id="u", at=T, cause="x", user=SUE, role=Role.SUPPORT)
ONLINE = CameOnline(id="o", at=T, cause="x", user=SUE)
BANNED = UserBanned(id="b", at=T, cause="x", user=SUE, reason="r", by="root")
JOIN = JoinRoulette(id="j", at=T, user=SUE)
BAR = Bar(id="bar", at=T, user=SUE, peer=BOB)
PART = PartFrom(id="part", at=T, user=SUE, peer=BOB)


def seize(call: str = "c", peer: str = "bob") -> SeizeLine:
    return SeizeLine(id=f"s-{call}", at=T, user=SUE, call=call, peer=peer)


after = partial(last_decision, decide)


REFUSALS = [
    ((seize(),), LineRefusal.UNKNOWN),
    ((SUPPORT, ONLINE, seize()), LineRefusal.NO_TALKER),
    ((SUPPORT, ONLINE, JOIN), LineRefusal.NO_TALKER),
    ((SUPPORT, ONLINE, AdmitGift(id="g", at=T, user=SUE, gift="g", peer=BOB)), LineRefusal.NO_TALKER),
    ((SIGNED_UP, ONLINE, BANNED, seize()), LineRefusal.BANNED),
    ((SIGNED_UP, ONLINE, BAR, seize()), LineRefusal.BLOCKED),
    ((SIGNED_UP, seize()), LineRefusal.OFFLINE),
    ((SIGNED_UP, ONLINE, seize("c1"), seize("c2")), LineRefusal.BUSY),
    ((JOIN,), LineRefusal.UNKNOWN),
    ((SIGNED_UP, JOIN), LineRefusal.OFFLINE),
    ((SIGNED_UP, ONLINE, seize(), JOIN), LineRefusal.BUSY),
    ((SIGNED_UP, ONLINE, JOIN, JOIN), LineRefusal.WAITING),
    ((SIGNED_UP, ONLINE, LeaveRoulette(id="l", at=T, user=SUE)), LineRefusal.NOT_WAITING),
    ((SIGNED_UP, ONLINE, BAR, AdmitGift(id="g", at=T, user=SUE, gift="g", peer=BOB)), LineRefusal.BLOCKED),
]


@pytest.mark.parametrize(("messages", "refusal"), REFUSALS)
def test_each_refusal_by_name(messages: tuple[LineInbox, ...], refusal: LineRefusal) -> None:
    _, (fact,) = after(*messages)
    assert fact.refusal is refusal


def test_every_refusal_has_its_row() -> None:
    assert {refusal for _, refusal in REFUSALS} == set(LineRefusal)


def test_the_same_call_may_take_its_line_twice() -> None:
    line, (fact,) = after(SIGNED_UP, ONLINE, seize(), seize())
    assert (line.call, fact.call) == ("c", "c")


def test_who_is_called_waits_no_more_and_looks_on_after_a_decline() -> None:
    line, told = after(SIGNED_UP, ONLINE, JOIN, seize())
    assert [one for one in told if isinstance(one, QuitPool)]
    line, more = decide(line, ReleaseLine(id="r", at=T, user=SUE, call="c", again=True, met=True))
    (entry,) = [one for one in more if isinstance(one, EnterPool)]
    assert (line.call, entry.last_partner, entry.met_at) == ("", "bob", T)


def test_who_waits_asks_again_until_the_wait_is_over() -> None:
    line, told = after(SIGNED_UP, ONLINE, BAR, JOIN)
    (entry,) = [one for one in told if isinstance(one, EnterPool)]
    assert entry.bars == (mark_of("bob"),)
    assert ASK_EVERY * 0.75 <= line.wake_at - T <= ASK_EVERY * 1.25
    assert decide(line, Wake(id="stale", at=T, key="sue")) == (line, ())
    again, (entry,) = decide(line, Wake(id="w", at=line.wake_at, key="sue"))
    assert (entry.user, entry.since, again.waiting_since) == ("sue", T, T)
    assert again.wake_at > line.wake_at
    left, _ = decide(again, LeaveRoulette(id="l", at=T, user=SUE))
    assert left.wake_at is None
    assert decide(left, Wake(id="w", at=again.wake_at, key="sue")) == (left, ())


def test_who_waits_asks_as_soon_as_the_last_partner_is_allowed_again() -> None:
    line, _ = after(SIGNED_UP, ONLINE, seize(), ReleaseLine(id="r", at=T, user=SUE, call="c", again=True, met=True))
    asked: list[datetime] = []
    while len(asked) < 8:
        line, (entry,) = decide(line, Wake(id="w", at=line.wake_at, key="sue"))
        asked.append(entry.at)
    assert T + APART_FOR in asked
    assert all(late - early <= ASK_EVERY * 1.25 for early, late in pairwise([T, *asked]))


def test_a_block_and_a_ban_end_the_call_that_runs() -> None:
    _, (end,) = after(SIGNED_UP, ONLINE, seize(), BAR)
    assert (type(end), end.reason) == (EndCall, EndReason.BLOCKED)
    _, told = after(SIGNED_UP, ONLINE, seize(), BANNED)
    assert [one.reason for one in told if isinstance(one, EndCall)] == [EndReason.BANNED]
    _, told = after(SIGNED_UP, ONLINE, seize(peer="cat"), BAR)
    assert told == [], "a block of somebody else ends nothing"


def test_a_block_stands_once_and_is_taken_back() -> None:
    line, _ = after(SIGNED_UP, ONLINE, BAR, BAR)
    assert isinstance(line, Line)
    assert line.barred == ("bob",)
    assert decide(line, Unbar(id="ub", at=T, user=SUE, peer=BOB))[0].barred == ()


def test_who_is_blocked_is_parted_from_the_blocker_and_remembers_nothing() -> None:
    line, told = after(SIGNED_UP, ONLINE, seize(), PART)
    assert [(type(one), one.reason) for one in told] == [(EndCall, EndReason.BLOCKED)]
    assert line.barred == ()
    assert decide(line, replace(PART, peer="cat")) == (line, ())
    assert decide(None, PART) == (None, ())


@pytest.mark.parametrize(("before", "refusal"), [
    ((SIGNED_UP,), None), ((SIGNED_UP, ONLINE, BAR), LineRefusal.BLOCKED), ((SIGNED_UP, BANNED), LineRefusal.BANNED),
    ((), LineRefusal.UNKNOWN),
])  # fmt: skip
def test_a_streamers_side_says_who_may_watch(before: tuple[LineInbox, ...], refusal: LineRefusal | None) -> None:
    _, (fact,) = after(*before, AdmitViewer(id="w", at=T, user=SUE, call="c", peer=BOB))
    assert (fact.call, fact.refusal) == ("c", refusal)


@pytest.mark.parametrize("message", [
    JoinRoulette(id="m", at=T, user=UserId("stranger")),
    LeaveRoulette(id="m", at=T, user=UserId("stranger")),
    SeizeLine(id="m", at=T, user=UserId("stranger"), call="c", peer="bob"),
])  # fmt: skip
def test_a_refused_message_leaves_no_line_of_somebody_unknown(message: LineInbox) -> None:
    after, told = decide(None, message)
    assert after is None
    assert [type(one).__name__ for one in told] == ["LineRefused"]


def test_who_did_nothing_wrong_keeps_the_place() -> None:
    early, late = T + timedelta(seconds=30), T + timedelta(seconds=60)
    for keeps, since in ((True, T), (False, late)):
        line, _ = after(SIGNED_UP, ONLINE, JOIN, replace(seize(), at=early), replace(seize(), at=early))
        line, more = decide(line, ReleaseLine(id="r", at=late, user=SUE, call="c", again=True, keeps=keeps))
        (entry,) = [one for one in more if isinstance(one, EnterPool)]
        assert (entry.since, line.waiting_since, line.waited_since) == (since, since, None)
    line, _ = after(SIGNED_UP, ONLINE, seize())
    line, more = decide(line, ReleaseLine(id="r", at=late, user=SUE, call="c", keeps=True))
    assert [type(one) for one in more] == [LineFreed], "who did not wait does not begin to"
    line, _ = after(SIGNED_UP, ONLINE, JOIN, seize(), BANNED)
    line, more = decide(line, ReleaseLine(id="r", at=late, user=SUE, call="c", again=True, keeps=True))
    assert [type(one) for one in more] == [LineFreed], "who is banned does not go on"


def test_the_last_partner_is_whom_the_user_met_last() -> None:
    line, _ = after(SIGNED_UP, ONLINE, seize(), ReleaseLine(id="r", at=T, user=SUE, call="c", met=True))
    assert line.last_partner == "bob"
    line, _ = decide(decide(line, seize("d", "cat"))[0], ReleaseLine(id="r2", at=T, user=SUE, call="d"))
    assert line.last_partner == "bob", "a call that did not come about"
    line, _ = decide(decide(line, seize("e", "cat"))[0], ReleaseLine(id="r3", at=T, user=SUE, call="e", met=True))
    assert line.last_partner == "cat"
