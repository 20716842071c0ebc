"""An agency's share of what a member earns: it stands with the member's earnings account, and is taken off as it is earned.

The rule of rounding: under one version the agency has, behind each earning, its basis points of all that was earned under that
version, rounded down to whole coins. What is left of a coin (`carried`) waits for the next earning; when the version ends it is
the member's.

What is taken back of what was earned, where a call proves shorter than it was billed, comes of the member's account alone, and
makes the next shares less until the agency has its part of the rest. It counts under the version in force at that moment.
"""

from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from schemas.log.base import State
from schemas.user import User_

# All of it, in basis points.
WHOLE_BPS: Final = 10_000
# By more than this an agency's next shares are never less, in ten-thousandths of a coin: nearly all that a 64-bit number holds.
MOST_OWED: Final = 9 * 10**18

ShareBps = Annotated[int, Meta(ge=0, le=WHOLE_BPS, description="hundredths of a percent")]
ShareVersion = Annotated[int, Meta(ge=0, le=2**53)]


class Share(State):
    """Whose share it is, how much, and under which version; `carried`: ten-thousandths of a coin, from the earnings so far,
    below zero where the agency has had more; `waiting_coins`: of earnings that have made no whole coin of the share yet."""

    agency: User_
    share_bps: ShareBps
    version: ShareVersion
    carried: Annotated[int, Meta(ge=-MOST_OWED, lt=WHOLE_BPS)] = 0
    waiting_coins: Annotated[int, Meta(ge=0)] = 0


def share_of(share: Share, coins: int) -> tuple[int, int, Share]:
    """Behind `coins` that are earned: the agency's next whole coins, the earnings that these are of, and the share."""
    due = share.carried + coins * share.share_bps
    whole, carried = divmod(due, WHOLE_BPS) if due > 0 else (0, due)
    of = share.waiting_coins + coins
    return whole, of, Share(share.agency, share.share_bps, share.version, carried, 0 if whole else of)


def without(share: Share, coins: int) -> Share:
    """The share behind `coins` of the earnings that were taken back."""
    return replace(share, carried=max(-MOST_OWED, share.carried - coins * share.share_bps))
