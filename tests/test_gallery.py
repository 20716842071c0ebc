"""The gallery: engagement by table, the shelf against a naive sort, and two phones that see each other on the real platform."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.clickhouse import connect
from pipelines import gallery as domain
from pipelines.gallery import engagement_of
from schemas.billing_rules import CallKind
from schemas.blocklist import BlockReason, UserBlocked
from schemas.chat import ItemPosted
from schemas.gallery import SHIPPED_RULES, WINDOW_HOURS, Boost, BoostKind, GalleryRules, Hour, Order
from schemas.gift import GiftSent
from schemas.log.base import Wake
from schemas.user import Role
from schemas.video import CallEnded, EndReason
from serving.gallery_shelf import Candidate, Shelf, Viewpoint
from tests.conftest import Api, NewUser, Phone, Phones, Stack, eventually
from tests.decisions import decisions_of
from tests.long_lists import long_lists
from tests.people import BOB, SUE

decide_rank = decisions_of(domain.decide_rank)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)


# --- engagement -------------------------------------------------------------------------------------------------------------


def rang(connected: bool, seconds: float = 0.0, hours: int = 0) -> CallEnded:
    return CallEnded(
        id=f"c{hours}", at=T + timedelta(hours=hours), cause="x", call="c", caller=BOB, callee=SUE, kind=CallKind.DIRECT,
        reason=EndReason.HUNG_UP, connected=connected, duration_s=seconds,
    )  # fmt: skip


def test_engagement_by_table() -> None:
    rows = [
        (Hour(), 0.333),
        (Hour(rings=10, answered=10), 0.462),
        (Hour(rings=10), 0.077),
        (Hour(rings=1, answered=1, talked_s=180), 0.525),
        (Hour(gift_coins=100), 0.433),
        (Hour(complaints=1), 0.167),
        (Hour(messages=100), 0.433),
        (Hour(messages=100_000), 0.433),
        (Hour(gift_coins=50, messages=50), 0.433),
    ]
    for hour, engagement in rows:
        assert engagement_of([hour]) == engagement


def test_a_rank_follows_calls_gifts_and_complaints_and_forgets() -> None:
    rank, told = decide_rank(None, rang(True, 120))
    assert (told[0].rings, told[0].answered, told[0].talked_s) == (1, 1, 120)
    gift = GiftSent(id="g", at=T, cause="x", gift="g", sender=BOB, receiver=SUE, item="i", price_coins=9, share_coins=4)
    rank, told = decide_rank(rank, gift)
    assert told[0].gift_coins == 4
    rank, told = decide_rank(rank, ItemPosted(id="i", at=T, cause="x", pair="bob/sue", user=BOB, peer=SUE, seq=1, ref="m"))
    assert told[0].messages == 1
    better = rank.engagement
    block = UserBlocked(id="b", at=T + timedelta(hours=1), cause="x", user=BOB, peer=SUE, reason=BlockReason.INDECENCY)
    rank, told = decide_rank(rank, block)
    assert told[0].complaints == 1
    assert abs(rank.engagement - better / 2) <= 0.001
    assert decide_rank(rank, Wake(id="w", at=T, key="sue")) == (rank, ())
    rank, told = decide_rank(rank, Wake(id="w", at=rank.wake_at, key="sue"))
    assert (told[0].user, told[0].rings, told[0].complaints) == ("sue", 0, 1)
    rank, told = decide_rank(rank, Wake(id="w", at=T + timedelta(hours=WINDOW_HOURS + 1), key="sue"))
    assert (rank, told[0].engagement) == (None, 0.0)


# --- the shelf --------------------------------------------------------------------------------------------------------------

COUNTRIES = ("", "DE", "FR")
LANGUAGES = ((), ("de",), ("de", "fr"), ("en",))
names = st.integers(0, 30).map(lambda n: f"u{n:02}")
candidates = st.builds(
    Candidate, names, st.integers(0, 9).map(lambda n: n * 1000), st.sampled_from(COUNTRIES), st.sampled_from(LANGUAGES),
    st.frozensets(st.sampled_from(("vip", "new")), max_size=2), st.sampled_from((0.0, 0.5, 1.0)), st.booleans(),
    st.frozensets(names, max_size=2),
)  # fmt: skip
boosts = st.builds(
    lambda kind, seconds: Boost(kind, seconds, "vip" if kind is BoostKind.TAG else ""),
    st.sampled_from(BoostKind), st.integers(-5, 5),
)  # fmt: skip
rules = st.builds(
    GalleryRules, st.just(Role.STREAMER), st.sampled_from(Order), st.lists(boosts, max_size=6).map(tuple), st.booleans(),
    st.booleans(), st.sampled_from(((), ("vip",))), st.sampled_from(((), ("new",))),
)  # fmt: skip
viewpoints = st.builds(
    Viewpoint, names, st.sampled_from(COUNTRIES), st.sampled_from(LANGUAGES), st.frozensets(names, max_size=4),
    st.frozensets(names, max_size=4), st.dictionaries(names, st.sampled_from((10.0, 50.0, 900.0)), max_size=4),
)  # fmt: skip


def naive(rules: GalleryRules, known: dict[str, Candidate], viewer: Viewpoint) -> list[tuple[int, str]]:
    """All cards in order: every rule applied to every card."""
    places = []
    for one in known.values():
        if (
            one.user == viewer.user
            or one.user in viewer.hidden
            or viewer.user in one.hides_from
            or (one.busy and not rules.show_busy)
        ):
            continue
        if (rules.only_tags and not one.tags & set(rules.only_tags)) or one.tags & set(rules.never_tags):
            continue
        if rules.same_country and one.country != viewer.country:
            continue
        seconds = 0.0
        for boost in rules.boosts:
            share = {
                BoostKind.TAG: boost.tag in one.tags,
                BoostKind.ENGAGEMENT: one.engagement,
                BoostKind.BUSY: one.busy,
                BoostKind.FAVORITE: one.user in viewer.favorites,
                BoostKind.AFFINITY: min(1.0, viewer.affinity.get(one.user, 0) / 100),
                BoostKind.COUNTRY: bool(viewer.country) and one.country == viewer.country,
                BoostKind.LANGUAGE: bool(set(one.languages) & set(viewer.languages)),
            }[boost.kind]
            seconds += boost.seconds * share
        sign = 1 if rules.order is Order.LONGEST_FIRST else -1
        places.append((sign * one.online_since_ms - round(seconds * 1000), one.user))
    return sorted(places)


@given(rules, long_lists(st.tuples(candidates, st.booleans()), 40), viewpoints, st.integers(1, 7))
def test_pages_are_the_naive_order_cut_into_pieces(
    rules: GalleryRules, changes: list[tuple[Candidate, bool]], viewer: Viewpoint, limit: int
) -> None:
    shelf = Shelf(rules)
    known: dict[str, Candidate] = {}
    for candidate, leaves in changes:
        if leaves:
            shelf.drop(candidate.user)
            known.pop(candidate.user, None)
        else:
            shelf.put(candidate)
            known[candidate.user] = candidate
    due = naive(rules, known, viewer)
    found, after = [], None
    while page := shelf.page(viewer, limit, after):
        found += page
        after = page[-1]
    assert found == due
    for place in due:
        assert shelf.place(viewer, place[1]) == place
        why = shelf.why(viewer, place[1], 0)
        assert round(sum(reason.seconds for reason in why) * 1000) == -place[0]
    assert all(shelf.place(viewer, user) is None for user in known.keys() - {user for _, user in due})


# --- on the real platform ---------------------------------------------------------------------------------------------------


People = tuple[list[Phone], list[Phone]]


class Stream:
    """An open gallery stream: its changes, with the time."""

    def __init__(self, api: Api, **how: Any) -> None:
        self.api, self.how = api, how
        self.seen: list[tuple[float, str, dict[str, Any]]] = []
        threading.Thread(target=self._watch, daemon=True).start()
        eventually(lambda: self.of("ready"))

    def _watch(self) -> None:
        event = ""
        try:
            with self.api.stream("GET", "/v1/gallery/stream", params=self.how, timeout=60) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        event = line[7:]
                    elif line.startswith("data: "):
                        self.seen.append((time.time(), event, json.loads(line[6:])))
        except Exception:
            pass

    def of(self, event: str, user: str = "") -> list[dict[str, Any]]:
        return [data for _, name, data in self.seen if name == event and (not user or data["user"] == user)]


def cards(api: Api, only: set[str], **more: Any) -> list[dict[str, Any]]:
    found = api.get("/v1/gallery", params={"limit": 100, **more}).json()["cards"]
    return [card for card in found if card["user"] in only]


@pytest.fixture
def people(new_user: NewUser) -> People:
    """Two users and two streamers, online one after the other."""
    made = [Phone(new_user(role, country="DE")) for role in ("user", "streamer", "user", "streamer")]
    return [made[0], made[2]], [made[1], made[3]]


def test_users_see_streamers_longest_first_and_streamers_users_newest_first(people: People) -> None:
    users, streamers = people
    ids = {phone.user for phone in (*users, *streamers)}
    assert [card["user"] for card in cards(users[0].api, ids)] == [phone.user for phone in streamers]
    assert [card["user"] for card in cards(streamers[0].api, ids)] == [phone.user for phone in reversed(users)]
    explained = cards(users[0].api, ids, explain=1)
    assert [reason["what"] for reason in explained[0]["why"]] == ["online"]
    assert explained[0]["why"][0]["seconds"] > explained[1]["why"][0]["seconds"] > 0


def test_a_favourite_comes_first_and_says_why(people: People) -> None:
    users, streamers = people
    ids = {phone.user for phone in streamers}
    assert users[0].api.put(f"/v1/favorites/{streamers[1].user}").status_code == 200
    first, _ = eventually(lambda: (c := cards(users[0].api, ids, explain=1))[0]["favorite"] and c)
    assert first["user"] == streamers[1].user
    assert {"what": "favorite", "seconds": 3600.0} in first["why"]


def test_pages_follow_each_other(people: People) -> None:
    users, _ = people
    whole = [card["user"] for card in users[0].api.get("/v1/gallery", params={"limit": 100}).json()["cards"]]
    first = users[0].api.get("/v1/gallery", params={"limit": 1}).json()
    second = users[0].api.get("/v1/gallery", params={"limit": 1, "cursor": first["cursor"]}).json()
    assert [first["cards"][0]["user"], second["cards"][0]["user"]] == whole[:2]


def test_the_stream_tells_who_comes_is_called_goes_and_is_blocked(stack: Stack, people: People, new_user: NewUser) -> None:
    (bob, _), (sue, tia) = people
    stream, explained = Stream(bob.api), Stream(bob.api, explain=True)
    eva = Phone(new_user("streamer"))
    assert eventually(lambda: stream.of("card", eva.user))[0].get("why") is None
    assert eventually(lambda: explained.of("card", eva.user))[0]["why"][0]["what"] == "online"
    assert bob.api.put(f"/v1/blocks/{tia.user}", json={"reason": "spam"}).status_code == 200
    eventually(lambda: stream.of("gone", tia.user))
    eventually(lambda: tia.user not in {card["user"] for card in cards(bob.api, {tia.user})})
    assert cards(tia.api, {bob.user}) == []
    rows = "SELECT count() FROM gallery_impressions WHERE viewer = {viewer:String}"
    client = connect(stack.clickhouse)
    eventually(lambda: client.query(rows, parameters={"viewer": bob.user}).result_rows[0][0] > 0)
    assert sue.user != eva.user


def test_a_busy_streamer_is_shown_as_busy(phones: Phones) -> None:
    bob, sue = phones(coins=500)
    call = bob.call(sue).json()["call"]
    assert sue.api.post(f"/v1/calls/{call}/accept").status_code == 200
    eventually(lambda: [card["busy"] for card in cards(bob.api, {sue.user})] == [True])
    bob.api.post(f"/v1/calls/{call}/hang-up")
    eventually(lambda: [card["busy"] for card in cards(bob.api, {sue.user})] == [False])


def test_rules_are_data(people: People, admin: Api) -> None:
    users, streamers = people
    ids = {phone.user for phone in streamers}
    shipped = admin.get("/v1/admin/gallery").json()
    assert (shipped["user"]["shows"], shipped["streamer"]["order"]) == ("streamer", "newest_first")
    stream = Stream(users[0].api)
    try:
        assert admin.put("/v1/admin/gallery/user", json={"shows": "streamer", "order": "newest_first"}).status_code == 200
        eventually(lambda: stream.of("again"))
        eventually(lambda: [c["user"] for c in cards(users[0].api, ids)] == [phone.user for phone in reversed(streamers)])
    finally:
        assert admin.put("/v1/admin/gallery/user", json=shipped["user"]).status_code == 200
    eventually(lambda: [c["user"] for c in cards(users[0].api, ids)] == [phone.user for phone in streamers])


def test_what_the_gallery_refuses(admin: Api, new_user: NewUser) -> None:
    bob = new_user()
    assert bob.get("/v1/gallery", params={"cursor": "x"}).json()["code"] == "cursor_invalid"
    assert admin.get("/v1/gallery").json()["code"] == "no_gallery"
    wrong = {"shows": "streamer", "order": "newest_first", "boosts": [{"kind": "tag", "seconds": 5}]}
    assert admin.put("/v1/admin/gallery/user", json=wrong).json()["code"] == "boost_invalid"
    assert bob.put("/v1/admin/gallery/user", json=wrong).status_code == 403


def test_whoever_of_two_has_blocked_the_other_they_are_apart() -> None:
    shelf = Shelf(SHIPPED_RULES[Role.USER])
    for name, hides_from in (("sue", ()), ("tia", ("bob",)), ("uma", ())):
        shelf.put(Candidate(name, 0, hides_from=frozenset(hides_from)))
    bob, ann = Viewpoint("bob", hidden=frozenset({"sue"})), Viewpoint("ann")
    assert [user for _, user in shelf.page(bob, 9)] == ["uma"]
    assert [shelf.place(bob, user) is not None for user in ("sue", "tia", "uma")] == [False, False, True]
    assert [shelf.place(ann, user) is not None for user in ("sue", "tia", "uma")] == [True, True, True]
