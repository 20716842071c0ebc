"""A payer's daily cap: the most that goes to calls and gifts in any 24 hours.

The day is a span, not a date: it begins anew at no midnight, in no time zone. What was spent is kept by the hour, and an hour
counts until 24 hours behind its end, so that no 24 hours ever see more than the cap, and at most MAX_HOURS numbers say so.
Coins that are held count as well, until they are paid, and count as spent then, or are free. What comes back of a call or a
gift is taken off the newest hours. There are two caps, the owner's and staff's, and the smaller counts. The owner lowers theirs
at once; raising it, or ending it, waits for RAISED_AFTER, and whoever asks for what stands, or for less, takes that back.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from schemas.log.base import EPOCH, MAX_BALANCE_COINS, State, Time, later

RAISED_AFTER: Final = timedelta(hours=24)
HOUR: Final = timedelta(hours=1)
# The hour that runs, and the 24 before it.
MAX_HOURS: Final = 25

CapCoins = Annotated[int, Meta(ge=0, le=MAX_BALANCE_COINS, description="whole coins in any 24 hours")]


class SpentHour(State):
    """What was spent in an hour; `hour`: whole hours since 1970."""

    hour: int
    coins: int


class CapRoom(State):
    """What a cap leaves. `more_at`: when it will be more, if nothing else is spent; None: not by itself."""

    left_coins: int
    more_at: Time | None = None


class Cap(State):
    """The owner's cap and staff's, if any; from `next_at` on the owner's is `next_coins`. `hours`: oldest first."""

    own_coins: CapCoins | None = None
    staff_coins: CapCoins | None = None
    next_at: Time | None = None
    next_coins: CapCoins | None = None
    hours: Annotated[tuple[SpentHour, ...], Meta(max_length=MAX_HOURS)] = ()

    @property
    def is_none(self) -> bool:
        """Whether nobody has set a cap."""
        return self.own_coins is None and self.staff_coins is None

    def turned(self, at: datetime) -> "Cap":
        """The cap as of a time: what the owner has waited for is theirs."""
        if self.next_at is None or self.next_at > at:
            return self
        return replace(self, own_coins=self.next_coins, next_at=None, next_coins=None)

    def coins_at(self, at: datetime) -> int | None:
        """The cap that counts."""
        own = self.turned(at).own_coins
        return self.staff_coins if own is None else own if self.staff_coins is None else min(own, self.staff_coins)

    def counting(self, at: datetime) -> Iterator[SpentHour]:
        """The hours that count, oldest first."""
        hour = _hour(at)
        return (one for one in self.hours if hour - one.hour < MAX_HOURS)

    def left_at(self, at: datetime, held_coins: int) -> int | None:
        """What is left of it, beside what is held; None: nothing is limited."""
        most = self.coins_at(at)
        return None if most is None else max(0, most - held_coins - sum(one.coins for one in self.counting(at)))

    def room_at(self, at: datetime, held_coins: int) -> CapRoom | None:
        """Likewise, and when there will be more."""
        left = self.left_at(at, held_coins)
        if left is None:
            return None
        times = [later(EPOCH, HOUR * (one.hour + MAX_HOURS)) for one in self.counting(at)]
        if self.next_at is not None and self.next_at > at:
            times.append(self.next_at)
        for time in sorted(times):
            then = self.left_at(time, held_coins)
            if then is None or then > left:
                return CapRoom(left, time)
        return CapRoom(left)

    def after(self, at: datetime, coins: int) -> "Cap":
        """The cap behind spending `coins`, or, below zero, behind so many coming back."""
        hours, hour = list(self.counting(at)), _hour(at)
        if coins > 0:
            now = hours.pop().coins if hours and hours[-1].hour == hour else 0
            hours.append(SpentHour(hour, now + coins))
        while coins < 0 and hours:
            last = hours.pop()
            coins += last.coins
            if coins > 0:
                hours.append(SpentHour(last.hour, coins))
        return replace(self, hours=tuple(hours))

    def set_by_owner(self, coins: int | None, at: datetime) -> "Cap":
        """Lower at once, or begin to wait for more; None: for no cap."""
        if self.own_coins is None or (coins is not None and coins <= self.own_coins):
            return replace(self, own_coins=coins, next_at=None, next_coins=None)
        if self.next_at is not None and self.next_coins == coins:
            return self
        return replace(self, next_at=later(at, RAISED_AFTER), next_coins=coins)


def _hour(at: datetime) -> int:
    since = at - EPOCH
    return since.days * 24 + since.seconds // 3_600
