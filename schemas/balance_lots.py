"""Lots: where an account's coins came from, and until when they may be spent.

Coins that came under a name of their own (a purchase, its bonus, a grant that expires) are a lot. Coins that expire soonest are
spent first, then the lots that never expire, in the order in which they came, and last the coins of no lot. All lots together
are never more than the balance, and everything here keeps that.
"""

from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from schemas.log.base import MAX_BALANCE_COINS, State, Time
from schemas.log.personal import PLAIN

# Above it the lots that would be spent last lose their names: their coins stay, as one lot, and never expire any more.
MAX_LOTS: Final = 32

UNNAMED: Final = "unnamed"

LotName = Annotated[
    str, Meta(min_length=1, max_length=140, description="<purchase>, <purchase>/bonus or a transfer's id"), PLAIN
]
# One message moves less, but coins that lost their names lie together, and the balance alone limits those.
LotCoins = Annotated[int, Meta(gt=0, le=MAX_BALANCE_COINS)]


class Lot(State):
    """Coins of one origin; without `expires_at` they never expire."""

    lot: LotName
    coins: LotCoins
    expires_at: Time | None = None


Lots = Annotated[tuple[Lot, ...], Meta(max_length=MAX_LOTS)]


def with_lots(lots: tuple[Lot, ...], more: tuple[Lot, ...]) -> tuple[Lot, ...]:
    """The lots with new ones among them, in the order in which they are spent; of too many the last are one without a name."""
    after = list(lots)
    for lot in more:
        after.insert(next((n for n, one in enumerate(after) if _expires_before(lot, one)), len(after)), lot)
    if len(after) <= MAX_LOTS:
        return tuple(after)
    return *after[: MAX_LOTS - 1], Lot(UNNAMED, sum(lot.coins for lot in after[MAX_LOTS - 1 :]))


def _expires_before(lot: Lot, other: Lot) -> bool:
    if lot.expires_at is None:
        return False
    return other.expires_at is None or lot.expires_at < other.expires_at


def spent(lots: tuple[Lot, ...], coins: int) -> tuple[Lot, ...]:
    """The lots behind spending `coins`; what they do not cover was of no lot. It is written out: each debit comes by here, and
    most of them are covered by the first lot."""
    if not lots:
        return lots
    first = lots[0]
    if first.coins > coins > 0:
        return (Lot(first.lot, first.coins - coins, first.expires_at), *lots[1:])
    for number, lot in enumerate(lots):
        left = lot.coins - coins
        if left > 0:
            return (Lot(lot.lot, left, lot.expires_at), *lots[number + 1 :]) if coins else lots[number:]
        coins = -left
    return ()


def taken(lots: tuple[Lot, ...], coins: int, names: tuple[str, ...]) -> tuple[Lot, ...]:
    """The lots behind taking `coins` away: from the named ones as far as they go, the rest as if it were spent."""
    after = []
    for lot in lots:
        off = min(coins, lot.coins) if lot.lot in names else 0
        coins -= off
        if off < lot.coins:
            after.append(replace(lot, coins=lot.coins - off) if off else lot)
    return spent(tuple(after), coins)
