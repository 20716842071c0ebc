"""Video: `call`, messages and states. Lines and roulette: `schemas.video_line`; recorded films: `schemas.video_clip`.

Who pays: of a user and a streamer the user, whoever called; of two alike the caller. The other side earns.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance_cap import CapRoom
from schemas.billing import BillOpened, BillRefused, CallId, CallName, Tariff, TariffSelected
from schemas.billing_rating import MAX_CALL_S
from schemas.billing_rules import CallKind, CallTags, Traits
from schemas.log.base import By, Fact, Fields, Message, MessageName, OptionalId, Refused, Repeated, State, Time, Wake, later
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.user import Code, PresenceTold, Role, User_
from schemas.video_line import LineRefused, LineSeized, ViewerAdmitted

MAX_CLIP_S: Final = 3 * 3600
# No call is so long; what is added up stays a number.
MAX_DURATION_S: Final = 10**9

RING_TIMEOUT: Final = timedelta(seconds=30)
# Roulette rings shorter: both are waiting with the phone in their hand.
ROULETTE_TIMEOUT: Final = timedelta(seconds=10)
# The phones of a call beat every five seconds; four lost beats are a lost line.
CALL_BEAT_EVERY_S: Final = 5
PEER_LOST_AFTER: Final = timedelta(seconds=20)
# Who has not beaten for two beats when a call ends was silent: that time is not earned.
SILENT_AFTER: Final = timedelta(seconds=2 * CALL_BEAT_EVERY_S)
# Who waits in roulette beats every ten seconds; two who are paired are asked, and who has lost two beats is not there.
PRESENT_WITHIN: Final = timedelta(seconds=25)
# Nobody rings the streamer of a clip: her line is asked so often whether she may still earn by it.
CLIP_ASKS_EVERY: Final = timedelta(seconds=10)
# The answers that placing waits for are a matter of milliseconds; a call that lacks one for so long does not come about.
PLACE_TIMEOUT: Final = timedelta(seconds=30)


class CallRefusal(StrEnum):
    """Why a call did not come about, or a command to it was refused, in order of precedence."""

    CALL_UNKNOWN = "call_unknown"
    NOT_IN_CALL = "not_in_call"
    CALL_ENDED = "call_ended"
    NOT_RINGING = "not_ringing"
    NOT_CALLEE = "not_callee"
    SAME_USER = "same_user"
    CALLER_UNKNOWN = "caller_unknown"
    CALLER_NO_TALKER = "caller_no_talker"
    CALLER_BANNED = "caller_banned"
    CALLER_BUSY = "caller_busy"
    CALLER_OFFLINE = "caller_offline"
    BLOCKED = "blocked"
    CALLEE_BLOCKS = "callee_blocks"
    CALLEE_UNKNOWN = "callee_unknown"
    CALLEE_BANNED = "callee_banned"
    CALLEE_OFFLINE = "callee_offline"
    CALLEE_BUSY = "callee_busy"
    NO_TARIFF = "no_tariff"
    DAILY_CAP = "daily_cap"
    INSUFFICIENT_COINS = "insufficient_coins"
    CALLEE_LACKS_COINS = "callee_lacks_coins"
    CLIP_UNKNOWN = "clip_unknown"
    NOT_PLACED = "not_placed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"


# A caller is not told that the one called has blocked the caller, is banned, or has too few coins to pay for the call: the
# refusal is for staff and analysts.
CALLER_IS_TOLD: Final[Mapping[StrEnum, StrEnum]] = {
    CallRefusal.CALLEE_BLOCKS: CallRefusal.CALLEE_OFFLINE,
    CallRefusal.CALLEE_BANNED: CallRefusal.CALLEE_OFFLINE,
    CallRefusal.CALLEE_LACKS_COINS: CallRefusal.CALLEE_OFFLINE,
}


class EndReason(StrEnum):
    """Why a call ended. `ended`: phones are told no more."""

    HUNG_UP = "hung_up"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    UNANSWERED = "unanswered"
    PEER_LOST = "peer_lost"
    OUT_OF_COINS = "out_of_coins"
    DAILY_CAP = "daily_cap"
    BLOCKED = "blocked"
    BANNED = "banned"
    CLIP_OVER = "clip_over"
    TOO_LONG = "too_long"
    ENDED = "ended"
    ERASED = "erased"


# Who has blocked whom, and who is banned or was erased, is told to neither phone: it would tell the other side.
UNTOLD: Final = frozenset({EndReason.BLOCKED, EndReason.BANNED, EndReason.ERASED})


def told_to(user: str, reason: EndReason, by: str) -> EndReason:
    """Why a call that ended by `by` has ended, as `user` is told. Why there were no more coins is told to
    whose they were alone."""
    others = reason in (EndReason.OUT_OF_COINS, EndReason.DAILY_CAP) and user != by
    return EndReason.ENDED if reason in UNTOLD or others else reason


class CallStatus(StrEnum):
    """Where a call stands."""

    PLACING = "placing"
    RINGING = "ringing"
    CONNECTED = "connected"
    ENDED = "ended"


# --- call -------------------------------------------------------------------------------------------------------------------


class PlaceCall(Message):
    """`caller` wants to talk to `callee` (of a clip: to watch what `callee` recorded, `clip`). The devices: which phone calls,
    and, in roulette, which one of the callee's waits; empty: nobody knows. `price_class`: what the one who earns has picked."""

    call: CallId
    caller: User_
    callee: User_
    kind: CallKind
    caller_role: Role
    callee_role: Role
    country: Code = ""
    tags: CallTags = ()
    price_class: Code = ""
    clip: OptionalId = ""
    clip_s: Annotated[int, Meta(ge=0, le=MAX_CLIP_S)] = 0
    caller_device: Code = ""
    callee_device: Code = ""


class _FromSide(Message, CallName):
    by: User_


class _FromDevice(_FromSide):
    device: Code = ""


class AcceptCall(_FromDevice):
    """The callee takes the call, on this phone: from now on it is the one that counts."""


class DeclineCall(_FromSide):
    """The callee does not want the call."""


class HangUp(_FromSide):
    """One of both ends the call, or the caller gives up before it is taken."""


class BeatCall(_FromDevice):
    """A phone of one of both is still there."""


class OpenRoom(_FromDevice):
    """A phone of the call wants to join its room at `provider`; the call's first room is its only one. With another phone than
    before the side moves to it."""

    provider: Code


class LeaveCall(_FromSide):
    """The room's provider says that a side lost its connection at `at`: of a payer who stays silent this is the end."""


class EndCall(Message, CallName):
    """Somebody else ends the call: the bill at a checkpoint, a block, a ban. It ends at `at`, not later than now."""

    reason: EndReason
    by: By = ""


class CallSides(Fields):
    """Who calls whom, and in which kind of call."""

    caller: User_
    callee: User_
    kind: CallKind


class _OfCall(Fact, CallName, CallSides):
    pass


class CallRinging(_OfCall):
    """Both lines are taken, the first checkpoint is held, the callee's phone rings until `until`."""

    until: Time


class CallRefused(_OfCall, Refused):
    """The call did not come about. `shortfall_coins`: how many coins more the first checkpoint takes; `cap_room`: what
    the caller's daily cap leaves."""

    changes_state: ClassVar[bool] = True
    told_as = CALLER_IS_TOLD
    refusal: CallRefusal
    shortfall_coins: int = 0
    cap_room: CapRoom | None = None


class CallConnected(_OfCall):
    """They talk; what is billed begins at `at`."""


class CallEnded(_OfCall):
    """The call ended at `at`. `duration_s` is the time that is billed, `connected` whether it connected at all; `void`: one
    side was never there, so nobody pays or earns; `room`: the provider of its room, if one was opened."""

    reason: EndReason = EndReason.ENDED
    by: By = ""
    connected: bool = False
    duration_s: Annotated[float, Meta(ge=0, le=MAX_DURATION_S)] = 0.0
    room: Code = ""
    void: bool = False

    def told_to(self, user: str) -> EndReason:
        """Why, as a user is told; "": as everybody may be told."""
        return told_to(user, self.reason, self.by)


class RoomOpened(_OfCall):
    """The call's picture and sound are with `provider`; credentials may be issued."""

    provider: Code


class CallCommandRefused(Refused, CallName):
    """A command to the call was refused."""

    refusal: CallRefusal


class CallRepeated(Repeated, CallName):
    """A command came again that has been done before: the call stands like this."""

    told_as = CALLER_IS_TOLD
    changes_state: ClassVar[bool] = True
    status: CallStatus
    refusal: CallRefusal | None = None
    shortfall_coins: int = 0
    cap_room: CapRoom | None = None


class Call(State, CallSides):
    """A call. `seized`: whose lines it has; `waiting`: whose answers it waits for; `caller_device`, `callee_device`: the phone
    whose beats count (empty: any of the side's). Forgotten a day after its end."""

    status: CallStatus
    placed_by: MessageName
    placed_at: Time
    caller_role: Role = Role.USER
    callee_role: Role = Role.STREAMER
    clip: OptionalId = ""
    clip_s: Annotated[int, Meta(ge=0, le=MAX_CLIP_S)] = 0
    caller_device: Code = ""
    callee_device: Code = ""
    waiting: Annotated[tuple[Code, ...], Meta(max_length=5)] = ()
    seized: Annotated[tuple[User_, ...], Meta(max_length=2)] = ()
    traits: Traits | None = None
    room: Code = ""
    tariff: Tariff | None = None
    billed: bool = False
    refusal: CallRefusal | None = None
    shortfall_coins: int = 0
    cap_room: CapRoom | None = None
    ring_until: Time | None = None
    connected_at: Time | None = None
    caller_beat_at: Time | None = None
    callee_beat_at: Time | None = None
    payer_left_at: Time | None = None
    asks_at: Time | None = None
    ended_at: Time | None = None
    ended_by: By = ""
    void: bool = False
    reason: EndReason | None = None
    forget_at: Time | None = None

    @property
    def closing(self) -> bool:
        """Whether a play has ended but for the question whether its streamer was banned by then (`ended_at`, `reason`)."""
        return self.status is CallStatus.CONNECTED and self.reason is not None

    def device_of(self, user: str) -> str:
        """The phone of one of both whose beats count; empty: any."""
        return self.caller_device if user == self.caller else self.callee_device

    def told_to(self, user: str) -> EndReason | None:
        """Why it ended, as a user is told."""
        return told_to(user, self.reason, self.ended_by) if self.reason else None

    @property
    def over_at(self) -> datetime | None:
        """When a clip is over, or the longest call; one under a tariff of short steps is over when its receipt is full."""
        if self.connected_at is None:
            return None
        longest_s = min(self.tariff.payer.longest_s, self.tariff.earner.longest_s) if self.tariff else MAX_CALL_S
        return later(self.connected_at, timedelta(seconds=min(self.clip_s or MAX_CALL_S, longest_s)))

    @property
    def lost_at(self) -> datetime | None:
        """When the side that has been silent longer counts as lost. Nobody rings back to a clip: only its viewer beats."""
        if self.caller_beat_at is None or self.callee_beat_at is None:
            return None
        first = self.caller_beat_at if self.clip else min(self.caller_beat_at, self.callee_beat_at)
        return later(first, PEER_LOST_AFTER)

    @property
    def wake_at(self) -> datetime | None:
        """When something happens by itself."""
        if self.forget_at is not None:
            return self.forget_at
        if self.status is CallStatus.PLACING:
            return later(self.placed_at, PLACE_TIMEOUT)
        if self.status is CallStatus.RINGING:
            return self.ring_until
        if self.closing:
            return self.asks_at
        times = [at for at in (self.lost_at, self.over_at, self.asks_at) if at is not None]
        return min(times) if times else None


def _side(side: str, *, told: bool) -> Callable[[CallEnded], str]:
    """A side of a call that ended, where it is told why; not `told`: where it is not."""

    def user_of(ended: CallEnded) -> str:
        user: str = getattr(ended, side)
        return user if (ended.told_to(user) is ended.reason) is told else ""

    return user_of


CallInbox = (
    PlaceCall | AcceptCall | DeclineCall | HangUp | BeatCall | OpenRoom | LeaveCall | EndCall | LineSeized | LineRefused
    | ViewerAdmitted | PresenceTold | TariffSelected | BillOpened | BillRefused | Wake
)  # fmt: skip

CALL: Final = Entity(
    "call",
    key="call",
    flow=Flow.LIVE,
    state=Call,
    commands=(PlaceCall, AcceptCall, DeclineCall, HangUp, BeatCall, OpenRoom, LeaveCall, EndCall),
    facts=(CallRinging, CallRefused, CallConnected, CallEnded, RoomOpened, CallCommandRefused, CallRepeated),
    hears=(
        Hears(LineSeized, "call", "a call has a line"),
        Hears(LineRefused, "call", "a call hears why not"),
        Hears(ViewerAdmitted, "call", "the streamer's side lets the viewer watch a clip, or not"),
        Hears(PresenceTold, "call", "those who are paired in roulette are there, or not"),
        Hears(TariffSelected, "call", "a call pins its tariff"),
        Hears(BillOpened, "call", "the first checkpoint is held: it may ring"),
        Hears(BillRefused, "call", "too few coins: it does not ring"),
    ),
    shown=(
        Shown(CallRinging, ("caller", "callee"), "both phones show the call"),
        Shown(CallConnected, ("caller", "callee"), "both phones show the call"),
        Shown(CallEnded, (_side("caller", told=True), _side("callee", told=True)), "both phones show how the call ended"),
        Shown(
            CallEnded,
            (_side("caller", told=False), _side("callee", told=False)),
            "that it ended, not who has blocked whom, is banned, or has no coins left",
            ("reason", "by"),
        ),
    ),
)
