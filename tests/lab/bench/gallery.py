"""The gallery inside the process: a personal page at 1k, 10k and 100k online of 1M users, and what a coming costs at N streams.

The page is what an HTTP answer holds: viewpoint, places and twenty cards, for a viewer with favourites, closeness and blocks,
under rules that lift by country, language, engagement, favourite and affinity. The peer of the same run: the best twenty of all
cards, each with its own place (`heapq.nsmallest`), which is what there would be without a shelf.
"""

import gc
import heapq
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from schemas.favorites import FAVORITES, Favorites
from schemas.gallery import Boost, BoostKind, GalleryRules, Order
from schemas.interaction import PAIR, Pair
from schemas.log.base import now
from schemas.pair import pair_of
from schemas.profile import PROFILE, Profile
from schemas.user import USER, Role, User
from schemas.video_line import LINE, Line
from serving.gallery_room import Room, Rooms
from serving.runtime.feed import Hub
from serving.runtime.views import Views
from tests.lab.percentiles import percentile

USERS: Final = 1_000_000
ONLINE: Final = (1_000, 10_000, 100_000)
STREAMS: Final = (100, 1_000, 10_000)
PAGES: Final = 2_000
NAIVE_PAGES: Final = 5
PAGE: Final = 20
AIM_MS: Final = 5.0
COUNTRIES: Final = [f"{letter}{other}" for letter in "ABCDE" for other in "VWXYZ"]
LANGUAGES: Final = ("de", "en", "es", "fr", "pt", "tr")
RULES: Final = GalleryRules(
    Role.STREAMER,
    Order.LONGEST_FIRST,
    (
        Boost(BoostKind.COUNTRY, 600),
        Boost(BoostKind.LANGUAGE, 900),
        Boost(BoostKind.ENGAGEMENT, 1_200),
        Boost(BoostKind.FAVORITE, 3_600),
        Boost(BoostKind.AFFINITY, 1_800),
    ),
)


def _populate(views: Views, users: int, online: int, chance: random.Random) -> Room:
    """All users, of whom `online` are streamers online; the room of those who look at them."""
    began, states = now(), views.of(USER)
    for number in range(users):
        streamer = number < online
        since = began - timedelta(seconds=chance.randrange(7_200)) if streamer else None
        role = Role.STREAMER if streamer else Role.USER
        states[f"u{number}"] = User(role, began, country=chance.choice(COUNTRIES), online_since=since)
        if streamer:
            spoken = tuple(sorted(chance.sample(LANGUAGES, chance.choice((1, 1, 2)))))
            views.of(PROFILE)[f"u{number}"] = Profile(
                name=f"Name {number}", age=25, country=chance.choice(COUNTRIES), languages=spoken, photos=("https://x/p.jpg",)
            )
    rooms = Rooms(views)
    rooms._rules(Role.USER, RULES)
    return rooms.by_role[Role.USER]


def _befriend(views: Views, user: str, online: int, chance: random.Random) -> None:
    """A viewer with 30 favourites, 30 who are close, 100 blocks."""
    some = [f"u{chance.randrange(online)}" for _ in range(160)]
    views.of(FAVORITES)[user] = Favorites(peers=dict.fromkeys(some[:30], now()))
    views.of(LINE)[user] = Line(role=Role.USER, barred=tuple(some[60:]))
    views.of(PROFILE)[user] = Profile(name="Viewer", age=30, country=chance.choice(COUNTRIES), languages=("de", "en"))
    for name in some[30:60]:
        views.of(PAIR)[pair_of(user, name)] = Pair({}, now(), affinity=chance.uniform(1, 100))


def _page_ms(room: Room, user: str) -> float:
    began = time.perf_counter()
    viewer = room.viewpoint(user)
    for place in room.shelf.page(viewer, PAGE):
        room.card(viewer, place)
    return (time.perf_counter() - began) * 1000


def _naive_ms(room: Room, user: str) -> float:
    began = time.perf_counter()
    viewer = room.viewpoint(user)
    places = (place for name in room.shelf._known if (place := room.shelf.place(viewer, name)))
    for place in heapq.nsmallest(PAGE, places):
        room.card(viewer, place)
    return (time.perf_counter() - began) * 1000


def main(tell: Callable[[str], None], scale: float) -> None:
    """Print both figures."""
    chance = random.Random(1)
    users = int(USERS * scale)
    tell(f"gallery: a page of {PAGE} cards inside the process, {users:,} users; aim p99 <= {AIM_MS:.0f} ms at 100k")
    for full in ONLINE:
        online = max(100, int(full * scale))
        views = Views(Hub())
        room = _populate(views, max(online + 200, int(USERS * scale)), online, chance)
        viewers = [f"u{online + number}" for number in range(100)]
        for user in viewers:
            _befriend(views, user, online, chance)
        gc.collect()
        gc.freeze()
        times = sorted(_page_ms(room, chance.choice(viewers)) for _ in range(PAGES))
        naive = sorted(_naive_ms(room, chance.choice(viewers)) for _ in range(NAIVE_PAGES))[NAIVE_PAGES // 2]
        p50, p99 = percentile(times, 50), percentile(times, 99)
        peer = f"placing every card: {naive:.1f} ms, {naive / p50:.0f} x"
        tell(f"  {online:>7,} online: p50 {p50:.2f} ms, p99 {p99:.2f} ms; {peer}")
        _fan_out(tell, views, room, scale)
        gc.unfreeze()


def _fan_out(tell: Callable[[str], None], views: Views, room: Room, scale: float) -> None:
    """One streamer comes and goes, with N streams open."""
    if room.shelf.rules is not RULES or len(room.shelf) < ONLINE[-1] * scale:
        return
    opened = 0
    for full in STREAMS:
        streams = max(10, int(full * scale))
        while opened < streams:
            room.open(f"w{opened}")
            opened += 1
        took = []
        for turn in range(6):
            known = views.of(USER).get("u0")
            since = None if turn % 2 else now()
            began = time.perf_counter()
            views.of(USER)["u0"] = User(known.role, known.signed_up_at, country=known.country, online_since=since)
            took.append(time.perf_counter() - began)
        middle = sorted(took)[len(took) // 2]
        tell(f"  a presence change to {streams:>6,} streams: {middle * 1000:.1f} ms, {streams / middle:,.0f} deliveries/s")
