"""A clip: its offer, its plays, and that nobody pays a streamer who is banned while one plays."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from pipelines.video_call import decide_call
from pipelines.video_clip import decide_clip
from pipelines.video_line import decide_line
from schemas.billing import CallKind, EndBill
from schemas.log.base import UserId, Wake
from schemas.user import Role, UserBanned, UserUnbanned
from schemas.video import CLIP_ASKS_EVERY, BeatCall, Call, CallEnded, CallRefusal, CallStatus, EndReason, PlaceCall
from schemas.video_clip import ClipOffered, OfferClip, PlayClip
from schemas.video_line import AdmitViewer, Line, LineRefusal
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


def played(banned_s: float, unbanned_s: float | None = None) -> CallEnded:
    """A film of 90 s whose viewer stays; its streamer is banned, and perhaps not for long."""
    call, line = PLAYING, Line(role=Role.STREAMER)
    ban = UserBanned(id="b", at=at(banned_s), cause="x", user=SUE, reason="r")
    lift = UserUnbanned(id="u", at=at(unbanned_s or 999), cause="x", user=SUE)
    for second in range(200):
        for news in (ban, lift):
            if at(second - 1) < news.at <= at(second):
                line, _ = line_of(line, news)
        beat = BeatCall(id=f"b{second}", at=at(second), call="c", by=BOB)
        wake = Wake(id=f"w{second}", at=at(second), key="c")
        for message in (beat, wake) if second % 5 == 0 else (wake,):
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


@pytest.mark.parametrize(("banned_s", "length", "void"), [(31.5, 31.5, False), (1, 1, False), (79, 79, False), (0, 0, True)])
def test_a_play_is_over_when_its_streamer_is_banned(banned_s: float, length: float, void: bool) -> None:
    end = played(banned_s)
    assert (end.reason, end.duration_s, end.void) == (EndReason.BANNED, length, void)


def test_a_play_goes_on_where_nobody_is_banned_any_more_and_other_answers_end_nothing() -> None:
    assert (played(500).reason, played(500).duration_s) == (EndReason.CLIP_OVER, 90)
    assert played(31, 35).reason is EndReason.CLIP_OVER
    line = Line(role=Role.STREAMER, barred=(BOB,))
    _, (blocked,) = line_of(line, AdmitViewer(id="a", at=T, user=SUE, call="c", peer=BOB))
    assert blocked.refusal is LineRefusal.BLOCKED
    assert call_of(PLAYING, blocked) == (PLAYING, ()), "a block ends it by the viewer's own line"
    assert call_of(replace(PLAYING, clip="", kind=CallKind.DIRECT), replace(blocked, refusal=LineRefusal.BANNED))[1] == ()
    assert UserId(PLAYING.callee) == SUE
