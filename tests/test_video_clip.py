"""A clip: its offer, its plays, and that nobody pays a streamer who is banned while one plays."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.video_call import decide_call
from pipelines.video_clip import decide_clip
from pipelines.video_line import decide_line
from schemas.billing import EndBill
from schemas.billing_rules import CallKind
from schemas.log.base import UserId, Wake
from schemas.user import Role, UserBanned, UserUnbanned
from schemas.video import (
    CLIP_ASKS_EVERY,
    BeatCall,
    Call,
    CallEnded,
    CallInbox,
    CallRefusal,
    CallStatus,
    EndCall,
    EndReason,
    HangUp,
    PlaceCall,
)  # fmt: skip
from schemas.video_clip import ClipOffered, OfferClip, PlayClip
from schemas.video_line import AdmitViewer, Line, LineRefusal, ViewerAdmitted
from tests.decisions import decisions_of
from tests.people import BOB, EVE, SUE

call_of, clip_of, line_of = decisions_of(decide_call), decisions_of(decide_clip), decisions_of(decide_line)
T = datetime(2030, 1, 1, tzinfo=UTC)
OFFER = OfferClip(id="o", at=T, clip="x", streamer=SUE, title="hi", url="u", duration_s=90)
PLAY = PlayClip(id="p", at=T, clip="x", call="c", viewer=BOB, viewer_role=Role.USER, caller_device="phone")
PLAYING = Call(
    caller=BOB, callee=SUE, kind=CallKind.CLIP, clip="x", clip_s=90, status=CallStatus.CONNECTED, placed_by="p", placed_at=T,
    seized=(BOB,), billed=True, connected_at=T, caller_beat_at=T, callee_beat_at=T, asks_at=T + CLIP_ASKS_EVERY,
)  # fmt: skip


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def test_a_play_is_a_call_to_the_streamer_on_the_viewers_phone() -> None:
    clip, (offered,) = clip_of(None, OFFER)
    assert isinstance(offered, ClipOffered)
    same, (placed,) = clip_of(clip, PLAY)
    assert (type(placed), placed.caller, placed.callee, placed.clip_s, placed.caller_device) == (
        PlaceCall,
        BOB,
        SUE,
        90,
        "phone",
    )
    assert same == clip


@pytest.mark.parametrize(("offers", "message"), [
    ((), PLAY), ((OFFER, replace(OFFER, active=False)), PLAY), ((OFFER,), replace(OFFER, streamer=EVE)),
])  # fmt: skip
def test_a_clip_that_is_not_offered_or_somebody_elses_is_unknown(
    offers: tuple[OfferClip, ...], message: OfferClip | PlayClip
) -> None:
    clip = None
    for offer in offers:
        clip, _ = clip_of(clip, offer)
    same, (refused,) = clip_of(clip, message)
    assert (same, refused.refusal) == (clip, CallRefusal.CLIP_UNKNOWN)


def played(banned_s: float, unbanned_s: float | None = None, hung_up_s: float = 999) -> CallEnded:
    """A film of 90 s whose viewer stays, or hangs up; its streamer is banned, and perhaps not for long."""
    call, line = PLAYING, Line(role=Role.STREAMER)
    ban = UserBanned(id="b", at=at(banned_s), cause="x", user=SUE, reason="r")
    lift = UserUnbanned(id="u", at=at(unbanned_s or 999), cause="x", user=SUE)
    for second in range(200):
        for news in (ban, lift):
            if at(second - 1) < news.at <= at(second):
                line, _ = line_of(line, news)
        beat = BeatCall(id=f"b{second}", at=at(second), call="c", by=BOB)
        wake = Wake(id=f"w{second}", at=at(second), key="c")
        hang_up: list[CallInbox] = (
            [HangUp(id="h", at=at(hung_up_s), call="c", by=BOB)] if second - 1 < hung_up_s <= second else []
        )
        # In the order of their times, as they come: a film that is over is not hung up on before its end.
        for message in (*hang_up, beat, wake) if second % 5 == 0 else (*hang_up, wake):
            call, told = call_of(call, message)
            for ask in told:
                if isinstance(ask, AdmitViewer):
                    line, (admitted,) = line_of(line, ask)
                    call, told = call_of(call, admitted)
            if ends := [one for one in told if isinstance(one, CallEnded)]:
                (bill,) = (one for one in told if isinstance(one, EndBill))
                assert (bill.at, bill.void) == (ends[0].at, ends[0].void)
                return ends[0]
    raise AssertionError


@pytest.mark.parametrize(
    ("banned_s", "length", "void"),
    [(31.5, 31.5, False), (1, 1, False), (79, 79, False), (81, 81, False), (89.5, 89.5, False), (0, 0, True)],
)
def test_a_play_is_over_when_its_streamer_is_banned(banned_s: float, length: float, void: bool) -> None:
    end = played(banned_s)
    assert (end.reason, end.duration_s, end.void) == (EndReason.BANNED, length, void)


@example(90.0, 89.5)
@given(st.floats(0, 120), st.floats(0.5, 120))
def test_however_a_play_ends_nobody_pays_for_what_is_behind_a_ban(banned_s: float, hung_up_s: float) -> None:
    """Law: it is billed until the first of the ban, the hang-up and the film's end, in its last seconds, too."""
    end = played(banned_s, hung_up_s=hung_up_s)
    first_s = min(banned_s, hung_up_s, 90)
    assert abs(end.duration_s - first_s) < 1e-5
    assert (end.reason is EndReason.BANNED) == (end.by == SUE)
    if end.reason is EndReason.HUNG_UP:
        assert (end.by, end.cause) == (BOB, "h"), "who hangs up is answered"


def test_a_play_that_has_ended_waits_for_her_line_and_not_for_ever() -> None:
    hang_up = HangUp(id="h", at=at(7), call="c", by=BOB)
    call, (ask,) = call_of(replace(PLAYING, asks_at=at(17)), hang_up)
    assert (type(ask), ask.user, ask.at, call.closing, call.wake_at) == (AdmitViewer, SUE, at(7), True, at(17))
    early = ViewerAdmitted(id="e", at=at(6), cause="x", user=SUE, call="c")
    beat = BeatCall(id="b", at=at(8), call="c", by=BOB)
    block = EndCall(id="k", at=at(8), call="c", reason=EndReason.BLOCKED, by=BOB)
    for message in (early, beat, block, Wake(id="w", at=at(16), key="c")):
        assert call_of(call, message) == (call, ()), "an older answer, and whatever comes behind the end, says nothing"
    _, (refused,) = call_of(call, replace(hang_up, id="again"))
    assert refused.refusal is CallRefusal.CALL_ENDED
    later_ban = ViewerAdmitted(id="a", at=at(7), cause="x", user=SUE, call="c", refusal=LineRefusal.BANNED, since=at(7.5))
    for message in (Wake(id="w", at=at(17), key="c"), replace(later_ban, refusal=None, since=None), later_ban):
        after, (end, *_) = call_of(call, message)
        assert (end.reason, end.by, end.at, end.duration_s, end.cause) == (EndReason.HUNG_UP, BOB, at(7), 7.0, "h")
        assert (after.status, after.closing) == (CallStatus.ENDED, False)


def test_a_play_goes_on_where_nobody_is_banned_any_more_and_other_answers_end_nothing() -> None:
    assert (played(500).reason, played(500).duration_s) == (EndReason.CLIP_OVER, 90)
    assert played(31, 35).reason is EndReason.CLIP_OVER
    line = Line(role=Role.STREAMER, barred=(BOB,))
    _, (blocked,) = line_of(line, AdmitViewer(id="a", at=T, user=SUE, call="c", peer=BOB))
    assert blocked.refusal is LineRefusal.BLOCKED
    assert call_of(PLAYING, blocked) == (PLAYING, ()), "a block ends it by the viewer's own line"
    assert call_of(replace(PLAYING, clip="", kind=CallKind.DIRECT), replace(blocked, refusal=LineRefusal.BANNED))[1] == ()
    assert UserId(PLAYING.callee) == SUE
