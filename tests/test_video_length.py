"""What a call costs is what was talked: each rule a row, then whole calls of random silences against a second, naive rule."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.video_call import decide_call
from schemas.billing import EndBill
from schemas.billing_rating import Checkpoint, Side
from schemas.billing_rules import CallKind
from schemas.log.base import Message, UserId, Wake
from schemas.user import Role
from schemas.video import BeatCall, Call, CallEnded, CallStatus, EndCall, EndReason, HangUp, LeaveCall, OpenRoom
from tests.long_lists import long_lists
from tests.people import BOB, SUE
from tests.test_billing_bill import Till

T = datetime(2030, 1, 1, tzinfo=UTC)
# As shipped for direct calls.
DIRECT = (Side((Checkpoint(0, 60),), 60, 60), Side((Checkpoint(0, 30),), 60, 30))


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def beats(until_s: float, by: UserId, device: str = "") -> list[Message]:
    return [beat(n * 5.0, by, device) for n in range(1, int(until_s / 5) + 1)]


def beat(seconds: float, by: UserId, device: str = "") -> BeatCall:
    return BeatCall(id=f"b{seconds}{by}{device}", at=at(seconds), call="c", by=by, device=device)


def moves(seconds: float, by: UserId, device: str) -> OpenRoom:
    return OpenRoom(id=f"o{seconds}{by}", at=at(seconds), call="c", by=by, provider="agora", device=device)


def hang_up(seconds: float, by: UserId) -> HangUp:
    return HangUp(id=f"h{seconds}{by}", at=at(seconds), call="c", by=by)


def quit_room(seconds: float, by: UserId) -> EndCall:
    return EndCall(id=f"q{seconds}{by}", at=at(seconds), call="c", reason=EndReason.HUNG_UP, by=by)


def left_room(seconds: float, by: UserId) -> LeaveCall:
    return LeaveCall(id=f"l{seconds}{by}", at=at(seconds), call="c", by=by)


TALKING = Call(
    caller=BOB, callee=SUE, kind=CallKind.DIRECT, status=CallStatus.CONNECTED, placed_by="p", placed_at=T, seized=(BOB, SUE),
    billed=True, connected_at=T, caller_beat_at=T, callee_beat_at=T,
)  # fmt: skip
# A call that the streamer placed: its payer is the callee.
OTHER_WAY = replace(TALKING, caller=SUE, callee=BOB, caller_role=Role.STREAMER, callee_role=Role.USER)


def ended(call: Call, *messages: Message) -> tuple[CallEnded, EndBill]:
    """How the call ends, by these messages in the order of time, and the bill's part of it."""
    state: Call | None = call
    told: Sequence[Message] = ()
    for message in sorted(messages, key=lambda one: one.at):
        state, told = decide_call(state, message)  # type: ignore[arg-type]
        if any(isinstance(one, CallEnded) for one in told):
            break
    while not any(isinstance(one, CallEnded) for one in told):  # a play is closed when nobody says that its streamer was banned
        assert state is not None
        assert state.wake_at is not None
        state, told = decide_call(state, Wake(id="w", at=state.wake_at, key="c"))
    (end,) = (one for one in told if isinstance(one, CallEnded))
    (bill,) = (one for one in told if isinstance(one, EndBill))
    assert (bill.at, bill.void) == (end.at, end.void)
    return end, bill


def rows() -> Iterator[tuple[str, tuple[Message, ...], float, bool]]:
    both = [*beats(55, BOB), *beats(55, SUE)]
    payer_gone, earner_gone = [*beats(55, BOB), *beats(500, SUE)], [*beats(500, BOB), *beats(55, SUE)]
    yield "the payer falls silent: he pays until the cut", (*payer_gone,), 75.0, False
    yield "the earner falls silent: she earns until her last beat", (*earner_gone,), 55.0, False
    yield "both fall silent at once, as when Olo's feeds fail: nobody pays for that", (*both,), 55.0, False
    yield "the earner soon after the payer", (*beats(55, BOB), *beats(60, SUE)), 60.0, False
    yield "the earner was there two beats before the cut", (*beats(55, BOB), *beats(70, SUE)), 75.0, False
    yield "the provider says that the payer left", (*payer_gone, left_room(57, BOB)), 57.0, False
    yield "he left and came back: he was there since", (*payer_gone, left_room(40, BOB)), 75.0, False
    yield "the provider says that the earner left: her beats count", (*earner_gone, left_room(57, SUE)), 55.0, False
    yield "a stranger leaves", (*payer_gone, left_room(57, UserId("eve"))), 75.0, False
    yield "the payer never came", (*beats(500, SUE),), 0.0, True
    yield "the earner never came", (*beats(500, BOB),), 0.0, True
    yield "nobody came", (), 0.0, True
    yield "she hangs up on a payer who never came", (*beats(15, SUE), hang_up(15, SUE)), 0.0, True
    yield "he hangs up on an earner who never came", (*beats(15, BOB), hang_up(15, BOB)), 0.0, True
    yield "it is too early to say that she never came", (*beats(9, BOB), hang_up(9, BOB)), 9.0, False
    yield (
        "he hangs up when she has been silent for two beats",
        (*beats(25, BOB), *beats(15, SUE), hang_up(26, BOB)),
        15.0,
        False,
    )
    yield "she hangs up herself: she was there", (*beats(25, BOB), *beats(15, SUE), hang_up(26, SUE)), 26.0, False
    yield "he is silent when she hangs up", (*beats(15, BOB), *beats(25, SUE), hang_up(26, SUE)), 26.0, False
    yield "a notice of the ringing phase", (*both, quit_room(-3, BOB), hang_up(57, BOB)), 57.0, False
    yield "a notice of the moment of connecting", (*both, quit_room(0, SUE), hang_up(57, BOB)), 57.0, False
    yield "a notice that he quit", (*both, quit_room(52, BOB)), 52.0, False


@pytest.mark.parametrize("call", [TALKING, OTHER_WAY], ids=["he calls", "she calls"])
@pytest.mark.parametrize(("messages", "length", "void"), [row[1:] for row in rows()], ids=[row[0] for row in rows()])
def test_who_pays_until_when(call: Call, messages: tuple[Message, ...], length: float, void: bool) -> None:
    end, _ = ended(call, *messages)
    assert (end.duration_s, end.void, end.at) == (length, void, at(length))


def test_only_the_phone_in_the_call_keeps_it_alive() -> None:
    """Two feeds of one account, and the one in the call closes at 55 s: the other, which beats on, is not in the call."""
    on_phone = replace(TALKING, caller_device="phone")
    tablet, hers = beats(500, BOB, "tablet"), beats(500, SUE)
    end, _ = ended(on_phone, *beats(55, BOB, "phone"), *tablet, *hers)
    assert (end.reason, end.by, end.duration_s) == (EndReason.PEER_LOST, "", 75.0)
    assert ended(on_phone, *tablet, *hers)[0].void, "the phone that called was never there"
    assert ended(on_phone, *beats(55, BOB), *hers)[0].void, "nor is one that nobody knows"
    again = [beat(n * 5.0, BOB, "phone") for n in range(14, 20)]
    end, _ = ended(on_phone, *beats(55, BOB, "phone"), *again, *hers)
    assert end.duration_s == 115, "the same phone again, 15 s later, is the same phone"
    end, _ = ended(on_phone, *beats(55, BOB, "phone"), moves(57, BOB, "tablet"), *tablet[:20], *hers, *again)
    assert end.duration_s == 120, "he moves to the tablet, by asking for his place in the room; the phone counts no more"
    end, _ = ended(on_phone, *beats(55, BOB, "phone"), *hers, moves(57, SUE, "tablet"), *beats(90, SUE, "tablet"))
    assert end.duration_s == 75, "what she moves to is none of his"
    assert ended(TALKING, *beats(55, BOB, "phone"), *beats(90, BOB, "tablet"), *hers)[0].duration_s == 110, "nobody knows: any"


def test_a_clip_is_paid_until_the_cut_and_needs_no_streamer() -> None:
    clip = replace(TALKING, kind=CallKind.CLIP, clip="x", clip_s=40)
    assert ended(clip, *beats(10, BOB))[0].duration_s == 30
    assert ended(clip)[0].duration_s == 20
    end, _ = ended(clip, *beats(500, BOB))
    assert (end.reason, end.duration_s) == (EndReason.CLIP_OVER, 40)


@pytest.mark.parametrize(
    ("messages", "paid", "earned"),
    [
        ((*beats(55.5, BOB), beat(55.5, BOB), *beats(500, SUE)), 120, 60),
        ((*beats(500, BOB), *beats(500, SUE), hang_up(65, SUE)), 120, 60),
        ((*beats(500, BOB), beat(1, SUE)), 60, 30),
        ((*beats(500, BOB),), 0, 0),
        ((*beats(500, SUE),), 0, 0),
    ],
    ids=[
        "the plug is pulled at 56 s",
        "a whole talk",
        "the streamer is gone after a second",
        "she never came",
        "he never came",
    ],
)
def test_what_comes_of_it_in_coins(messages: tuple[Message, ...], paid: int, earned: int) -> None:
    end, bill = ended(TALKING, *messages)
    till = Till(*DIRECT)
    till.do()
    till.start()
    till.do_all()
    for seconds in range(0, int(end.duration_s) + 15, 5):  # the bill has run on until the end was known
        till.wake(seconds)
        till.do_all(seconds)
    till.hear(bill)
    till.do_all(100)
    assert (till.closed.paid_coins, till.closed.earned_coins) == (paid, earned)
    assert (till.closed.connected_at is None) == end.void
    assert till.bill is not None
    assert (till.bill.closed, till.bill.open_answers) == (True, 0)


TIMES = long_lists(st.integers(1, 400).map(lambda tenths: tenths / 4), 12)


def naive(his: list[float], hers: list[float], end_s: float, by: UserId | None) -> tuple[float, bool]:
    """The rule, second time: `by` hung up at `end_s`; None: nobody did, and the first who has been silent for 20 s is cut."""
    for quarter in range(1, 10_000):
        now = quarter / 4
        last_his, last_hers = (max([0.0, *(one for one in side if one < now)]) for side in (his, hers))
        lost = min(last_his, last_hers) + 20 <= now
        if not lost and not (by and now == end_s):
            continue
        if not lost:
            last_his, last_hers = (
                max([last, *(one for one in side if one == now)]) for last, side in ((last_his, his), (last_hers, hers))
            )
        here = by if not lost else None
        he_is, she_is = now - last_his < 10 or here == BOB, now - last_hers < 10 or here == SUE
        if (not he_is and last_his == 0) or (not she_is and last_hers == 0):
            return 0.0, True
        return (now if she_is else last_hers), False
    raise AssertionError


@given(TIMES, TIMES, st.integers(1, 400), st.sampled_from([BOB, SUE, None]), st.booleans())
def test_every_second_is_paid_by_whom_the_rule_says(
    his: list[float], hers: list[float], quarters: int, by: UserId | None, other_way: bool
) -> None:
    end_s = quarters / 4
    messages: list[Message] = [*(beat(one, BOB) for one in his), *(beat(one, SUE) for one in hers)]
    end, _ = ended(OTHER_WAY if other_way else TALKING, *messages, *([hang_up(end_s, by)] if by else []))
    assert (end.duration_s, end.void) == naive(his, hers, end_s, by)
