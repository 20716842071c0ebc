"""Favourites: refusals by table, blocks take them away, and a coming online is told once in a while."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines import favorites as domain
from schemas.favorites import (
    TOLD_EVERY,
    AddFavorite,
    AskFavorite,
    BarFavorite,
    CountFollowers,
    DropFavorite,
    DropFollower,
    FavoriteAdded,
    FavoriteAnswered,
    FavoriteCameOnline,
    FavoriteRefusal,
    FavoriteRemoved,
    FavoritesInbox,
    Follow,
    FollowerPageInbox,
    Followers,
    FollowersInbox,
    KeepFollower,
    RemoveFavorite,
    TellFollowers,
    UnbarFavorite,
    Unfollow,
    pages_from,
)
from schemas.log.base import Fact, UserId, Wake
from schemas.user import CameOnline, PeerCommand
from tests.conftest import NewUser, Phone, eventually
from tests.decisions import decisions_of
from tests.long_lists import long_lists
from tests.people import BOB, SUE

C = TypeVar("C", bound=PeerCommand)
Heard = FavoritesInbox | FollowersInbox | FollowerPageInbox
Decide = Callable[..., tuple[Any, Sequence[Any]]]
decide_favorites = decisions_of(domain.decide_favorites)
decide_followers = decisions_of(domain.decide_followers)
decide_follower_page = decisions_of(domain.decide_follower_page)
T = datetime(2030, 1, 1, tzinfo=UTC)


def to(type_: type[C], peer: str = "sue", user: str = "bob") -> C:
    return type_(id=f"{type_.__name__}-{peer}", at=T, user=UserId(user), peer=UserId(peer))


def played(*messages: Heard, at_once: bool = False) -> tuple[dict[Decide, dict[str, Any]], list[Any]]:
    """What becomes of everybody's favourites, followers and pages, when all that they tell each other is decided in order, and
    the facts that others are told. `at_once`: the messages come before any of them is answered."""
    states: dict[Decide, dict[str, Any]] = defaultdict(dict)
    later, queue, facts = list(messages), list[Heard](), list[Any]()
    while later or queue:
        message = queue.pop(0) if queue and not (at_once and later) else later.pop(0)
        decide, key = where(message)
        after, told = decide(states[decide].get(key), message)
        states[decide][key] = after
        queue += [one for one in told if not isinstance(one, Fact) or isinstance(one, FavoriteAnswered)]
        facts += [one for one in told if isinstance(one, Fact) and not isinstance(one, FavoriteAnswered)]
    return states, facts


def where(message: Heard) -> tuple[Decide, str]:
    match message:
        case KeepFollower() | DropFollower() | TellFollowers():
            return decide_follower_page, message.page
        case Follow() | Unfollow() | CountFollowers() | CameOnline():
            return decide_followers, message.user
        case Wake():
            return decide_followers, message.key
        case FavoriteAnswered():
            return decide_favorites, message.peer
    return decide_favorites, message.user


def test_each_refusal_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_FAVORITES", 2)
    rows: list[tuple[tuple[FavoritesInbox, ...], FavoriteRefusal]] = [
        ((to(AddFavorite, "bob"),), FavoriteRefusal.SAME_USER),
        ((to(BarFavorite), to(AddFavorite)), FavoriteRefusal.BLOCKED),
        ((to(BarFavorite, "bob", "sue"), to(AddFavorite)), FavoriteRefusal.PEER_BLOCKS),
        ((to(AddFavorite, "a"), to(AddFavorite, "b"), to(AddFavorite, "c")), FavoriteRefusal.TOO_MANY_FAVORITES),
        ((to(RemoveFavorite),), FavoriteRefusal.NOT_FAVORITE),
    ]
    for messages, refusal in rows:
        _, facts = played(*messages)
        assert (facts[-1].refusal, facts[-1].cause) == (refusal, messages[-1].id)
    assert {refusal for _, refusal in rows} | {FavoriteRefusal.USER_UNKNOWN} == set(FavoriteRefusal)
    assert played(to(BarFavorite, "bob", "sue"), to(AddFavorite))[1][-1].refused is FavoriteRefusal.USER_UNKNOWN


def test_adding_twice_follows_once_and_removing_unfollows() -> None:
    states, facts = played(to(AddFavorite), to(AddFavorite), at_once=True)
    assert [(type(one), one.cause) for one in facts] == [(FavoriteAdded, "AddFavorite-sue")] * 2
    assert list(states[decide_favorites]["bob"].peers) == ["sue"]
    assert states[decide_followers]["sue"].count == 1
    states, facts = played(to(AddFavorite), to(AddFavorite, "tia"))
    state = states[decide_favorites]["bob"]
    assert [type(one) for one in decide_favorites(state, to(AddFavorite))[1]] == [FavoriteAdded]
    after, told = decide_favorites(state, to(RemoveFavorite))
    assert (list(after.peers), [type(one) for one in told]) == (["tia"], [FavoriteRemoved, Unfollow])


def test_a_block_takes_the_favourite_away_in_both_directions_until_it_is_gone() -> None:
    both = (to(AddFavorite), to(AddFavorite, "bob", "sue"))
    three: tuple[FavoritesInbox, ...] = (*both, to(BarFavorite))
    states, facts = played(*both)
    assert len(facts) == 2
    for messages, at_once in product(permutations(three), (True, False)):
        states, _ = played(*messages, at_once=at_once)
        likes = {user: state and list(state.peers) for user, state in states[decide_favorites].items()}
        assert {user for user, peers in likes.items() if peers} <= set(), messages
        assert not any(states[decide_followers].values())
    bob = states[decide_favorites]["bob"]
    assert bob.barred == ("sue",)
    after, _ = decide_favorites(bob, to(UnbarFavorite))
    assert after.barred == ()
    assert [type(one) for one in decide_favorites(after, to(AddFavorite))[1]] == [AskFavorite]


def test_an_answer_that_a_block_or_other_favourites_have_overtaken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = FavoriteAnswered(id="a", at=T, cause="q", user=SUE, peer=BOB, asked="m")
    barred, _ = decide_favorites(None, to(BarFavorite))
    after, (fact,) = decide_favorites(barred, answer)
    assert (after, fact.refusal, fact.cause) == (barred, FavoriteRefusal.BLOCKED, "m")
    monkeypatch.setattr(domain, "MAX_FAVORITES", 1)
    full, _ = decide_favorites(None, replace(answer, user="tia"))
    assert decide_favorites(full, answer)[1][0].refusal is FavoriteRefusal.TOO_MANY_FAVORITES
    assert decide_favorites(None, to(DropFavorite)) == (None, ())
    assert decide_favorites(None, replace(answer, refusal=FavoriteRefusal.PEER_BLOCKS))[0] is None


def came(seconds: float) -> CameOnline:
    return CameOnline(id=f"c{seconds}", at=T + timedelta(seconds=seconds), cause="x", user=SUE)


def follow(follower: str, type_: type[Follow | Unfollow] = Follow) -> Follow | Unfollow:
    return type_(id=f"{type_.__name__}-{follower}", at=T, user=SUE, follower=UserId(follower))


def test_followers_are_told_once_in_a_while() -> None:
    followed = (follow("bob"), follow("ann"))
    for comings, times in (((0,), 1), ((0, 5), 1), ((0, TOLD_EVERY.total_seconds()), 2)):
        _, facts = played(*followed, *map(came, comings))
        assert sorted(one.follower for one in facts) == sorted(["bob", "ann"] * times)
        assert {type(one) for one in facts} == {FavoriteCameOnline}
        assert {one.user for one in facts} == {"sue"}
    states, facts = played(*followed, follow("bob", Unfollow), follow("ann", Unfollow), came(0))
    assert facts == []
    assert not any(states[decide_followers].values())
    assert not any(states[decide_follower_page].values())


def test_a_page_that_is_full_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_ON_PAGE", 1)
    monkeypatch.setattr(domain, "page_of", lambda _: 7)
    states, facts = played(follow("bob"), follow("ann"), came(0))
    assert (states[decide_followers]["sue"].count, [one.follower for one in facts]) == (2, ["bob"])
    states, _ = played(follow("bob"), follow("ann"), follow("ann", Unfollow))
    assert states[decide_followers]["sue"].count == 1
    states, _ = played(follow("bob"), follow("ann"), follow("bob", Unfollow), follow("ann", Unfollow))
    assert not any(states[decide_followers].values())
    assert not any(states[decide_follower_page].values())


def test_a_stars_followers_are_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "TOLD_AT_ONCE", 10)
    fans = {f"fan{number}" for number in range(95)}
    states, facts = played(*map(follow, sorted(fans)), came(0))
    root, told = states[decide_followers]["sue"], {one.follower for one in facts}
    assert len(facts) < 30
    assert decide_followers(root, came(1)) == (root, ()), "they are being told"
    while root.wake_at is not None:
        assert decide_followers(root, Wake(id="stale", at=T, key="sue")) == (root, ())
        root, tells = decide_followers(root, Wake(id=f"w{root.next_page}", at=root.wake_at, key="sue"))
        for tell in tells:
            _, more = decide_follower_page(states[decide_follower_page][tell.page], tell)
            assert not told & {one.follower for one in more}
            told |= {one.follower for one in more}
    assert told == fans


@given(long_lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), 40), st.integers(1, 3), st.booleans())
def test_who_follows_is_on_one_page_and_is_counted(changes: list[tuple[str, bool]], pages: int, at_once: bool) -> None:
    following, messages = set[str](), list[Follow | Unfollow]()
    for number, (follower, likes) in enumerate(changes):
        if likes != (follower in following):
            following ^= {follower}
            messages.append(replace(follow(follower, Follow if likes else Unfollow), id=f"m{number}"))
    with patch.object(domain, "page_of", lambda follower: ord(follower) % pages):
        states, _ = played(*messages, at_once=at_once)
    on_pages = [user for page in states[decide_follower_page].values() if page for user in page.users]
    root = states[decide_followers].get("sue")
    assert sorted(on_pages) == sorted(following)
    assert (root.count if root else 0) == len(following)
    assert set(pages_from(root or Followers(), 0)) == {ord(follower) % pages for follower in following}


# --- on the real platform ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bob(new_user: NewUser) -> Phone:
    return Phone(new_user())


def test_a_favourite_that_comes_online_is_on_the_feed_and_a_block_ends_it(bob: Phone, new_user: NewUser) -> None:
    sue = new_user("streamer")
    answer = bob.api.put(f"/v1/favorites/{sue.user}")
    assert (answer.status_code, answer.json()["online"]) == (200, False)
    eventually(lambda: sue.get("/v1/followers").json() == {"count": 1})
    assert sue.get("/v1/followers/users").json() == {"users": [bob.user], "next_page": None}
    Phone(sue)
    assert bob.wait_for("FavoriteCameOnline")["user"] == sue.user
    assert [(one["user"], one["online"]) for one in bob.api.get("/v1/favorites").json()] == [(sue.user, True)]
    assert sue.put(f"/v1/blocks/{bob.user}", json={"reason": "spam"}).status_code == 200
    eventually(lambda: bob.api.get("/v1/favorites").json() == [])
    eventually(lambda: sue.get("/v1/followers").json() == {"count": 0})
    refused = bob.api.put(f"/v1/favorites/{sue.user}")
    assert (refused.status_code, refused.json()["code"]) == (404, "user_unknown"), "who has blocked him is told to nobody"


def test_favourites_that_cannot_be(bob: Phone) -> None:
    for user in ("\U0001f600" * 33, "x" * 129, "a%22b"):
        assert bob.api.put(f"/v1/favorites/{user}").json()["code"] == "invalid_request"
    assert bob.api.put("/v1/favorites/nobody").json()["code"] == "user_unknown"
    assert bob.api.put(f"/v1/favorites/{bob.user}").json()["code"] == "same_user"
    assert bob.api.delete("/v1/favorites/nobody").json()["code"] == "not_favorite"


def test_what_one_has_changed_is_what_one_reads_next(bob: Phone, new_user: NewUser) -> None:
    sue = new_user("streamer")
    for number in range(25):
        assert bob.api.put(f"/v1/favorites/{sue.user}").status_code == 200
        assert [one["user"] for one in bob.api.get("/v1/favorites").json()] == [sue.user]
        assert bob.api.delete(f"/v1/favorites/{sue.user}").status_code == 204
        assert bob.api.get("/v1/favorites").json() == []
        assert bob.api.put("/v1/profile", json={"name": f"bob {number}"}).status_code == 200
        assert sue.get(f"/v1/profiles/{bob.user}").json()["name"] == f"bob {number}"
