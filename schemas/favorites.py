"""Favourites: `favorites` (whom one user likes) and `followers` (who likes one user, and hears when that user comes online)."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from schemas.log.base import Fact, Message, Refused, State, Time, UserId, Wake
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.user import CameOnline, User_

# A person likes dozens; each is a line in one state.
MAX_FAVORITES: Final = 1_000
# So many followers are told: each is a record in one transaction. Who comes later is a follower without notices.
MAX_FOLLOWERS: Final = 10_000
# A phone on a bad line comes online again and again; its followers are told once.
TOLD_EVERY: Final = timedelta(minutes=10)


class FavoriteRefusal(StrEnum):
    """Why a favourite was refused, in order of precedence."""

    SAME_USER = "same_user"
    BLOCKED = "blocked"
    TOO_MANY_FAVORITES = "too_many_favorites"
    NOT_FAVORITE = "not_favorite"


class AddFavorite(Message):
    """`user` likes `peer`."""

    user: User_
    peer: User_


class RemoveFavorite(Message):
    """`user` does not like `peer` any more."""

    user: User_
    peer: User_


class BarFavorite(Message):
    """One of the two has blocked the other: `user` cannot like `peer`."""

    user: User_
    peer: User_


class UnbarFavorite(Message):
    """One block between the two is gone."""

    user: User_
    peer: User_


class FavoriteAdded(Fact):
    """The favourite is there (told again when it was there before)."""

    user: UserId
    peer: UserId


class FavoriteRemoved(Fact):
    """The favourite is gone: taken back, or one of the two has blocked the other."""

    user: UserId
    peer: UserId


class FavoriteRefused(Refused):
    """Nothing was changed."""

    user: UserId
    peer: UserId
    refusal: FavoriteRefusal


class Favorites(State):
    """Whom a user likes, and since when; `barred`: between whom and this user a block stands, once a block."""

    peers: dict[str, Time]
    barred: tuple[str, ...] = ()


class Follow(Message):
    """`follower` likes `user`."""

    user: User_
    follower: User_


class Unfollow(Message):
    """`follower` does not like `user` any more."""

    user: User_
    follower: User_


class FavoriteCameOnline(Fact):
    """To one follower: `user` has come online."""

    user: UserId
    follower: UserId


class Followers(State):
    """Who likes a user; `told_at`: when they were told last that the user came online."""

    users: tuple[UserId, ...] = ()
    told_at: Time | None = None


FavoritesInbox = AddFavorite | RemoveFavorite | BarFavorite | UnbarFavorite | Wake
FollowersInbox = Follow | Unfollow | CameOnline | Wake

FAVORITES: Final = Entity(
    "favorites",
    key="user",
    flow=Flow.LIVE,
    state=Favorites,
    commands=(AddFavorite, RemoveFavorite, BarFavorite, UnbarFavorite),
    facts=(FavoriteAdded, FavoriteRemoved, FavoriteRefused),
)
FOLLOWERS: Final = Entity(
    "followers",
    key="user",
    flow=Flow.LIVE,
    state=Followers,
    commands=(Follow, Unfollow),
    facts=(FavoriteCameOnline,),
    hears=(Hears(CameOnline, "user", "followers are told"),),
    shown=(Shown(FavoriteCameOnline, ("follower",), "the phone shows who has come online"),),
    raw="comings stand in `presence`, followers in `favorites`",
)
