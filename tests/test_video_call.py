"""A call's refusals, a row each, and the ends that only time brings."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines import video_clip
from pipelines.chat import decide_chat
from pipelines.video_call import decide_call
from schemas.balance_cap import CapRoom
from schemas.billing import SHIPPED, BillOpened, BillRefused, EndBill, TariffSelected
from schemas.billing_rating import MAX_STEPS, Side
from schemas.billing_rules import CallKind
from schemas.log.base import UserId, Wake
from schemas.log.entity import without
from schemas.log.topics import FEED, routes
from schemas.user import AskPresence, PresenceTold, Role
from schemas.video import (
    PEER_LOST_AFTER,
    PLACE_TIMEOUT,
    RING_TIMEOUT,
    ROULETTE_TIMEOUT,
    AcceptCall,
    BeatCall,
    CallConnected,
    CallEnded,
    CallInbox,
    CallRefusal,
    CallRefused,
    CallRinging,
    CallStatus,
    DeclineCall,
    EndCall,
    EndReason,
    HangUp,
    OpenRoom,
    PlaceCall,
)
from schemas.video_clip import PlayClip
from schemas.video_line import LineRefusal, LineRefused, LineSeized, ReleaseLine
from tests.decisions import all_decisions, decisions_of, last_decision
from tests.people import BOB, SUE

decide = decisions_of(decide_call)
T = datetime(2030, 1, 1, tzinfo=UTC)
TARIFF = SHIPPED[0]


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def place(callee: str = "sue", kind: CallKind = CallKind.DIRECT) -> PlaceCall:
    return PlaceCall(
        id="p", at=T, call="c", caller=BOB, callee=UserId(callee), kind=kind, caller_role=Role.USER, callee_role=Role.STREAMER
    )


def seized(user: str) -> LineSeized:
    return LineSeized(id=f"s-{user}", at=T, cause="p", user=UserId(user), call="c")


def no_line(user: str, refusal: LineRefusal) -> LineRefused:
    return LineRefused(id=f"r-{user}", at=T, cause="p", user=UserId(user), call="c", refusal=refusal)


SELECTED = TariffSelected(id="t", at=T, cause="p", book="calls", call="c", tariff=TARIFF)
OPENED = BillOpened(id="b", at=T, cause="o", call="c", payer=BOB, earner=SUE)
POOR = BillRefused(id="b", at=T, cause="o", call="c", payer=BOB, refusal="insufficient_coins", shortfall_coins=7)
CAPPED = replace(POOR, refusal="daily_cap", shortfall_coins=0, cap_room=CapRoom(3))
RINGING = (place(), seized("bob"), seized("sue"), SELECTED, OPENED)


def to(type_: type[Any], by: str, seconds: float = 1.0, **more: str) -> Any:
    return type_(id=f"{type_.__name__}{seconds}", at=at(seconds), call="c", by=UserId(by), **more)


after = partial(last_decision, decide)


# A streamer calls a user: he pays, and has too few coins.
HERS = replace(place(), caller=SUE, callee=BOB, caller_role=Role.STREAMER, callee_role=Role.USER)


def refusals() -> Iterator[tuple[tuple[CallInbox, ...], CallRefusal]]:
    both = (seized("bob"), seized("sue"))
    for line, caller, callee in (
        (LineRefusal.UNKNOWN, CallRefusal.CALLER_UNKNOWN, CallRefusal.CALLEE_UNKNOWN),
        (LineRefusal.NO_TALKER, CallRefusal.CALLER_NO_TALKER, CallRefusal.CALLEE_UNKNOWN),
        (LineRefusal.BANNED, CallRefusal.CALLER_BANNED, CallRefusal.CALLEE_BANNED),
        (LineRefusal.OFFLINE, CallRefusal.CALLER_OFFLINE, CallRefusal.CALLEE_OFFLINE),
        (LineRefusal.BUSY, CallRefusal.CALLER_BUSY, CallRefusal.CALLEE_BUSY),
        (LineRefusal.BLOCKED, CallRefusal.BLOCKED, CallRefusal.CALLEE_BLOCKS),
    ):
        yield (place(), no_line("bob", line), seized("sue"), SELECTED), caller
        yield (place(), seized("bob"), SELECTED, no_line("sue", line)), callee
    yield (place(callee="bob"),), CallRefusal.SAME_USER
    nothing = TariffSelected(id="t", at=T, cause="p", book="calls", call="c")
    yield (place(), *both, nothing), CallRefusal.NO_TARIFF
    yield (place(), *both, SELECTED, POOR), CallRefusal.INSUFFICIENT_COINS
    yield (place(), *both, SELECTED, CAPPED), CallRefusal.DAILY_CAP
    yield (HERS, *both, SELECTED, POOR), CallRefusal.CALLEE_LACKS_COINS
    yield (to(AcceptCall, "sue"),), CallRefusal.CALL_UNKNOWN
    yield (*RINGING, to(HangUp, "eve")), CallRefusal.NOT_IN_CALL
    yield (*RINGING, to(AcceptCall, "bob")), CallRefusal.NOT_CALLEE
    yield (place(), to(AcceptCall, "sue")), CallRefusal.NOT_RINGING
    yield (*RINGING, to(AcceptCall, "sue"), to(DeclineCall, "sue", 2)), CallRefusal.NOT_RINGING
    yield (place(), to(OpenRoom, "sue", provider="agora")), CallRefusal.NOT_RINGING
    yield (*RINGING, to(HangUp, "bob"), to(HangUp, "bob", 2)), CallRefusal.CALL_ENDED
    yield (*RINGING, to(AcceptCall, "sue", RING_TIMEOUT.total_seconds() + 1)), CallRefusal.CALL_ENDED
    yield (*RINGING, to(HangUp, "bob"), to(OpenRoom, "sue", 2, provider="agora")), CallRefusal.CALL_ENDED
    yield (place(), seized("bob"), Wake(id="w", at=T + PLACE_TIMEOUT, key="c")), CallRefusal.NOT_PLACED
    yield (*RINGING, place(callee="amy")), CallRefusal.IDEMPOTENCY_KEY_REUSED
    yield (*RINGING, place(kind=CallKind.ROULETTE)), CallRefusal.IDEMPOTENCY_KEY_REUSED


@pytest.mark.parametrize(("messages", "refusal"), list(refusals()))
def test_each_refusal_by_name(messages: tuple[CallInbox, ...], refusal: CallRefusal) -> None:
    _, told = after(*messages)
    assert refusal in [getattr(fact, "refusal", None) for fact in told]


def test_every_refusal_has_its_row() -> None:
    of_clips = {CallRefusal.CLIP_UNKNOWN}
    assert {refusal for _, refusal in refusals()} | of_clips == set(CallRefusal)
    play = PlayClip(id="x", at=T, clip="none", call="c", viewer=BOB, viewer_role=Role.USER)
    _, (refused,) = decisions_of(video_clip.decide_clip)(None, play)
    assert refused.refusal is CallRefusal.CLIP_UNKNOWN


def test_neither_side_is_told_who_has_blocked_whom_or_is_banned() -> None:
    """The caller of somebody who has blocked the caller, or is banned, hears what the caller of somebody offline hears, once
    and again; on both feeds the call has ended. The facts keep the truth."""
    for line, refusal in ((LineRefusal.BLOCKED, CallRefusal.CALLEE_BLOCKS), (LineRefusal.BANNED, CallRefusal.CALLEE_BANNED)):
        call, (refused, *_) = after(place(), seized("bob"), SELECTED, no_line("sue", line))
        again = decide(call, replace(place(), id="again"))[1][0]
        assert (refused.refusal, again.refusal) == (refusal, refusal)
        assert refused.refused is again.refused is CallRefusal.CALLEE_OFFLINE
    for end in (banned("bob"), blocked()):
        for messages in (RINGING, (*RINGING, to(AcceptCall, "sue"))):
            call, (ended, *_) = after(*messages, end)
            ways = [way for way in routes()[CallEnded] if way.topic == FEED.name and way.key(ended)]
            assert [(way.key(ended), way.hides) for way in ways] == [("bob", ("reason", "by")), ("sue", ("reason", "by"))]
            seen: Any = without(ended, ways[0].hides)
            assert (seen.reason, seen.by, ended.reason) == (EndReason.ENDED, "", end.reason)
            assert {call.told_to(user) for user in ("bob", "sue", "")} == {EndReason.ENDED}
    _, (ended, *_) = after(*RINGING, to(HangUp, "bob"))
    assert [way.hides for way in routes()[CallEnded] if way.topic == FEED.name and way.key(ended)] == [(), ()]


def test_the_worst_of_two_refusals_is_the_answer_and_what_was_taken_is_given_back() -> None:
    _, told = after(place(), no_line("sue", LineRefusal.BUSY), seized("bob"), SELECTED)
    assert told[0].refusal is CallRefusal.CALLEE_BUSY
    assert [one.user for one in told if isinstance(one, ReleaseLine)] == ["bob"]
    _, told = after(place(), no_line("sue", LineRefusal.BUSY), no_line("bob", LineRefusal.BANNED), SELECTED)
    assert told[0].refusal is CallRefusal.CALLER_BANNED


def test_it_rings_until_it_is_taken_or_thirty_seconds_are_over() -> None:
    call, (ringing,) = after(*RINGING)
    assert isinstance(ringing, CallRinging)
    assert call.wake_at == T + RING_TIMEOUT
    ended = decide(call, Wake(id="w", at=call.wake_at, key="c"))[1][0]
    assert (type(ended), ended.reason, ended.connected) == (CallEnded, EndReason.UNANSWERED, False)
    _, (connected, _) = decide(call, to(AcceptCall, "sue"))
    assert isinstance(connected, CallConnected)


def test_an_earner_who_falls_silent_earns_until_the_last_beat() -> None:
    call, _ = after(*RINGING, to(AcceptCall, "sue", 1), to(BeatCall, "sue", 6), to(BeatCall, "bob", 9), to(BeatCall, "bob", 24))
    assert call.wake_at == at(6) + PEER_LOST_AFTER
    ended = decide(call, Wake(id="w", at=call.wake_at, key="c"))[1][0]
    assert (ended.reason, ended.at, ended.duration_s) == (EndReason.PEER_LOST, at(6), 5.0)
    late = decide(call, to(BeatCall, "sue", 40))[1][0]
    assert (late.reason, late.at) == (EndReason.PEER_LOST, at(6)), "a beat after the line was lost is too late"


def test_the_first_room_of_a_call_is_its_only_one() -> None:
    call, (opened,) = after(*RINGING, to(OpenRoom, "bob", provider="agora"))
    again = decide(call, to(OpenRoom, "sue", 2, provider="twilio"))[1][0]
    assert (opened.provider, again.provider) == ("agora", "agora")
    assert decide(call, to(HangUp, "bob", 3))[1][0].room == "agora"


def test_an_answer_that_nobody_waits_for_any_more_changes_nothing() -> None:
    call, _ = after(*RINGING)
    assert decide(call, seized("bob")) == (call, ())


def test_a_call_that_is_given_up_while_it_is_placed_ends_when_all_answers_are_there() -> None:
    call, (standing,) = after(place(), to(HangUp, "bob"))
    assert standing.status is CallStatus.PLACING
    for answer in (seized("bob"), seized("sue")):
        call, told = decide(call, answer)
        assert not told
    _, told = decide(call, SELECTED)
    assert (type(told[0]), told[0].reason) == (CallEnded, EndReason.CANCELLED)
    assert {one.user for one in told if isinstance(one, ReleaseLine)} == {"bob", "sue"}


def test_who_takes_a_call_twice_is_told_that_it_stands() -> None:
    call, _ = after(*RINGING, to(AcceptCall, "sue"))
    same, (standing,) = decide(call, to(AcceptCall, "sue", 2))
    assert (same, standing.status) == (call, CallStatus.CONNECTED)


def test_a_strangers_beat_keeps_no_line() -> None:
    call, _ = after(*RINGING, to(AcceptCall, "sue"))
    assert decide(call, to(BeatCall, "eve", 5)) == (call, ())


def test_a_call_is_cut_at_its_longest() -> None:
    call, _ = after(*RINGING, to(AcceptCall, "sue"))
    over = call.over_at
    short = replace(call, tariff=replace(TARIFF, payer=Side((), 5, 1)))
    assert short.over_at == call.connected_at + timedelta(seconds=MAX_STEPS * 5 + 5)
    beats = [to(BeatCall, by, (over - T).total_seconds() - 1) for by in ("bob", "sue")]
    call = replace(call, caller_beat_at=beats[0].at, callee_beat_at=beats[1].at)
    ended = decide(call, Wake(id="w", at=over, key="c"))[1][0]
    assert (ended.reason, ended.at) == (EndReason.TOO_LONG, over)


def test_what_the_payer_lacks_is_told_to_nobody_who_calls_the_payer() -> None:
    """A streamer calls a user who has too few coins: the refusal and its repeat tell her what she hears of who is offline."""
    for placed, bill, refusal, told_as, shortfall, room in (
        (place(), POOR, CallRefusal.INSUFFICIENT_COINS, CallRefusal.INSUFFICIENT_COINS, 7, None),
        (place(), CAPPED, CallRefusal.DAILY_CAP, CallRefusal.DAILY_CAP, 0, CapRoom(3)),
        (HERS, POOR, CallRefusal.CALLEE_LACKS_COINS, CallRefusal.CALLEE_OFFLINE, 0, None),
        (HERS, CAPPED, CallRefusal.CALLEE_LACKS_COINS, CallRefusal.CALLEE_OFFLINE, 0, None),
    ):
        messages: list[CallInbox] = [placed, seized("bob"), seized("sue"), SELECTED, bill]
        call, told = all_decisions(decide, *messages)
        (refused,) = [one for one in told if isinstance(one, CallRefused)]
        (again,) = decide(call, replace(placed, id="again"))[1]
        assert (refused.refusal, refused.refused, refused.shortfall_coins) == (refusal, told_as, shortfall)
        assert refused.cap_room == again.cap_room == room
        assert (again.refusal, again.refused, again.shortfall_coins) == (refusal, told_as, shortfall)


@pytest.mark.parametrize("reason", [EndReason.OUT_OF_COINS, EndReason.DAILY_CAP])
@pytest.mark.parametrize("placed", [place(), HERS])
def test_that_coins_ran_out_is_told_to_whose_they_were_and_to_analysts(placed: PlaceCall, reason: EndReason) -> None:
    """Whoever called: the earner's phone, a look at the call and the chat of the two say that it ended, no more."""
    cut = EndCall(id="c/cut", at=at(5), call="c", reason=reason, by="bob")
    call, (ended, *_) = after(placed, *RINGING[1:], to(AcceptCall, placed.callee), cut)
    shown = {}
    for way in routes()[CallEnded]:
        if way.topic == FEED.name and (user := way.key(ended)):
            seen: Any = without(ended, way.hides)
            shown[user] = (seen.reason, seen.by)
    assert shown == {"bob": (reason, "bob"), "sue": (EndReason.ENDED, "")}
    for user, told in (("bob", reason), ("sue", EndReason.ENDED), ("", EndReason.ENDED)):
        assert call.told_to(user) is ended.told_to(user) is told
    assert (ended.reason, ended.by) == (reason, "bob")
    nameless = replace(ended, by="")
    assert {nameless.told_to(user) for user in ("bob", "sue")} == {EndReason.ENDED}, (
        "who does not know whose coins tells nobody"
    )
    _, (item, *_) = decisions_of(decide_chat)(None, ended)
    assert (item.reason, item.connected, item.duration_s) == (EndReason.ENDED, True, 4.0)


def banned(by: str) -> EndCall:
    return EndCall(id="ban", at=at(2), call="c", reason=EndReason.BANNED, by=by)


def blocked() -> EndCall:
    return EndCall(id="block", at=at(2), call="c", reason=EndReason.BLOCKED)


UNANSWERED = Wake(id="w", at=T + ROULETTE_TIMEOUT, key="c")
NO_TARIFF = TariffSelected(id="t", at=T, cause="p", book="calls", call="c")
BOTH = (seized("bob"), seized("sue"))


def seen(user: str, beat_s: float | None = -25) -> PresenceTold:
    """The answer to whether a phone in roulette is there: it beat so many seconds before the match, or is gone."""
    beat_at = None if beat_s is None else at(beat_s)
    return PresenceTold(id=f"here-{user}", at=T, cause="p", user=UserId(user), call="c", beat_at=beat_at)


TALK = (*BOTH, SELECTED, OPENED, to(AcceptCall, "sue", 1))
Onward = tuple[tuple[CallInbox, ...], set[str], set[str], set[str]]
# What happens; who goes on in roulette, who keeps the place; whose last partner is the other.
ONWARD: list[Onward] = [
    ((*BOTH, SELECTED, seen("bob", -34)), {"sue"}, {"sue"}, set()),
    ((*BOTH, SELECTED, seen("sue", None)), {"bob"}, {"bob"}, set()),
    ((*BOTH, seen("bob", -26), SELECTED, seen("sue", -34)), {"sue"}, {"sue"}, set()),
    ((no_line("bob", LineRefusal.BUSY), seized("sue"), SELECTED), {"bob", "sue"}, {"bob", "sue"}, set()),
    ((*BOTH, NO_TARIFF), set(), set(), set()),
    ((*BOTH, SELECTED, POOR), {"sue"}, {"sue"}, set()),
    ((*BOTH, Wake(id="w", at=T + PLACE_TIMEOUT, key="c")), {"bob", "sue"}, {"bob", "sue"}, set()),
    ((to(HangUp, "bob", 0), *BOTH, SELECTED), {"sue"}, {"sue"}, set()),
    ((*BOTH, SELECTED, OPENED, to(DeclineCall, "sue")), {"bob", "sue"}, {"bob"}, {"bob", "sue"}),
    ((*BOTH, SELECTED, OPENED, to(HangUp, "bob")), {"sue"}, {"sue"}, {"bob", "sue"}),
    ((*BOTH, SELECTED, OPENED, to(HangUp, "sue")), {"bob", "sue"}, {"bob"}, {"bob", "sue"}),
    ((*BOTH, SELECTED, OPENED, banned("bob")), {"sue"}, {"sue"}, {"bob", "sue"}),
    ((*BOTH, SELECTED, OPENED, banned("sue")), {"bob"}, {"bob"}, {"bob", "sue"}),
    ((*BOTH, SELECTED, OPENED, blocked()), {"bob", "sue"}, {"bob", "sue"}, {"bob", "sue"}),
    ((*BOTH, SELECTED, OPENED, UNANSWERED), {"bob"}, {"bob"}, {"bob", "sue"}),
    ((*TALK, to(HangUp, "bob", 9)), set(), set(), {"bob", "sue"}),
    ((*TALK, banned("bob")), set(), set(), {"bob", "sue"}),
    ((*TALK, to(BeatCall, "sue", 6), Wake(id="w", at=at(21), key="c")), {"sue"}, {"sue"}, {"bob", "sue"}),
    ((*TALK, Wake(id="w", at=at(21), key="c")), set(), set(), {"bob", "sue"}),
]


@pytest.mark.parametrize(("messages", "again", "keeps", "met"), ONWARD)
def test_who_goes_on_in_roulette(messages: tuple[CallInbox, ...], again: set[str], keeps: set[str], met: set[str]) -> None:
    here = [seen(user) for user in ("bob", "sue") if not any(isinstance(m, PresenceTold) and m.user == user for m in messages)]
    _, told = after(place(kind=CallKind.ROULETTE), *here, *messages)
    released = [one for one in told if isinstance(one, ReleaseLine)]
    assert {one.user for one in released} == {"bob", "sue"}
    assert {one.user for one in released if one.again} == again
    assert {one.user for one in released if one.keeps} == keeps
    assert {one.user for one in released if one.met} == met


def test_who_is_paired_is_asked_and_who_is_silent_is_not_rung() -> None:
    """A user who has been dead for 34 s in the pool: the call does not come about, and costs nothing."""
    placed = replace(place(kind=CallKind.ROULETTE), caller_device="phone")
    _, told = decide(None, placed)
    assert [(one.user, one.device) for one in told if isinstance(one, AskPresence)] == [("bob", "phone"), ("sue", "")]
    for silent, refusal in (("bob", CallRefusal.CALLER_OFFLINE), ("sue", CallRefusal.CALLEE_OFFLINE)):
        for beat_s, refused in ((-34, True), (-25.1, True), (None, True), (-25, False), (3, False)):
            answers: list[CallInbox] = [seen(user, beat_s if user == silent else -1) for user in ("bob", "sue")]
            for order in permutations([*answers, *BOTH, SELECTED]):
                call, told = after(placed, *order)
                assert ([one.refusal for one in told if isinstance(one, CallRefused)] == [refusal]) is refused
                assert (call.waiting == ("bill",)) is not refused
    _, told = decide(None, place())
    assert not [one for one in told if isinstance(one, AskPresence)], "who is called directly answers, or does not"


def test_a_direct_call_that_is_given_up_gives_the_callee_her_place_back() -> None:
    for end, keeps in ((to(HangUp, "bob"), {"sue"}), (to(DeclineCall, "sue"), set()), (banned("bob"), {"sue"})):
        _, told = after(*RINGING, end)
        released = [one for one in told if isinstance(one, ReleaseLine)]
        assert ({one.user for one in released if one.keeps}, any(one.again or one.met for one in released)) == (keeps, False)


def test_a_call_whose_answers_do_not_come_gives_its_lines_back() -> None:
    for messages in ((), (seized("bob"),), (seized("bob"), seized("sue"), SELECTED)):
        call, _ = after(place(), *messages)
        assert call.wake_at == T + PLACE_TIMEOUT
        call, told = decide(call, Wake(id="w", at=call.wake_at, key="c"))
        assert (call.status, told[0].refusal) == (CallStatus.ENDED, CallRefusal.NOT_PLACED)
        assert {one.user for one in told if isinstance(one, ReleaseLine)} == {"bob", "sue"}
        for state in (call, None):  # what comes when it is over, or forgotten, goes back at once
            assert [(type(one), one.user) for one in decide(state, seized("bob"))[1]] == [(ReleaseLine, "bob")]
            assert [type(one) for one in decide(state, OPENED)[1]] == [EndBill]


def test_whatever_is_not_final_has_a_deadline() -> None:
    for messages in ((place(),), RINGING, (*RINGING, to(AcceptCall, "sue")), (*RINGING, to(HangUp, "bob"))):
        for n in range(1, len(messages) + 1):
            assert after(*messages[:n])[0].wake_at is not None


def test_the_same_call_again_is_the_same_answer_and_another_is_none() -> None:
    call, _ = after(*RINGING)
    same, (standing,) = decide(call, place())
    assert (same, standing.status) == (call, CallStatus.RINGING)
    same, (refused,) = decide(call, place(callee="amy"))
    assert (same, refused.refusal) == (call, CallRefusal.IDEMPOTENCY_KEY_REUSED)
