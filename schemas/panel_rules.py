"""Cohort rules as functions: a book is compiled once, into one Python function for each set of fields that an event can touch.

The functions are made from source, as dataclasses are: fifty rules that share windows and attributes then cost a few
microseconds instead of fifty walks over trees of closures. No text of a rule reaches the source, only names of ours; its values
are constants of the function.
"""

from collections import Counter as Counts
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.panel import (
    UNITS,
    All,
    Attribute,
    Cohort,
    CohortBook,
    Count,
    Is,
    Member,
    Not,
    Rule,
    Some,
    Within,
    parse_window,
    parts_of,
)

# (member, moment, the same in Unix seconds) -> the numbers of the cohorts that the member has to enter or leave.
Look = Callable[[Member, datetime, int], list[int]]


# A sum that so many rules ask for is computed once, before all of them; another where it is asked for, if it comes to that.
SHARED: Final = 3


def _cost(rule: Rule) -> int:
    """What is cheap is asked first: it may settle the matter."""
    match rule:
        case Is() | Within():
            return 0
        case Count():
            return 1
        case Not():
            return _cost(rule.of)
        case _:
            return 2


def held(buckets: dict[int, int] | None, first: int, last: int) -> int:
    """The sum of the buckets behind `first`, up to `last`."""
    found = 0
    if buckets:
        for number, amount in buckets.items():
            if first < number <= last:
                found += amount
    return found


class _Source:
    """The source of one function, while it is being written: `head` computes what rules share, `names` are its constants."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.head: list[str] = []
        self._uses = Counts((part.field, part.window) for rule in rules for part in parts_of(rule) if isinstance(part, Count))
        self.names: dict[str, Any] = {"held": held}
        self._shared: dict[str, str] = {}

    def _constant(self, value: Any) -> str:
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def _share(self, expression: str) -> str:
        """Compute it once."""
        if expression not in self._shared:
            self._shared[expression] = f"v{len(self._shared)}"
            self.head.append(f"{self._shared[expression]} = {expression}")
        return self._shared[expression]

    def condition(self, rule: Rule) -> str:
        """The rule as an expression that is True or False."""
        match rule:
            case All() | Some():
                word = " and " if isinstance(rule, All) else " or "
                return "(" + word.join(self.condition(part) for part in sorted(rule.of, key=_cost)) + ")"
            case Not():
                return f"(not {self.condition(rule.of)})"
            case Is() if rule.field is Attribute.TAG:
                return f"(not {self._constant(frozenset(rule.values))}.isdisjoint(member.tags))"
            case Is():
                value = self._share(f"member.attributes.get({self._share_name(rule.field)}, '')")
                return f"({value} in {self._constant(frozenset(rule.values))})"
            case Within():
                moment = self._share(f"member.{rule.field}_at")
                since = self._share(f"at - {self._share_name(timedelta(seconds=rule.seconds))}")
                return f"({moment} is not None and {moment} > {since})"
            case Count():
                return self._count(rule)

    def _share_name(self, value: Any) -> str:
        """A constant that is the same name for equal values."""
        for name, known in self.names.items():
            if known == value and type(known) is type(value):
                return name
        return self._constant(value)

    def _count(self, rule: Count) -> str:
        unit, count = parse_window(rule.window)
        last = self._share(f"second // {UNITS[unit][0]}")
        counter = self._share_name(rule.field)
        total = f"held(member.counts.get({counter}), {last} - {count}, {last})"
        if self._uses[rule.field, rule.window] >= SHARED:
            total = self._share(total)
        most = "" if rule.at_most is None else f" <= {rule.at_most!r}"
        return f"({rule.at_least!r} <= {total}{most})"


def _compile(cohorts: Iterable[tuple[int, Cohort]]) -> Look:
    cohorts = list(cohorts)
    source = _Source(cohort.rule for _, cohort in cohorts)
    body = []
    for number, cohort in cohorts:
        name = source._share_name(cohort.cohort)
        body.append(f"if {source.condition(cohort.rule)} is not ({name} in cohorts): changed.append({number})")
    lines = ["cohorts = member.cohorts", "changed = []", *source.head, *body, "return changed"]
    text = "def look(member, at, second):\n    " + "\n    ".join(lines)
    exec(compile(text, "<cohorts>", "exec"), source.names)  # noqa: S102 - our own text, see above
    look: Look = source.names["look"]
    return look


class Compiled:
    """A book ready for use: which cohorts a member has to enter or leave, and when time alone may change that."""

    def __init__(self, book: CohortBook) -> None:
        self.book = book
        self.cohorts = {cohort.cohort: cohort for cohort in book.cohorts}
        self.all = _compile(enumerate(book.cohorts))
        self._by: dict[tuple[str, ...], Look] = {}
        self._fields = [{part.field for part in parts_of(cohort.rule)} for cohort in book.cohorts]
        windows: dict[str, dict[str, set[int]]] = {}
        self._spans: dict[str, set[int]] = {}
        for cohort in book.cohorts:
            for part in parts_of(cohort.rule):
                if isinstance(part, Count):
                    unit, count = parse_window(part.window)
                    windows.setdefault(part.field, {}).setdefault(unit, set()).add(count)
                elif isinstance(part, Within):
                    self._spans.setdefault(part.field, set()).add(part.seconds)
        # Of each counter: a unit's seconds a bucket, how many are kept, and the windows over it, shortest first.
        self._windows = {
            field: [(*UNITS[unit], sorted(counts)) for unit, counts in units.items()] for field, units in windows.items()
        }

    def touched(self, fields: tuple[str, ...]) -> Look:
        """What to ask when these fields have changed."""
        look = self._by.get(fields)
        if look is None:
            touched = set(fields)
            numbered = enumerate(self.book.cohorts)
            look = self._by[fields] = _compile((n, cohort) for n, cohort in numbered if self._fields[n] & touched)
        return look

    def spans(self, fields: tuple[str, ...]) -> bool:
        """Whether a rule asks how long ago one of these moments was."""
        return any(field in self._spans for field in fields)

    def leaves_first(self, field: str, second: int) -> int:
        """The second at which what happens in this second leaves the first window over a counter; 0: there is none."""
        found = self._windows.get(field)
        return min([(second // size + counts[0]) * size for size, _, counts in found]) if found else 0

    def next_due(self, member: Member, at: datetime) -> datetime | None:
        """The first moment after `at` at which a window moves over something; None: never."""
        second = int(at.timestamp())
        soonest = 0
        for field, windows in self._windows.items():
            buckets = member.counts.get(field)  # type: ignore[call-overload]
            for size, kept, counts in windows if buckets else ():
                last = second // size
                for number in buckets:
                    if last - kept < number <= last:
                        for count in counts:
                            if number + count > last:
                                due = (number + count) * size
                                soonest = due if not soonest or due < soonest else soonest
                                break
        moments = [datetime.fromtimestamp(soonest, UTC)] if soonest else []
        for field, spans in self._spans.items():
            moment: datetime | None = getattr(member, f"{field}_at")
            if moment is not None:
                moments += [ends for span in spans if (ends := moment + timedelta(seconds=span)) > at]
        return min(moments, default=None)


EMPTY: Final = Compiled(CohortBook())
_latest: list[Compiled] = [EMPTY]


def compiled(book: CohortBook) -> Compiled:
    """The book, compiled; of the last few books the work is remembered."""
    for known in _latest:
        if known.book is book:
            return known
    made = Compiled(book)
    _latest[:] = [made, *_latest[:16]]
    return made
