"""Cohort rules as functions: a book is compiled once, into one Python function for each set of fields that an event can touch.

The functions are made from source, as dataclasses are: fifty rules that share windows and attributes then cost a few
microseconds instead of fifty walks over trees of closures. A counter's buckets are gone through once, for all its windows. No
text of a rule reaches the source, only names of ours; its values are constants of the function.

All buckets of a member lie at or before the moment that is asked about: the panel never asks about a moment before the newest
event that it has counted.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Raw

from schemas.log.base import EPOCH, later, moment_of, unix_minute
from schemas.panel import All, Attribute, Cohort, CohortBook, Count, Is, Member, Not, Rule, Some, Within, parts_of
from schemas.panel_counters import COUNTERS, FIRST_MINUTE, UNITS, Buckets, buckets_of, parse_window

# What one decision has read of a member's counters: each is read once.
Read = dict[str, Buckets]
# (member, its cohorts, moment, the same in Unix minutes, read) -> the numbers of the cohorts that it has to enter or leave.
Look = Callable[[Member, dict[str, str], datetime, int, Read], list[int]]
# (a member's counts, read, Unix minute from which it was not looked at, Unix minute now) -> the counters of which something has
# left a window since, and the Unix minute at which something leaves one next (0: nothing will).
Moves = Callable[[dict[str, Raw], Read, int, int], tuple[list[str], int]]

# Of a counter: unit -> how many buckets its windows have, shortest first.
Windows = dict[str, dict[str, list[int]]]


def _windows(rules: Iterable[Rule]) -> Windows:
    found: dict[str, dict[str, set[int]]] = {}
    for rule in rules:
        for part in parts_of(rule):
            if isinstance(part, Count):
                unit, count = parse_window(part.window)
                found.setdefault(COUNTERS[part.field], {}).setdefault(unit, set()).add(count)
    return {field: {unit: sorted(counts) for unit, counts in units.items()} for field, units in found.items()}


def _by_unit(blocks: dict[str, list[str]]) -> list[str]:
    """What to do with the bucket `number`, by the unit that its number tells (see `UNITS`)."""
    lines = []
    for word, unit in (("if", "m"), ("elif", "h")):
        lines += [f"{word} number >= {FIRST_MINUTE // UNITS[unit][0]}:", *_inside(blocks.get(unit) or ["pass"])]
    return [*lines, "else:", *_inside(blocks["d"])] if "d" in blocks else lines


def _reading(counter: str) -> list[str]:
    """`buckets`, of the counter that a constant names."""
    return [
        f"buckets = read.get({counter})",
        f"if buckets is None: buckets = read[{counter}] = buckets_of(counts.get({counter}))",
        "if buckets:",
    ]


def _inside(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _function(head: str, lines: Iterable[str], names: dict[str, Any]) -> Any:
    text = "\n".join([head, *_inside(lines)])
    exec(compile(text, "<cohorts>", "exec"), names)  # noqa: S102 - our own text, see above
    return names[head[4 : head.index("(")]]


class _Source:
    """The source of one look, while it is being written: `head` computes what rules share, `names` are its constants."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.head: list[str] = []
        self.names: dict[str, Any] = {"buckets_of": buckets_of, "later": later}
        self._shared: dict[str, str] = {}
        self._sums: dict[tuple[str, str, int], str] = {}
        for field, units in _windows(rules).items():
            self._add_up(field, units)

    def share_name(self, value: Any) -> str:
        """A constant that is the same name for equal values."""
        for name, known in self.names.items():
            if known == value and type(known) is type(value):
                return name
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def _share(self, expression: str) -> str:
        """Compute it once."""
        if expression not in self._shared:
            self._shared[expression] = f"v{len(self._shared)}"
            self.head.append(f"{self._shared[expression]} = {expression}")
        return self._shared[expression]

    def _add_up(self, field: str, units: dict[str, list[int]]) -> None:
        """The sums over all windows of a counter, in one pass."""
        blocks, before = {}, []
        for unit, counts in units.items():
            block: list[str] = []
            for count in counts:  # the shortest window inmost
                total = self._sums[field, unit, count] = f"s{len(self._sums)}"
                first = f"{total}_{unit}"
                before.append(f"{first} = minute // {UNITS[unit][0]} - {count}")
                block = [f"if number > {first}:", *_inside([f"{total} += amount", *block])]
            blocks[unit] = block
        totals = [self._sums[field, unit, count] for unit, counts in units.items() for count in counts]
        loop = ["for number, amount in buckets.items():", *_inside(_by_unit(blocks))]
        self.head += [f"{' = '.join(totals)} = 0", *_reading(self.share_name(field)), *_inside([*before, *loop])]

    def condition(self, rule: Rule) -> str:
        """The rule as an expression that is True or False."""
        match rule:
            case All() | Some():
                word = " and " if isinstance(rule, All) else " or "
                return "(" + word.join(map(self.condition, rule.of)) + ")"
            case Not():
                return f"(not {self.condition(rule.of)})"
            case Is() if rule.field is Attribute.TAG:
                return f"(not {self.share_name(frozenset(rule.values))}.isdisjoint(member.tags))"
            case Is():
                value = self._share(f"member.attributes.get({self.share_name(rule.field)}, '')")
                return f"({value} in {self.share_name(frozenset(rule.values))})"
            case Within():
                moment = self._share(f"member.{rule.field}_at")
                since = self._share(f"later(at, {self.share_name(timedelta(seconds=-rule.seconds))})")
                return f"({moment} is not None and {moment} > {since})"
            case Count():
                most = "" if rule.at_most is None else f" <= {rule.at_most!r}"
                return f"({rule.at_least!r} <= {self._sums[COUNTERS[rule.field], *parse_window(rule.window)]}{most})"


def _look(cohorts: Iterable[tuple[int, Cohort]]) -> Look:
    cohorts = list(cohorts)
    source = _Source(cohort.rule for _, cohort in cohorts)
    body = []
    for number, cohort in cohorts:
        name = source.share_name(cohort.cohort)
        body.append(f"if {source.condition(cohort.rule)} is not ({name} in cohorts): changed.append({number})")
    lines = ["counts = member.counts", "changed = []", *source.head, *body, "return changed"]
    look: Look = _function("def look(member, cohorts, at, minute, read):", lines, source.names)
    return look


def _moves(windows: Windows) -> Moves:
    lines = ["moved = []", "soonest = 0"]
    names: dict[str, Any] = {"buckets_of": buckets_of}
    for number, (field, units) in enumerate(windows.items()):
        names[f"k{number}"] = field
        blocks = {}
        for unit, counts in units.items():
            block: list[str] = []
            for count in reversed(counts):  # the shortest window is left first
                then = ["if leaves >= since: left = True", *block]
                block = [
                    f"leaves = (number + {count}) * {UNITS[unit][0]}",
                    "if leaves > minute:",
                    "    if leaves < soonest or not soonest: soonest = leaves",
                    "else:",
                    *_inside(then),
                ]
            blocks[unit] = block
        loop = ["left = False", "for number in buckets:", *_inside(_by_unit(blocks)), f"if left: moved.append(k{number})"]
        lines += [*_reading(f"k{number}"), *_inside(loop)]
    moves: Moves = _function("def moves(counts, read, since, minute):", [*lines, "return moved, soonest"], names)
    return moves


class Touched:
    """What to ask when these fields have changed: `look`, whether `spans` of time are asked for, and when what has just
    happened `leaves` its first window."""

    def __init__(self, look: Look, *, spans: bool, shortest: tuple[tuple[int, int], ...]) -> None:
        self.look = look
        self.spans = spans
        self._shortest = shortest
        self._minute = -1
        self._leaves: datetime | None = None

    def leaves(self, minute: int) -> datetime | None:
        """When what happens in this minute leaves the first window; None: there is none."""
        if minute != self._minute:
            self._minute = minute
            leaves = [(minute // size + count) * size for size, count in self._shortest]
            self._leaves = _at(min(leaves)) if leaves else None
        return self._leaves


def _at(minute: int) -> datetime:
    return moment_of(minute * 60)


class Compiled:
    """A book ready for use: which cohorts a member has to enter or leave, and when time alone may change that."""

    def __init__(self, book: CohortBook) -> None:
        self.book = book
        self.version = book.version
        self.cohorts = {cohort.cohort: cohort for cohort in book.cohorts}
        self.all = _look(enumerate(book.cohorts))
        self._by: dict[tuple[str, ...], Touched] = {}
        self._fields = [{part.field for part in parts_of(cohort.rule)} for cohort in book.cohorts]
        self._spans: dict[str, set[int]] = {}
        for cohort in book.cohorts:
            for part in parts_of(cohort.rule):
                if isinstance(part, Within):
                    self._spans.setdefault(part.field, set()).add(part.seconds)
        self._windows = _windows(cohort.rule for cohort in book.cohorts)
        self._moves = _moves(self._windows)
        # The cohorts of a member that nothing is known of, by number: no window can change that.
        self.blank = frozenset(self.all(Member(), {}, EPOCH, 0, {}))
        self.blank_cohorts = {cohort.cohort: cohort.tag for number, cohort in enumerate(book.cohorts) if number in self.blank}

    def touched(self, fields: tuple[str, ...]) -> Touched:
        """What to ask when these fields have changed."""
        return self._by.get(fields) or self._touch(fields)

    def _touch(self, fields: tuple[str, ...]) -> Touched:
        touched = set(fields)
        look = _look((n, cohort) for n, cohort in enumerate(self.book.cohorts) if self._fields[n] & touched)
        shortest: dict[int, int] = {}
        for field in fields:
            for unit, counts in self._windows.get(str(field), {}).items():
                size = UNITS[unit][0]
                shortest[size] = min(counts[0], shortest.get(size, counts[0]))
        made = self._by[fields] = Touched(look, spans=bool(touched & self._spans.keys()), shortest=tuple(shortest.items()))
        return made

    def moved(
        self, member: Member, at: datetime, minute: int, read: Read, since: datetime | None = None
    ) -> tuple[list[str], datetime | None]:
        """The fields of which something has left a window from `since` to `at`, and when something does next; None: never."""
        moved, soonest = self._moves(member.counts, read, unix_minute(since) if since else 0, minute)
        due = _at(soonest) if soonest else None
        for field, spans in self._spans.items():
            moment: datetime | None = getattr(member, f"{field}_at")
            if moment is None:
                continue
            ends = [later(moment, timedelta(seconds=span)) for span in spans]
            if since is not None and any(since <= end <= at for end in ends):
                moved.append(field)
            due = min((end for end in ends if end > at and (due is None or end < due)), default=due)
        return moved, due


EMPTY: Final = Compiled(CohortBook())
KNOWN: Final = 16
_known: dict[int, Compiled] = {}


def compiled(book: CohortBook) -> Compiled:
    """The book, compiled; of the last few books the work is remembered."""
    known = _known.get(id(book))  # whose book lives on in there: no other has this id
    if known is None:
        known = _known[id(book)] = Compiled(book)
        if len(_known) > KNOWN:
            del _known[next(iter(_known))]
    return known
