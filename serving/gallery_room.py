"""A gallery's room: one role's shelf, kept up to date by the views, and the open streams of those who look at it.

Runs in the event loop only. A change of one person costs a shelf's update, and a position and a queue entry for each stream.
"""

import asyncio
from collections import Counter, defaultdict
from typing import Any, Final

import msgspec
from fastapi import Request
from prometheus_client import Counter as Metric
from prometheus_client import Gauge

from schemas.favorites import FAVORITES
from schemas.gallery import GALLERY_RULES, RANK, SHIPPED_RULES, GalleryRules
from schemas.interaction import PAIR, Pair
from schemas.log.base import now
from schemas.panel import MEMBER
from schemas.profile import PROFILE
from schemas.user import USER, Role, User
from schemas.video_line import LINE, Line
from serving.gallery_shelf import Candidate, Position, Shelf, Viewpoint
from serving.runtime.views import Views
from serving.view_store.indexes import ONLINE, PAIRS

# Changes that wait for a slow reader; then its stream is told to read anew.
MAX_WAITING: Final = 1_000
NOT_RANKED: Final = 0.333
# So many cards are placed before others are answered.
AT_ONCE: Final = 20

WATCHERS = Gauge("olo_gallery_watchers", "Open gallery streams", ["role"])
CHANGES = Metric("olo_gallery_changes", "Changes handed to gallery streams", ["role"])


class Watcher:
    """One open stream: whose, whether its cards say why they stand where they stand, and what it has not sent yet (event,
    JSON)."""

    def __init__(self, user: str, *, explain: bool = False) -> None:
        self.user = user
        self.explain = explain
        self.changes: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    def tell(self, event: str, data: str) -> None:
        """Send soon. A reader that is too far behind reads everything anew."""
        if self.changes.qsize() >= MAX_WAITING:
            while not self.changes.empty():
                self.changes.get_nowait()
            event, data = "again", "{}"
        self.changes.put_nowait((event, data))


class Viewpoints:
    """How users look at shelves. Those who have a stream open are remembered, since each change of a shelf asks for theirs."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._streams: Counter[str] = Counter()
        self._known: dict[str, Viewpoint] = {}

    def of(self, user: str) -> Viewpoint:
        """How a user looks now."""
        return self._known.get(user) or self._made(user)

    def _made(self, user: str) -> Viewpoint:
        line, profile, likes = (self._views.of(entity).get(user) for entity in (LINE, PROFILE, FAVORITES))
        known = self._views.of(USER).get(user)
        return Viewpoint(
            user,
            (profile and profile.country) or (known.country if known else ""),
            profile.languages if profile else (),
            frozenset(line.barred) if line else frozenset(),
            frozenset(likes.peers) if likes else frozenset(),
            self._affinity(user),
        )

    def _affinity(self, user: str) -> dict[str, float]:
        """Whom a user is close to, and how."""
        pairs = self._views.of(PAIR)
        return {_peer(pair, user): pairs.get(pair).affinity for pair in self._views.rows(PAIRS, user)}

    def open(self, user: str) -> None:
        """A stream is open."""
        self._streams[user] += 1
        self.refresh(user)

    def close(self, user: str) -> None:
        """A stream has ended."""
        self._streams[user] -= 1
        if not self._streams[user]:
            del self._streams[user]
            self._known.pop(user, None)

    def refresh(self, user: str) -> Viewpoint | None:
        """Something about the user has changed; how they looked before, if they have a stream open."""
        before = self._known.get(user)
        if self._streams[user]:
            self._known[user] = self._made(user)
        return before


def _peer(pair: str, user: str) -> str:
    one, _, other = pair.partition("/")
    return other if one == user else one


class Room:
    """What one role sees."""

    def __init__(self, views: Views, role: Role, viewpoints: Viewpoints, rules: GalleryRules) -> None:
        self._views = views
        self._viewpoints = viewpoints
        self._watchers: defaultdict[str, list[Watcher]] = defaultdict(list)
        self.role = role
        self.rules = rules
        self.shelf = Shelf(rules)

    # --- who looks ---------------------------------------------------------------------------------------------------------

    def viewpoint(self, user: str) -> Viewpoint:
        """How a user looks at the shelf now."""
        return self._viewpoints.of(user)

    def card(self, viewer: Viewpoint, position: Position, *, explain: bool = False) -> dict[str, Any]:
        """A card as it is shown."""
        user = position[1]
        candidate = self.shelf.get(user)
        assert candidate is not None
        profile = self._views.of(PROFILE).get(user)
        now_ms = round(now().timestamp() * 1000)
        found = {
            "user": user, "place": position[0], "online_s": (now_ms - candidate.online_since_ms) / 1000, "busy": candidate.busy,
            "name": profile.name if profile else "", "age": (profile.age or None) if profile else None,
            "country": candidate.country, "languages": list(candidate.languages),
            "photo": profile.photos[0] if profile and profile.photos else "", "tags": sorted(candidate.tags),
            "favorite": user in viewer.favorites,
        }  # fmt: skip
        if explain:
            found["why"] = [reason._asdict() for reason in self.shelf.why(viewer, user, now_ms)]
        return found

    def open(self, user: str, *, explain: bool = False) -> Watcher:
        """A stream is open."""
        watcher = Watcher(user, explain=explain)
        self._watchers[user].append(watcher)
        self._viewpoints.open(user)
        WATCHERS.labels(self.role).inc()
        return watcher

    def close(self, watcher: Watcher) -> None:
        """A stream has ended."""
        mine = self._watchers[watcher.user]
        mine.remove(watcher)
        if not mine:
            del self._watchers[watcher.user]
        self._viewpoints.close(watcher.user)
        WATCHERS.labels(self.role).dec()

    # --- who is seen -------------------------------------------------------------------------------------------------------

    def look_at(self, user: str) -> None:
        """Something about this user may have changed."""
        before = self.shelf.get(user)
        after = self._candidate(user)
        if before == after:
            return
        if after is None or not self.shelf.put(after):
            self.shelf.drop(user)
        if before is None and self.shelf.get(user) is None:
            return
        for viewer in list(self._watchers):
            self.tell(viewer, user)

    def tell(self, viewer: str, user: str) -> None:
        """Send the viewer's streams how this user stands now."""
        watchers = self._watchers.get(viewer)
        if not watchers:
            return
        looks = self.viewpoint(viewer)
        position = self.shelf.place(looks, user)
        event = "gone" if position is None else "card"
        texts: dict[bool, str] = {}
        for explain in {watcher.explain for watcher in watchers}:
            data = {"user": user} if position is None else self.card(looks, position, explain=explain)
            texts[explain] = msgspec.json.encode(data).decode()
        for watcher in watchers:
            watcher.tell(event, texts[watcher.explain])
        CHANGES.labels(self.role).inc(len(watchers))

    def _candidate(self, user: str) -> Candidate | None:
        known: User | None = self._views.of(USER).get(user)
        if known is None or known.role is not self.rules.shows or known.online_since is None or known.banned:
            return None
        line, profile, rank = (self._views.of(entity).get(user) for entity in (LINE, PROFILE, RANK))
        return Candidate(
            user,
            round(known.online_since.timestamp() * 1000),
            (profile and profile.country) or known.country,
            profile.languages if profile else (),
            self._tags(user),
            rank.engagement if rank else NOT_RANKED,
            bool(line and line.call),
            frozenset(line.barred) if line else frozenset(),
        )

    def _tags(self, user: str) -> frozenset[str]:
        member = self._views.of(MEMBER).get(user)
        return member.all_tags if member else frozenset()

    def rule(self, rules: GalleryRules) -> None:
        """Other rules: everybody is placed anew, and every stream told to read anew."""
        self.rules, self.shelf = rules, Shelf(rules)
        for user in self._views.rows(ONLINE, self.rules.shows):
            if (candidate := self._candidate(user)) is not None:
                self.shelf.put(candidate)
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.tell("again", "{}")


class Rooms:
    """The room of each role that sees somebody. Feeds them from the views."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._viewpoints = Viewpoints(views)
        self.by_role = {role: Room(views, role, self._viewpoints, rules) for role, rules in SHIPPED_RULES.items()}
        views.at_start(self._fill)
        for entity in (USER, PROFILE, RANK, MEMBER):
            views.watch(entity, self._about)
        views.watch(LINE, self._line)
        views.watch(PAIR, self._pair)
        views.watch(FAVORITES, self._likes)
        views.watch(GALLERY_RULES, self._rules)

    def _fill(self) -> None:
        """Whoever is online stands on the shelves."""
        for role in Role:
            self._rules(role, self._views.of(GALLERY_RULES).get(role))

    def _about(self, user: str, _: Any) -> None:
        self._viewpoints.refresh(user)
        self._look_at(user)

    def _look_at(self, user: str) -> None:
        for room in self.by_role.values():
            room.look_at(user)

    def _line(self, user: str, _: Line | None) -> None:
        """Busy or free; and a block takes both off each other's shelf at once: it stands with the one who has blocked."""
        before = self._viewpoints.refresh(user)
        self._look_at(user)
        if before is not None:
            self._between(user, before.hidden ^ self._viewpoints.of(user).hidden)

    def _between(self, viewer: str, peers: frozenset[str] | set[str]) -> None:
        for room in self.by_role.values():
            for peer in peers:
                if room.shelf.get(peer):
                    room.tell(viewer, peer)

    def _pair(self, key: str, _: Pair | None) -> None:
        one, _slash, other = key.partition("/")
        for user, peer in ((one, other), (other, one)):
            self._viewpoints.refresh(user)
            self._between(user, {peer})

    def _likes(self, user: str, _: Any) -> None:
        """The new order of favourites comes with the next page: only their own cards move, and the viewer has just tapped."""
        self._viewpoints.refresh(user)

    def _rules(self, role: str, rules: GalleryRules | None) -> None:
        rules = rules or SHIPPED_RULES.get(Role(role))
        if rules is None:
            self.by_role.pop(Role(role), None)
        elif room := self.by_role.get(Role(role)):
            room.rule(rules)
        else:
            room = self.by_role[Role(role)] = Room(self._views, Role(role), self._viewpoints, rules)
            room.rule(rules)

    async def tried(self, role: Role, rules: GalleryRules, most: int) -> "Room":
        """A room of rules that are not in force, with so many of those online at most, which nobody follows. Others are
        answered meanwhile."""
        room = Room(self._views, role, self._viewpoints, rules)
        for number, user in enumerate(self._views.rows(ONLINE, rules.shows, most)):
            room.look_at(user)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return room


def room_of(request: Request, role: Role) -> Room | None:
    """This process's room of a role."""
    rooms: Rooms = request.app.state.rooms
    return rooms.by_role.get(role)
