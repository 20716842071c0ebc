"""Favourites: refusals by table, blocks take them away, and a coming online is told once in a while."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import pytest

from pipelines import favorites as domain
from schemas.favorites import (
    TOLD_EVERY,
    AddFavorite,
    BarFavorite,
    FavoriteCameOnline,
    FavoriteRefusal,
    FavoriteRemoved,
    FavoritesInbox,
    Follow,
    RemoveFavorite,
    UnbarFavorite,
    Unfollow,
)
from schemas.log.base import UserId
from schemas.user import CameOnline, PeerCommand
from tests.conftest import NewUser, Phone, eventually
from tests.decisions import decisions_of, last_decision
from tests.people import ANN, BOB, SUE

C = TypeVar("C", bound=PeerCommand)
decide = decisions_of(domain.decide_favorites)
decide_followers = decisions_of(domain.decide_followers)
T = datetime(2030, 1, 1, tzinfo=UTC)


def to(type_: type[C], peer: str = "sue") -> C:
    return type_(id=f"{type_.__name__}-{peer}", at=T, user=BOB, peer=UserId(peer))


after = partial(last_decision, decide)


def test_each_refusal_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_FAVORITES", 2)
    rows: list[tuple[tuple[FavoritesInbox, ...], FavoriteRefusal]] = [
        ((to(AddFavorite, "bob"),), FavoriteRefusal.SAME_USER),
        ((to(BarFavorite), to(AddFavorite)), FavoriteRefusal.BLOCKED),
        ((to(AddFavorite, "a"), to(AddFavorite, "b"), to(AddFavorite, "c")), FavoriteRefusal.TOO_MANY_FAVORITES),
        ((to(RemoveFavorite),), FavoriteRefusal.NOT_FAVORITE),
    ]
    for messages, refusal in rows:
        _, (fact,) = after(*messages)
        assert fact.refusal is refusal
    assert {refusal for _, refusal in rows} == set(FavoriteRefusal)


def test_adding_twice_follows_once_and_removing_unfollows() -> None:
    state, told = after(to(AddFavorite))
    assert [type(one).__name__ for one in told] == ["FavoriteAdded", "Follow"]
    assert [type(one).__name__ for one in decide(state, to(AddFavorite))[1]] == ["FavoriteAdded"]
    state, more = decide(state, to(RemoveFavorite))
    assert (state.peers, [type(one) for one in more]) == ({}, [FavoriteRemoved, Unfollow])


def test_a_block_takes_the_favourite_away_until_the_last_block_is_gone() -> None:
    state, told = after(to(AddFavorite), to(BarFavorite))
    assert ([type(one) for one in told], state.barred) == ([FavoriteRemoved, Unfollow], ("sue",))
    state, _ = after(to(BarFavorite), to(BarFavorite), to(UnbarFavorite))
    assert decide(state, to(AddFavorite))[1][0].refusal is FavoriteRefusal.BLOCKED
    state, _ = decide(state, to(UnbarFavorite))
    assert decide(state, to(AddFavorite))[1][0].peer == "sue"


def came(seconds: float) -> CameOnline:
    return CameOnline(id=f"c{seconds}", at=T + timedelta(seconds=seconds), cause="x", user=SUE)


def test_followers_are_told_once_in_a_while() -> None:
    state, _ = decide_followers(None, Follow(id="f", at=T, user=SUE, follower=BOB))
    state, _ = decide_followers(state, Follow(id="g", at=T, user=SUE, follower=ANN))
    state, told = decide_followers(state, came(0))
    assert [(type(one), one.follower) for one in told] == [(FavoriteCameOnline, "bob"), (FavoriteCameOnline, "ann")]
    assert decide_followers(state, came(5)) == (state, ())
    assert len(decide_followers(state, came(TOLD_EVERY.total_seconds()))[1]) == 2
    state, _ = decide_followers(state, Unfollow(id="u", at=T, user=SUE, follower=BOB))
    assert decide_followers(state, Unfollow(id="v", at=T, user=SUE, follower=ANN))[0] is None
    assert decide_followers(None, came(9)) == (None, ())


def test_who_follows_beyond_the_limit_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_FOLLOWERS", 1)
    state, _ = decide_followers(None, Follow(id="f", at=T, user=SUE, follower=BOB))
    assert decide_followers(state, Follow(id="g", at=T, user=SUE, follower=ANN)) == (state, ())


# --- on the real platform ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bob(new_user: NewUser) -> Phone:
    return Phone(new_user())


def test_a_favourite_that_comes_online_is_on_the_feed_and_a_block_ends_it(bob: Phone, new_user: NewUser) -> None:
    sue = new_user("streamer")
    answer = bob.api.put(f"/v1/favorites/{sue.user}")
    assert (answer.status_code, answer.json()["online"]) == (200, False)
    eventually(lambda: sue.get("/v1/followers").json() == {"count": 1})
    Phone(sue)
    assert bob.wait_for("FavoriteCameOnline")["user"] == sue.user
    assert [(one["user"], one["online"]) for one in bob.api.get("/v1/favorites").json()] == [(sue.user, True)]
    assert sue.put(f"/v1/blocks/{bob.user}", json={"reason": "spam"}).status_code == 200
    eventually(lambda: bob.api.get("/v1/favorites").json() == [])
    eventually(lambda: sue.get("/v1/followers").json() == {"count": 0})
    refused = bob.api.put(f"/v1/favorites/{sue.user}")
    assert (refused.status_code, refused.json()["code"]) == (409, "blocked")


def test_favourites_that_cannot_be(bob: Phone) -> None:
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
