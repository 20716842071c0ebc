"""The pulse: what facts count for, and what of it a flow that starts again has counted already. Words: `schemas.pulse`.

The flow's clock is the log's: a fact is heard in the second in which the log took it, and seconds are handed on one by one,
each whole, with all partitions put together (`Seconds`). A fact that names a later time than that counts for that second.
Nothing here or behind it looks at a wall clock, so the same log gives the same windows.

A window closes `wait_s` behind its end, by that clock. Laws, which tests/test_pulse.py holds by chance: each fact counts once,
in its window or as late; a flow that starts again at any moment writes the same windows again, with the same values.

How it starts again (`Resume`): from the minutes that it wrote itself. `minute`, the first one that is counted again, stands
LATE_S before the last minute that all metrics have; `levels` are those at its beginning. What fell before it, and was heard
before the minute in front of it closed, is in them already, and is skipped; what was late then corrects them again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.balance import ACCOUNT, EntryRecorded
from schemas.balance_ledger import Ledger, ledger_of
from schemas.billing_rules import CallKind
from schemas.chat import CHAT, ItemKind, ItemPosted
from schemas.gift import GIFT, GiftSent
from schemas.log.base import Fact, unix_second
from schemas.pulse import MINUTE_S, SECOND_S, Pulse
from schemas.purchase import PURCHASE, PurchaseCredited
from schemas.user import USER, CameOnline, UserSignedUp, WentOffline
from schemas.video import CALL, CallConnected, CallEnded, CallRefused, CallRinging

# So long behind its end a window closes: facts are in the log within moments, and analysts can wait.
WAIT_S: Final = {SECOND_S: 2, MINUTE_S: 20}
# How often the clock is told to windows of that width.
TICK_S: Final = {SECOND_S: 1, MINUTE_S: 10}
# What is late by no more than this is added to its window's `late`; what comes later is only counted.
LATE_S: Final = 180
# A call rings for half a minute: so much of the log before `minute` has the rings of all its answers.
RINGS_S: Final = 120
# Behind `minute` the levels of seconds take so long to stand as they did.
SETTLED_S: Final = 30
# Partitions are read so far apart at most, by the log's clock: the seconds between them are in memory.
AHEAD_S: Final = 3_600
# Seconds are for whoever looks now.
SECONDS_KEPT_S: Final = 3_600

# The topics that are heard, and of what kinds the facts are.
HEARD: Final[Mapping[str, tuple[type[Fact], ...]]] = {
    USER.events: (CameOnline, WentOffline, UserSignedUp),
    CALL.events: (CallRinging, CallConnected, CallEnded, CallRefused),
    ACCOUNT.events: (EntryRecorded,),
    CHAT.events: (ItemPosted,),
    GIFT.events: (GiftSent,),
    PURCHASE.events: (PurchaseCredited,),
}
TALKING: Final = {
    CallKind.DIRECT: Pulse.TALKING_DIRECT,
    CallKind.ROULETTE: Pulse.TALKING_ROULETTE,
    CallKind.CLIP: Pulse.TALKING_CLIP,
}
CALLS: Final = {
    CallKind.DIRECT: Pulse.CALLS_DIRECT,
    CallKind.ROULETTE: Pulse.CALLS_ROULETTE,
    CallKind.CLIP: Pulse.CALLS_CLIP,
}

Counts = Iterable[tuple[Pulse, int]]


def counts_of(fact: Fact) -> Counts:
    """What a fact counts for by itself, and by how much."""
    match fact:
        case CameOnline():
            return ((Pulse.ONLINE, 1),)
        case WentOffline():
            return ((Pulse.ONLINE, -1),)
        case UserSignedUp():
            return ((Pulse.SIGN_UPS, 1),)
        case CallConnected():
            return (TALKING[fact.kind], 1), (CALLS[fact.kind], 1)
        case CallEnded():
            return ((TALKING[fact.kind], -1),) if fact.connected else ()
        case CallRefused():
            return ((Pulse.CALLS_REFUSED, 1),)
        case EntryRecorded():
            return _coins(fact) if fact.coins else ()
        case ItemPosted():
            return ((Pulse.MESSAGES, 1),) if fact.kind is ItemKind.MESSAGE else ()
        case GiftSent():
            return ((Pulse.GIFTS, 1),) if fact.ledger is Ledger.ORDINARY else ()
        case PurchaseCredited():
            return ((Pulse.PURCHASES, 1),) if fact.ledger is Ledger.ORDINARY else ()
    return ()


def _coins(entry: EntryRecorded) -> Counts:
    """Coins come into wallets from outside and are spent, are earned and paid out. Whatever goes from one account to another is
    under way until the other one has it."""
    if ledger_of(entry.account) is not Ledger.ORDINARY:
        return ()
    coins, outside = entry.coins, not entry.counterparty or entry.counterparty.startswith("@")
    if not entry.account.endswith("/coins"):
        moved = (Pulse.COINS_EARNED, coins) if coins > 0 else (Pulse.COINS_OUT, -coins)
    else:
        moved = (Pulse.COINS_IN, coins if outside else 0) if coins > 0 else (Pulse.COINS_SPENT, -coins)
    return (moved,) if outside else (moved, (Pulse.COINS_UNDER_WAY, -coins))


class Side(NamedTuple):
    """One side of the join of a ring and what came of it. `ms`: when, by the fact; `clock`: when the log took it; `rings`: it
    is the ring, or else `answered` says whether the call was taken."""

    call: str
    ms: int
    clock: int
    rings: bool
    answered: bool = False


def side_of(fact: Fact, clock: int) -> Side | None:
    """The side that a fact is, if any. A clip is taken by nobody."""
    if not isinstance(fact, CallRinging | CallConnected | CallEnded) or fact.kind is CallKind.CLIP:
        return None
    if isinstance(fact, CallEnded) and fact.connected:
        return None
    ms = round(fact.at.timestamp() * 1_000)
    return Side(fact.call, ms, clock, isinstance(fact, CallRinging), isinstance(fact, CallConnected))


def counts_of_answer(ring: Side, answer: Side) -> Counts:
    """What a ring and what came of it count for; the time to answer counts where there was one."""
    if not answer.answered:
        return ((Pulse.RANG, 1),)
    return (Pulse.RANG, 1), (Pulse.ANSWERED, 1), (Pulse.ANSWER_MS, max(0, answer.ms - ring.ms))


class Second(NamedTuple):
    """What was heard in one second of the log: sums by metric and the second in which it happened, and sides of the join."""

    clock: int
    sums: Counter[tuple[Pulse, int]]
    sides: list[Side]


class Seconds:
    """Facts of several places, put together second by second. A place is a partition; each tells how far it has been heard, and
    a second is whole when all have been heard beyond it. What comes behind that counts as heard in the next second. Holds sums
    of the seconds by which the places are apart, and no facts: what happened before `minute`, from where windows are counted,
    is one sum, and rings of long before are left out."""

    def __init__(self, places: Iterable[tuple[str, int]], begin: int, minute: int) -> None:
        self._heard = dict.fromkeys(places, 0)
        self._next = self._begin = begin
        self._oldest = minute - 1
        self._open: dict[int, Second] = {}

    def put(self, fact: Fact, logged_ms: int) -> None:
        """A fact, and when the log took it."""
        clock = max(logged_ms // 1_000, self._next)
        second = self._open.get(clock) or self._open.setdefault(clock, Second(clock, Counter(), []))
        at = max(min(unix_second(fact.at), clock), self._oldest)
        for metric, count in counts_of(fact):
            second.sums[metric, at] += count
        if (side := side_of(fact, clock)) and side.ms >= self._begin * 1_000:
            second.sides.append(side)

    def reach(self, place: tuple[str, int], heard_ms: int) -> None:
        """Everything that the log took before that moment has been heard here."""
        self._heard[place] = max(heard_ms, self._heard[place])

    def far(self, held: Set[tuple[str, int]]) -> set[tuple[str, int]]:
        """The places that are so far before the slowest one that reading them waits; `held`: those that wait."""
        slowest = max(min(self._heard.values(), default=0), self._begin * 1_000)  # what was before it is one sum
        most_ms = {place: (AHEAD_S // 2 if place in held else AHEAD_S) * 1_000 for place in self._heard}
        return {place for place, heard_ms in self._heard.items() if heard_ms - slowest > most_ms[place]}

    def whole(self) -> Iterator[Second]:
        """The seconds that are whole now, without a gap, each once."""
        until = min(self._heard.values(), default=0) // 1_000
        while self._next < until:
            clock = self._next
            self._next += 1
            yield self._open.pop(clock, Second(clock, Counter(), []))


class Way(StrEnum):
    """Where a count goes: into its window; to a window that has closed; to the level alone, since its window is no longer
    counted; or nowhere, since the level has it."""

    WINDOW = "window"
    LATE = "late"
    LEVEL = "level"
    NOWHERE = "nowhere"


class Resume(NamedTuple):
    """Where a flow begins. `minute`: the first minute that is counted; `second`: likewise; `levels`: those at the minute's
    beginning, or None: all that the log has is heard, and they come of it."""

    minute: int
    second: int
    levels: Mapping[Pulse, int] | None = None

    @property
    def begin(self) -> int:
        """The log is heard from this second on."""
        return self.minute - RINGS_S

    def way(self, width_s: int, at: int, clock: int) -> Way:
        """Where something goes that happened in the second `at` and was heard in `clock`."""
        if at >= (self.second if width_s == SECOND_S else self.minute):
            return Way.WINDOW
        known = self.levels is not None and at < self.minute and clock < self.minute + WAIT_S[MINUTE_S]
        return Way.NOWHERE if known else Way.LEVEL


def resume_of(written: Mapping[tuple[Pulse, int], int], levels: Iterable[Pulse], now_s: int) -> Resume:
    """Where to begin, by the last minutes that were written: (metric, start) -> value. `now_s` decides only which seconds are
    of interest, and where to begin for the first time."""
    last = {metric: max((start for name, start in written if name is metric), default=-1) for metric in Pulse}
    complete, recent = min(last.values()), now_s - SECONDS_KEPT_S
    minute = complete - LATE_S
    stood = {metric: written.get((metric, minute - MINUTE_S)) for metric in levels}
    found = {metric: value for metric, value in stood.items() if value is not None}
    if len(found) == len(stood) and complete >= 0:
        return Resume(minute, max(minute + SETTLED_S, recent), found)
    first = complete + MINUTE_S if complete >= 0 else now_s // MINUTE_S * MINUTE_S - MINUTE_S
    return Resume(first, max(first, recent))
