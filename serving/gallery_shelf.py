"""A shelf: everybody whom one role sees, kept in order, and a page of it for one viewer within a millisecond or so.

A card's position is a number of milliseconds, the smaller the earlier: since when it is online (where the newest come first:
minus that) less its boosts. What is the same for all viewers is in the card's own number; the cards stand in sorted segments by
country and languages, since a match lifts a segment as a whole; the few cards that a viewer is close to are placed one by one.
A page merges the segments behind the cursor, so it costs as much on 100,000 cards as on 100.
"""

import heapq
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

from sortedcontainers import SortedList

from schemas.gallery import BoostKind, GalleryRules, Order

# Of affinity, so many points count as the whole boost.
FULL_AFFINITY: Final = 100.0

Segment = tuple[str, tuple[str, ...]]
# A position: milliseconds, and the user's id, which parts equals.
Position = tuple[int, str]


class Candidate(NamedTuple):
    """Somebody online, as the shelf sees them. `hides_from`: whom they have blocked."""

    user: str
    online_since_ms: int
    country: str = ""
    languages: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    engagement: float = 0.0
    busy: bool = False
    hides_from: frozenset[str] = frozenset()


class Viewpoint(NamedTuple):
    """Who looks: whom they never see, whom they like, whom they are close to (points of affinity)."""

    user: str
    country: str = ""
    languages: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()
    favorites: frozenset[str] = frozenset()
    affinity: Mapping[str, float] = {}


class Reason(NamedTuple):
    """One part of a position: what, and how many seconds it lifts by."""

    what: str
    seconds: float


class Shelf:
    """The candidates of one role's rules. Use: `put`, `drop`, `page`, `place`."""

    def __init__(self, rules: GalleryRules) -> None:
        self.rules = rules
        self._sign = 1 if rules.order is Order.LONGEST_FIRST else -1
        self._by: dict[BoostKind, int] = {}
        self._tags: dict[str, int] = {}
        for boost in rules.boosts:
            if boost.kind is BoostKind.TAG:
                self._tags[boost.tag] = self._tags.get(boost.tag, 0) + boost.seconds
            else:
                self._by[boost.kind] = self._by.get(boost.kind, 0) + boost.seconds
        self._by_country = BoostKind.COUNTRY in self._by or rules.same_country
        self._by_language = BoostKind.LANGUAGE in self._by
        self._only, self._never = frozenset(rules.only_tags), frozenset(rules.never_tags)
        self._segments: dict[Segment, SortedList[Position]] = {}
        self._known: dict[str, tuple[Candidate, Segment, Position]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, user: str) -> Candidate | None:
        """Somebody on the shelf."""
        found = self._known.get(user)
        return found[0] if found else None

    def put(self, candidate: Candidate) -> bool:
        """Put somebody where they belong; False: the rules do not show them (and they are not there any more)."""
        self.drop(candidate.user)
        fits = (not self._only or candidate.tags & self._only) and not candidate.tags & self._never
        if not fits or (candidate.busy and not self.rules.show_busy):
            return False
        segment = (
            candidate.country if self._by_country else "",
            candidate.languages if self._by_language else (),
        )
        position = (self._own_ms(candidate), candidate.user)
        self._segments.setdefault(segment, SortedList()).add(position)
        self._known[candidate.user] = (candidate, segment, position)
        return True

    def drop(self, user: str) -> None:
        """Take somebody off."""
        if found := self._known.pop(user, None):
            _, segment, position = found
            positions = self._segments[segment]
            positions.remove(position)
            if not positions:
                del self._segments[segment]

    def _own_ms(self, candidate: Candidate) -> int:
        lifted = sum(reason.seconds for reason in self._own(candidate))
        return self._sign * candidate.online_since_ms - round(lifted * 1000)

    def _own(self, candidate: Candidate) -> Iterator[Reason]:
        """What lifts a card for every viewer."""
        for tag in candidate.tags & self._tags.keys():
            yield Reason(f"tag {tag}", self._tags[tag])
        if weight := self._by.get(BoostKind.ENGAGEMENT, 0):
            yield Reason(BoostKind.ENGAGEMENT, weight * candidate.engagement)
        if candidate.busy and (weight := self._by.get(BoostKind.BUSY, 0)):
            yield Reason(BoostKind.BUSY, weight)

    def _of_segment(self, segment: Segment, viewer: Viewpoint) -> Iterator[Reason]:
        """What lifts a segment for this viewer."""
        compatriots, understood = _matches(segment, viewer)
        if compatriots and (weight := self._by.get(BoostKind.COUNTRY, 0)):
            yield Reason(BoostKind.COUNTRY, weight)
        if understood and (weight := self._by.get(BoostKind.LANGUAGE, 0)):
            yield Reason(BoostKind.LANGUAGE, weight)

    def _of_person(self, user: str, viewer: Viewpoint) -> Iterator[Reason]:
        """What lifts this card for this viewer."""
        if user in viewer.favorites and (weight := self._by.get(BoostKind.FAVORITE, 0)):
            yield Reason(BoostKind.FAVORITE, weight)
        points = viewer.affinity.get(user, 0.0)
        if points and (weight := self._by.get(BoostKind.AFFINITY, 0)):
            yield Reason(BoostKind.AFFINITY, round(weight * min(1.0, points / FULL_AFFINITY), 3))

    def sees(self, viewer: Viewpoint, user: str) -> bool:
        """Whether this viewer is shown this user, if on the shelf."""
        found = self._known.get(user)
        if found is None or user == viewer.user or user in viewer.hidden or viewer.user in found[0].hides_from:
            return False
        return not self.rules.same_country or found[1][0] == viewer.country

    def place(self, viewer: Viewpoint, user: str) -> Position | None:
        """Where this user stands for this viewer; None: not at all."""
        if not self.sees(viewer, user):
            return None
        _, segment, (own, _) = self._known[user]
        lifted = [*self._of_segment(segment, viewer), *self._of_person(user, viewer)]
        return own - sum(round(reason.seconds * 1000) for reason in lifted), user

    def why(self, viewer: Viewpoint, user: str, now_ms: int) -> list[Reason]:
        """Why the card stands where it stands: the seconds online, and what lifts it."""
        candidate, segment, _ = self._known[user]
        online = Reason("online", self._sign * (now_ms - candidate.online_since_ms) / 1000)
        return [online, *self._own(candidate), *self._of_segment(segment, viewer), *self._of_person(user, viewer)]

    def page(self, viewer: Viewpoint, limit: int, after: Position | None = None) -> list[Position]:
        """The next cards behind `after`, in order."""
        close = [user for user in viewer.favorites | viewer.affinity.keys() if user in self._known]
        near = sorted(
            position for user in close if (position := self.place(viewer, user)) and (after is None or position > after)
        )
        skipped = {viewer.user, *close}
        return list(islice(heapq.merge(near, self._of_others(viewer, after, skipped)), limit))

    def _of_others(self, viewer: Viewpoint, after: Position | None, skipped: set[str]) -> Iterator[Position]:
        """The segments behind the cursor, lifted and merged. A segment is only gone into when its first card is due: on most
        pages most of them stay shut."""
        country, languages = self._by.get(BoostKind.COUNTRY, 0) * 1000, self._by.get(BoostKind.LANGUAGE, 0) * 1000
        heads: list[tuple[int, str, Iterator[Position] | None, int, SortedList[Position]]] = []
        rest: Iterator[Position] | None
        for segment, positions in self._segments.items():
            if self.rules.same_country and segment[0] != viewer.country:
                continue
            compatriots, understood = _matches(segment, viewer)
            lifted = country * compatriots + languages * understood
            if after is None:
                own, user = positions[0]
                heads.append((own - lifted, user, None, lifted, positions))
                continue
            rest = positions.irange(minimum=(after[0] + lifted, after[1]), inclusive=(False, True))
            if first := next(rest, None):
                heads.append((first[0] - lifted, first[1], rest, lifted, positions))
        heapq.heapify(heads)
        while heads:
            ms, user, rest, lifted, positions = heads[0]
            if user not in skipped and user not in viewer.hidden and viewer.user not in self._known[user][0].hides_from:
                yield ms, user
            if rest is None:
                rest = positions.irange(minimum=(ms + lifted, user), inclusive=(False, True))
            if following := next(rest, None):
                heapq.heapreplace(heads, (following[0] - lifted, following[1], rest, lifted, positions))
            else:
                heapq.heappop(heads)


def _matches(segment: Segment, viewer: Viewpoint) -> tuple[bool, bool]:
    """Whether a segment is of the viewer's country, and speaks one of their languages."""
    return segment[0] == viewer.country != "", not set(segment[1]).isdisjoint(viewer.languages)
