"""What the answers that placing a call waits for make of it: which refusal, and of several the one that is told."""

from typing import Final

from msgspec.structs import replace

from schemas.log.base import later
from schemas.user import PresenceTold
from schemas.video import PRESENT_WITHIN, Call, CallRefusal
from schemas.video_line import LineRefusal

PRECEDENCE: Final = list(CallRefusal)
OF_CALLER: Final = {
    LineRefusal.UNKNOWN: CallRefusal.CALLER_UNKNOWN,
    LineRefusal.NO_TALKER: CallRefusal.CALLER_NO_TALKER,
    LineRefusal.BANNED: CallRefusal.CALLER_BANNED,
    LineRefusal.BLOCKED: CallRefusal.BLOCKED,
    LineRefusal.OFFLINE: CallRefusal.CALLER_OFFLINE,
    LineRefusal.BUSY: CallRefusal.CALLER_BUSY,
    LineRefusal.WAITING: CallRefusal.CALLER_BUSY,
    LineRefusal.NOT_WAITING: CallRefusal.CALLER_BUSY,
}
OF_CALLEE: Final = {
    LineRefusal.UNKNOWN: CallRefusal.CALLEE_UNKNOWN,
    LineRefusal.NO_TALKER: CallRefusal.CALLEE_UNKNOWN,
    LineRefusal.BANNED: CallRefusal.CALLEE_BANNED,
    LineRefusal.BLOCKED: CallRefusal.CALLEE_BLOCKS,
    LineRefusal.OFFLINE: CallRefusal.CALLEE_OFFLINE,
    LineRefusal.BUSY: CallRefusal.CALLEE_BUSY,
    LineRefusal.WAITING: CallRefusal.CALLEE_BUSY,
    LineRefusal.NOT_WAITING: CallRefusal.CALLEE_BUSY,
}


def of_line(call: Call, user: str, refusal: LineRefusal) -> CallRefusal:
    """What a line's refusal is to the call."""
    return (OF_CALLER if user == call.caller else OF_CALLEE)[refusal]


def of_presence(call: Call, answer: PresenceTold) -> CallRefusal | None:
    """None: the phone beat shortly before the two were paired, or since."""
    if answer.beat_at is not None and later(answer.beat_at, PRESENT_WITHIN) >= call.placed_at:
        return None
    return CallRefusal.CALLER_OFFLINE if answer.user == call.caller else CallRefusal.CALLEE_OFFLINE


def worse(call: Call, refusal: CallRefusal) -> Call:
    """Of two refusals the one that comes first in the order of precedence stays."""
    first = refusal if call.refusal is None else min(refusal, call.refusal, key=PRECEDENCE.index)
    return replace(call, refusal=first)
