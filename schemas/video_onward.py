"""Who goes on waiting in roulette when a call is over, and at which place.

Who did nothing wrong goes on at the place and with the waiting time from before: the partner of somebody who declined, gave up,
was banned, could not pay, was busy, did not answer, or was not there. Who declined goes on at the end; the others at fault do
not go on. Two who talked join again by themselves. A direct call that comes to nothing through no fault of the callee's gives
the callee, too, the place back from which it took her.
"""

from typing import Final, NamedTuple

from schemas.billing_rules import CallKind
from schemas.video import Call, CallRefusal, CallStatus, EndReason
from schemas.video_length import sides


class Onward(NamedTuple):
    """`again`: who goes on, `keeps`: who at the place from before; `met`: whether the two are each other's last partner now."""

    again: frozenset[str] = frozenset()
    keeps: frozenset[str] = frozenset()
    met: bool = False


NOBODY: Final = Onward()


def behind_refusal(call: Call, refusal: CallRefusal) -> Onward:
    """Of a call that did not come about. Also a user whose line was refused, but who still waits, goes on; one who cannot pay,
    or whose phone is silent, does not: the pool would pair the same people for ever."""
    if call.kind is not CallKind.ROULETTE:
        return Onward(keeps=frozenset({call.callee}))
    if refusal is CallRefusal.NO_TARIFF:
        return NOBODY
    going = frozenset({call.caller, call.callee})
    if refusal in (CallRefusal.CALLER_OFFLINE, CallRefusal.CALLEE_OFFLINE):
        going -= {call.caller if refusal is CallRefusal.CALLER_OFFLINE else call.callee}
    if refusal in (CallRefusal.DAILY_CAP, CallRefusal.INSUFFICIENT_COINS, CallRefusal.CALLEE_LACKS_COINS):
        going = frozenset({sides(call.caller, call.callee, call.caller_role, call.callee_role)[1]})
    return Onward(going, going)


def behind_end(call: Call, ended: Call) -> Onward:
    """Of a call that ended: `call` as it was, `ended` as it is."""
    if call.kind is CallKind.CLIP:
        return NOBODY
    roulette, both = call.kind is CallKind.ROULETTE, frozenset({call.caller, call.callee})
    if call.status is CallStatus.CONNECTED:
        silent = {call.caller: call.caller_beat_at, call.callee: call.callee_beat_at}
        here = frozenset(user for user, beat in silent.items() if beat is not None and beat != call.connected_at)
        waits_on = here if ended.void and ended.reason is EndReason.PEER_LOST else frozenset[str]()
        return Onward(waits_on if roulette else frozenset(), waits_on if roulette else waits_on & {call.callee}, met=True)
    at_fault = {call.callee} if ended.reason is EndReason.UNANSWERED else {ended.ended_by}
    if not roulette:
        return Onward(keeps=frozenset({call.callee}) - at_fault)
    again = both if ended.reason is EndReason.DECLINED else both - at_fault
    return Onward(again, both - at_fault, met=call.status is CallStatus.RINGING)
