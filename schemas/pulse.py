"""The pulse: what happens on the platform, a second and a minute at a time. The flow `pulse` counts facts of other domains.

A *window* is one number of a span of time, `PulseWindow`, kept under "<metric>/<width in seconds>/<start as Unix time>":
written again, it takes its own place. A metric counts what fell into the window, or is a *level*: how it stood at the window's
end. A *sample* is a number that was looked up at a moment, such as how far a flow is behind; it is no sum of facts.
"""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta
from msgspec.json import Decoder

from schemas.log.base import Message, Time
from schemas.log.personal import PLAIN

SECOND_S: Final = 1
MINUTE_S: Final = 60
# A sample stands for so long.
SAMPLE_S: Final = 5


class Pulse(StrEnum):
    """What is counted. Members are only ever added."""

    ONLINE = "online"
    TALKING_DIRECT = "talking_direct"
    TALKING_ROULETTE = "talking_roulette"
    TALKING_CLIP = "talking_clip"
    COINS_UNDER_WAY = "coins_under_way"
    CALLS_DIRECT = "calls_direct"
    CALLS_ROULETTE = "calls_roulette"
    CALLS_CLIP = "calls_clip"
    CALLS_REFUSED = "calls_refused"
    COINS_IN = "coins_in"
    COINS_OUT = "coins_out"
    COINS_SPENT = "coins_spent"
    COINS_EARNED = "coins_earned"
    RANG = "rang"
    ANSWERED = "answered"
    ANSWER_MS = "answer_ms"
    MESSAGES = "messages"
    GIFTS = "gifts"
    PURCHASES = "purchases"
    SIGN_UPS = "sign_ups"


# How it stands, not how much came: who is online, who talks, and coins that have left one account and not reached the other.
LEVELS: Final = frozenset(
    {Pulse.ONLINE, Pulse.TALKING_DIRECT, Pulse.TALKING_ROULETTE, Pulse.TALKING_CLIP, Pulse.COINS_UNDER_WAY}
)

MetricName = Annotated[str, Meta(min_length=1, max_length=64, description="a `Pulse`, or <sample>/<flow>"), PLAIN]


# What is exact in JSON; a sum that is larger stands there as this.
MOST: Final = 2**53
Number = Annotated[int, Meta(ge=-MOST, le=MOST)]


def shown(value: int) -> int:
    """A sum as a window has it."""
    return max(-MOST, min(value, MOST))


class PulseWindow(Message):
    """One number. `at`: the window's start; `value`: what fell into it, or the level at its end; `late`: what came behind its
    end, which is no part of a count's `value`; `as_of`: how far the flow had heard the log when it closed the window."""

    metric: MetricName
    width_s: Annotated[int, Meta(ge=1, le=3_600)]
    value: Number
    as_of: Time
    late: Number = 0


_decode = Decoder(PulseWindow).decode


def window_of(value: bytes) -> PulseWindow | None:
    """A record of the pulse; None for what is none."""
    try:
        return _decode(value)
    except ValueError:
        return None


def window_key(metric: str, width_s: int, start: int) -> str:
    """Under which key a window stands; `start`: Unix seconds."""
    return f"{metric}/{width_s}/{start}"
