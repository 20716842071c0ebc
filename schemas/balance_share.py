"""An agency's share of what a member earns: it stands with the member's earnings account, and is taken off as it is earned.

The rule of rounding: under one version the agency has, behind each earning, its basis points of all that was earned under that
version, rounded down to whole coins. What is left of a coin (`carried`) waits for the next earning; when the version ends it is
the member's.
"""

from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import State
from schemas.user import User_

# All of it, in basis points.
WHOLE_BPS: Final = 10_000

ShareBps = Annotated[int, Meta(ge=0, le=WHOLE_BPS, description="hundredths of a percent")]
ShareVersion = Annotated[int, Meta(ge=0, le=2**53)]


class Share(State):
    """Whose share it is, how much, and under which version; `carried`: ten-thousandths of a coin, from the earnings so far;
    `waiting_coins`: of earnings that have made no whole coin of the share yet."""

    agency: User_
    share_bps: ShareBps
    version: ShareVersion
    carried: Annotated[int, Meta(ge=0, lt=WHOLE_BPS)] = 0
    waiting_coins: Annotated[int, Meta(ge=0)] = 0


def share_of(share: Share, coins: int) -> tuple[int, int, Share]:
    """Behind `coins` that are earned: the agency's next whole coins, the earnings that these are of, and the share."""
    whole, carried = divmod(share.carried + coins * share.share_bps, WHOLE_BPS)
    of = share.waiting_coins + coins
    return whole, of, Share(share.agency, share.share_bps, share.version, carried, 0 if whole else of)
