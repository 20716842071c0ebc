"""Admission: which commands are taken while decisions are late. What cannot be decided in time is refused early, not queued.

A *lane* is one partition of an entity's inbox: one queue, which one process works off. It is *calm* when it is empty, or has
just decided a command within TARGET_S. One that has not been calm for PATIENCE_S, although commands of several keys wait, has a
standing queue (as CoDel tells one: not by one slow answer, but by the lack of a quick one). It gets a limit of undecided
commands, which follows what is measured:

    at first              as many as its rate of decisions makes in TARGET_S (Little's law)
    a quick decision      one more: the limit doubles in each round, as in TCP's slow start
    a late decision       0.7 of it, at most once in TARGET_S
    nobody refused for QUIET_S, and decisions are quick          no limit

Laws: a calm lane refuses nobody; lanes do not affect each other; each PROBE_S one command gets through whatever the limit, so a
lane recovers by itself; what is refused as urgent would be refused otherwise, too. A key counts once however often it is asked,
and what a later command has overtaken counts no more: an entity that waits for an operator shuts nobody else out.

Pure: moments are seconds of any one clock that only goes forward.
"""

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

# Half of what a client waits for its decision: behind a queue as long as this one it still gets it.
TARGET_S: Final = 1.0
# A killed flow decides again after some 3 s, and then works off what has come meanwhile.
PATIENCE_S: Final = 5.0
# So many keys are let through at any rate: fewer are no queue, but singular entities, such as settings.
FLOOR: Final = 4
# What ends or answers something in progress, and a repeat of what is in the log already, fits into so many times the limit.
URGENT: Final = 4
BACKOFF: Final = 0.7
PROBE_S: Final = 1.0
QUIET_S: Final = 2.0
# What has waited for so long waits for something of its own, such as an operator.
FORGET_S: Final = 60.0
MAX_WAIT_S: Final = 30

# An inbox, and one of its partitions.
Place = tuple[str, int]


class Asked(NamedTuple):
    """An undecided command. `causes`: its id, and the ids of those that its decider sends on; a decision names one of them."""

    place: Place
    key: str
    causes: Sequence[str]
    at: float


class Lane:
    """One partition of an inbox, as this process sees it. `limit`: of undecided commands; None: there is none."""

    def __init__(self, moment: float) -> None:
        self.waiting: dict[str, Asked] = {}
        self.keys: Counter[str] = Counter()
        self.limit: float | None = None
        self.refused_at = -math.inf
        self._calm_at = self._cut_at = self._probed_at = moment
        self._decided: deque[float] = deque()

    def rate(self, moment: float) -> float:
        """Decisions a second, of the last PATIENCE_S."""
        while self._decided and self._decided[0] < moment - PATIENCE_S:
            self._decided.popleft()
        return len(self._decided) / PATIENCE_S

    def oldest_s(self, moment: float) -> float:
        """How long the oldest undecided command has waited; 0: none waits."""
        return moment - next(iter(self.waiting.values())).at if self.waiting else 0.0

    def admits(self, key: str, moment: float, *, urgent: bool) -> bool:
        """Whether one more command is taken now."""
        if not self.waiting:
            self._calm_at = moment
        if self.limit is None:
            if len(self.keys) < FLOOR or moment - self._calm_at <= PATIENCE_S:
                return True
            self.limit = max(float(FLOOR), self.rate(moment) * TARGET_S)
            self._cut_at = self._probed_at = moment
        if moment - max(self.refused_at, self._cut_at) > QUIET_S and moment - self._calm_at < TARGET_S:
            self.limit = None
            return True
        if len(self.waiting) < self.limit * URGENT and (urgent or key in self.keys or len(self.keys) < self.limit):
            return True
        if moment - self._probed_at >= PROBE_S:
            self._probed_at = moment
            return True
        self.refused_at = moment
        return False

    def wait_s(self, moment: float) -> int:
        """When it is worth asking again: when what is too much is decided, at the measured rate; where nothing was decided
        lately, behind as long a time as the oldest command has waited."""
        rate, excess = self.rate(moment), len(self.waiting) + 1 - (self.limit or 0)
        return max(1, min(MAX_WAIT_S, math.ceil(excess / rate if rate else self.oldest_s(moment))))

    def decided(self, took_s: float, moment: float) -> None:
        """A decision has come."""
        self._decided.append(moment)
        if took_s <= TARGET_S:
            self._calm_at = moment
            self.limit = None if self.limit is None else self.limit + 1
        elif self.limit is not None and moment - self._cut_at >= TARGET_S:
            self._cut_at, self.limit = moment, max(float(FLOOR), self.limit * BACKOFF)


class Admission:
    """All lanes of one serving process, and its undecided commands, by each id that a decision can name."""

    def __init__(self) -> None:
        self._lanes: dict[Place, Lane] = {}
        self._asked: dict[str, Asked] = {}

    def __bool__(self) -> bool:
        """Whether a decision is waited for."""
        return bool(self._asked)

    def ask(self, asked: Asked, *, urgent: bool = False) -> int:
        """Take a command: 0; or refuse it: the whole seconds after which it is worth asking again. `asked.at`: now."""
        moment = asked.at
        lane = self._lanes.get(asked.place)
        if lane is None:
            lane = self._lanes[asked.place] = Lane(moment)
        self._overtaken(lane, moment - FORGET_S)
        if not lane.admits(asked.key, moment, urgent=urgent):
            return lane.wait_s(moment)
        if known := self._asked.get(asked.causes[0]):
            self._forget(self._lanes[known.place], known)  # its sender has named the command, and sends it once more
        lane.waiting[asked.causes[0]] = asked
        lane.keys[asked.key] += 1
        self._asked.update(dict.fromkeys(asked.causes, asked))
        return 0

    def decided(self, cause: str, moment: float) -> float | None:
        """The first fact with this cause is a command's decision, however late: how long it took. None: of no command here."""
        asked = self._asked.get(cause)
        if asked is None:
            return None
        lane, took_s = self._lanes[asked.place], moment - asked.at
        self._forget(lane, asked)
        lane.decided(took_s, moment)
        if took_s <= TARGET_S:
            self._overtaken(lane, asked.at - PATIENCE_S)
        return took_s

    def lost(self, cause: str) -> None:
        """The log did not take a command: no decision comes of it, and it says nothing about its lane."""
        if asked := self._asked.get(cause):
            self._forget(self._lanes[asked.place], asked)

    def _overtaken(self, lane: Lane, before: float) -> None:
        while lane.waiting and (first := next(iter(lane.waiting.values()))).at < before:
            self._forget(lane, first)

    def _forget(self, lane: Lane, asked: Asked) -> None:
        del lane.waiting[asked.causes[0]]
        lane.keys[asked.key] -= 1
        if not lane.keys[asked.key]:
            del lane.keys[asked.key]
        for cause in asked.causes:
            self._asked.pop(cause, None)

    # --- what is shown -----------------------------------------------------------------------------------------------------

    def lanes(self, inbox: str) -> Iterator[Lane]:
        """Those of an inbox."""
        return (lane for (name, _), lane in self._lanes.items() if name == inbox)

    def undecided(self, inbox: str) -> int:
        """How many commands wait for their decision."""
        return sum(len(lane.waiting) for lane in self.lanes(inbox))

    def refusing(self, inbox: str, moment: float) -> bool:
        """Whether a command was refused within the last PATIENCE_S."""
        return any(moment - lane.refused_at < PATIENCE_S for lane in self.lanes(inbox))
