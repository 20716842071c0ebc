"""Favourites: `favorites` (whom one user likes) and `followers` (who likes one user, and hears when that user comes online)."""

from datetime import timedelta
from enum import StrEnum
from typing import Final

from schemas.log.base import Refused, State, Time, UserId, Wake
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.user import CameOnline, PeerCommand, PeerFact, User_, UserCommand, UserFact

# A person likes dozens; each is a line in one state.
MAX_FAVORITES: Final = 1_000
# So many followers are told that a user has come online, each by one record of one transaction. Whoever follows later is not
# told.
MAX_FOLLOWERS: Final = 10_000
# A phone on a bad line comes online again and again; its followers are told once.
TOLD_EVERY: Final = timedelta(minutes=10)


class FavoriteRefusal(StrEnum):
    """Why a favourite was refused, in order of precedence."""

    SAME_USER = "same_user"
    BLOCKED = "blocked"
    TOO_MANY_FAVORITES = "too_many_favorites"
    NOT_FAVORITE = "not_favorite"


class AddFavorite(PeerCommand):
    """`user` likes `peer`."""


class RemoveFavorite(PeerCommand):
    """`user` does not like `peer` any more."""


class BarFavorite(PeerCommand):
    """One of the two has blocked the other: `user` cannot like `peer`."""


class UnbarFavorite(PeerCommand):
    """One block between the two is gone."""


class FavoriteAdded(PeerFact):
    """The favourite is there (told again when it was there before)."""


class FavoriteRemoved(PeerFact):
    """The favourite is gone: taken back, or one of the two has blocked the other."""


class FavoriteRefused(PeerFact, Refused):
    """Nothing was changed."""

    refusal: FavoriteRefusal


class Favorites(State):
    """Whom a user likes, and since when; `barred`: between whom and this user a block stands, once a block."""

    peers: dict[str, Time]
    barred: tuple[str, ...] = ()


class Follow(UserCommand):
    """`follower` likes `user`."""

    follower: User_


class Unfollow(UserCommand):
    """`follower` does not like `user` any more."""

    follower: User_


class FavoriteCameOnline(UserFact):
    """To one follower: `user` has come online."""

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
