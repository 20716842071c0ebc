"""Rating: what a call costs and earns, as a pure function of tariff and length. Used by the bill, by preview and backtest.

A side of a tariff is a list of checkpoints (after seconds, coins), then a step that repeats behind the last one. A checkpoint
counts when the call gets past it: `after_s` < length; one at 0 counts as soon as the call connects, however short it is. So a
call that is cut at a checkpoint does not pay it, and rating has no rounding: lengths are exact to the microsecond. A side may
have a most that a call comes to, and seconds in which nothing is due: a checkpoint in them is passed like others, at no coins.

Laws (tests/test_billing_rating.py): equals a naive second implementation; never falls as time passes; pieces add up to the
whole; a side and its normal form rate every length alike, and two spellings of one price have the same normal form; a tariff
that is no subsidy never pays the earner more than the payer has paid.
"""

from datetime import timedelta
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from schemas.log.base import MAX_COINS

# A call is ended at this length; so a bill has an end, and a state a size.
MAX_CALL_S: Final = 6 * 3600
MAX_CHECKPOINTS: Final = 50
# A receipt has so many steps of each side, and a call ends where the next one would begin: of one that is billed every five
# seconds that is after 83 minutes, of one that is billed every 22 seconds or more seldom after MAX_CALL_S.
MAX_STEPS: Final = 1_000
MAX_STEP_COINS: Final = 1_000_000

Seconds = Annotated[int, Meta(ge=0, le=MAX_CALL_S)]
StepCoins = Annotated[int, Meta(ge=0, le=MAX_STEP_COINS)]


class Checkpoint(Struct, frozen=True, gc=False):
    """`coins` are due once the call is longer than `after_s`."""

    after_s: Seconds
    coins: StepCoins


class Side(Struct, frozen=True, gc=False, omit_defaults=True):
    """What one side pays or earns: the checkpoints, then `step_coins` every `step_s` behind the last one (0: no more).

    `most_coins`: what a call comes to at most, however long it is (0: no limit); `free_s`: what is due before costs nothing."""

    checkpoints: Annotated[tuple[Checkpoint, ...], Meta(max_length=MAX_CHECKPOINTS)] = ()
    step_s: Seconds = 0
    step_coins: StepCoins = 0
    most_coins: Annotated[int, Meta(ge=0, le=MAX_COINS)] = 0
    free_s: Seconds = 0

    @property
    def last_s(self) -> int:
        """When the repeating step begins to count."""
        return self.checkpoints[-1].after_s if self.checkpoints else 0

    def at(self, number: int) -> Checkpoint | None:
        """The checkpoint of that number, from 0; None: there are no more."""
        listed = len(self.checkpoints)
        if number >= listed and not self.step_s:
            return None
        after_s = self.checkpoints[number].after_s if number < listed else self.last_s + (number - listed + 1) * self.step_s
        return Checkpoint(after_s, self.coins(number + 1) - self.coins(number))

    @property
    def longest_s(self) -> int:
        """How long a call can last under this side, seconds."""
        following = self.at(MAX_STEPS)
        return MAX_CALL_S if following is None else min(MAX_CALL_S, following.after_s)

    def count(self, length: timedelta) -> int:
        """How many checkpoints a call of this length has passed."""
        listed = sum(1 for c in self.checkpoints if not c.after_s or timedelta(seconds=c.after_s) < length)
        if listed < len(self.checkpoints) or not self.step_s:
            return listed
        beyond = length - timedelta(seconds=self.last_s)
        # the steps strictly before the end: a step that falls on it does not count
        return listed + max(0, -(-beyond // timedelta(seconds=self.step_s)) - 1)

    def coins(self, passed: int) -> int:
        """The sum of the first `passed` checkpoints."""
        due = self._listed(passed) - self._listed(min(passed, self.free))
        return min(due, self.most_coins) if self.most_coins else due

    def _listed(self, passed: int) -> int:
        """That sum as it is written down, whatever is free, and whatever is the most."""
        listed = self.checkpoints[:passed]
        return sum(c.coins for c in listed) + (passed - len(listed)) * self.step_coins

    @property
    def free(self) -> int:
        """How many of the first checkpoints cost nothing."""
        return self.count(timedelta(seconds=self.free_s)) if self.free_s else 0

    def total(self, length: timedelta) -> int:
        """What a call of this length costs or earns, coins."""
        return self.coins(self.count(length))

    def lasts_s(self, covered: int, coins: int) -> int | None:
        """How long the call can last, seconds from its start, when the checkpoints before number `covered` are paid for and
        `coins` are left; None: as long as a call may."""
        if self.most_coins and coins >= self.most_coins - self.coins(covered):
            return None
        covered = max(covered, self.free)
        while (following := self.at(covered)) is not None and following.after_s < MAX_CALL_S:
            if covered >= len(self.checkpoints):
                if not self.step_coins:
                    return None
                more = self.at(covered + coins // self.step_coins)
                assert more is not None
                return more.after_s if more.after_s < MAX_CALL_S else None
            if following.coins > coins:
                return following.after_s
            coins -= following.coins
            covered += 1
        return None


def normal(side: Side) -> Side:
    """The shortest way to write the same price: without checkpoints and steps that cost nothing, and a most that none reaches.
    The last checkpoint stays where the repeating step counts from it, unless that is the connection."""
    step_s, step_coins = (side.step_s, side.step_coins) if side.step_s and side.step_coins else (0, 0)
    listed, last = side.checkpoints, len(side.checkpoints) - 1
    counts_from = last if step_s and side.last_s else None
    kept = tuple(checkpoint for number, checkpoint in enumerate(listed) if checkpoint.coins or number == counts_from)
    most = side.most_coins if side.most_coins < replace(side, most_coins=0).total(timedelta(seconds=MAX_CALL_S)) else 0
    return Side(kept, step_s, step_coins, most, side.free_s)


def pays_more_from(payer: Side, earner: Side) -> int | None:
    """The first checkpoint, seconds, behind which the earner has got more than the payer has paid; None: there is none. Until
    the payer's first checkpoint everything that is earned is more."""
    end = min(payer.longest_s, earner.longest_s)
    changes: dict[int, int] = {}
    for side, sign in ((payer, 1), (earner, -1)):
        number = 0
        while (checkpoint := side.at(number)) is not None and (checkpoint.after_s < end) and number < MAX_STEPS:
            changes[checkpoint.after_s] = changes.get(checkpoint.after_s, 0) + sign * checkpoint.coins
            number += 1
    margin = 0
    for after_s in sorted(changes):
        margin += changes[after_s]
        if margin < 0:
            return after_s
    return None


def problems_of(side: Side, name: str) -> list[str]:
    """What is wrong with a side, in words; nothing: it can be used."""
    found = []
    if len(side.checkpoints) > MAX_CHECKPOINTS:
        found.append(f"{name}: more than {MAX_CHECKPOINTS} checkpoints")
    if any(later.after_s <= sooner.after_s for sooner, later in zip(side.checkpoints, side.checkpoints[1:], strict=False)):
        found.append(f"{name}: each checkpoint must be later than the one before")
    if any(c.coins < 0 or c.after_s < 0 for c in side.checkpoints) or min(side.step_coins, side.step_s, side.most_coins) < 0:
        found.append(f"{name}: coins and seconds cannot be negative")
    if side.step_coins and not side.step_s:
        found.append(f"{name}: step_coins needs step_s, the seconds after which the step repeats")
    if 0 < side.step_s < MIN_STEP_S:
        found.append(f"{name}: step_s must be {MIN_STEP_S} seconds or more")
    return found


# Each step is a hold and a post in the ledger: a step a second would be a load, not a price.
MIN_STEP_S: Final = 5
