"""Favourites: `favorites`, keyed by the user who likes, and `followers`, keyed by the user who is liked.

State: `schemas.favorites`. Laws: whoever is a favourite is followed, and nobody else is (up to MAX_FOLLOWERS); between two of
whom one has blocked the other there is no favourite, in either direction; followers are told of a coming once in TOLD_EVERY.
Refusals: `schemas.favorites.FavoriteRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from schemas.favorites import (
    MAX_FAVORITES,
    MAX_FOLLOWERS,
    TOLD_EVERY,
    AddFavorite,
    BarFavorite,
    FavoriteAdded,
    FavoriteCameOnline,
    FavoriteRefusal,
    FavoriteRefused,
    FavoriteRemoved,
    Favorites,
    FavoritesInbox,
    Follow,
    Followers,
    FollowersInbox,
    RemoveFavorite,
    UnbarFavorite,
    Unfollow,
)
from schemas.log.base import Message, UserId, Wake, derived_id
from schemas.user import CameOnline

Decision = tuple[Favorites | None, Sequence[Message]]


def decide_favorites(favorites: Favorites | None, message: FavoritesInbox) -> Decision:
    """Decide one message of a user's favourites."""
    known = favorites or Favorites({})
    match message:
        case Wake():
            return favorites, ()
        case BarFavorite():
            barred = replace(known, barred=(*known.barred, message.peer))
            return _remove(barred, message) if message.peer in known.peers else (barred, ())
        case UnbarFavorite():
            rest = list(known.barred)
            if message.peer in rest:
                rest.remove(message.peer)
            return replace(known, barred=tuple(rest)), ()
    refusal = refusal_of(known, message)
    if refusal is not None:
        return favorites, (FavoriteRefused(**_of(message), refusal=refusal),)
    if isinstance(message, RemoveFavorite):
        return _remove(known, message)
    added = FavoriteAdded(**_of(message))
    if message.peer in known.peers:
        return favorites, (added,)
    follow = Follow(id=derived_id(message.id, 1), at=message.at, user=message.peer, follower=message.user)
    return replace(known, peers={**known.peers, message.peer: message.at}), (added, follow)


def refusal_of(favorites: Favorites, message: AddFavorite | RemoveFavorite) -> FavoriteRefusal | None:
    """The first guard that the message fails, or None."""
    if message.user == message.peer:
        return FavoriteRefusal.SAME_USER
    if isinstance(message, RemoveFavorite):
        return None if message.peer in favorites.peers else FavoriteRefusal.NOT_FAVORITE
    if message.peer in favorites.barred:
        return FavoriteRefusal.BLOCKED
    full = len(favorites.peers) >= MAX_FAVORITES and message.peer not in favorites.peers
    return FavoriteRefusal.TOO_MANY_FAVORITES if full else None


def _of(message: AddFavorite | RemoveFavorite | BarFavorite) -> dict[str, Any]:
    return {
        "id": derived_id(message.id, 0), "at": message.at, "cause": message.id, "user": message.user, "peer": message.peer,
    }  # fmt: skip


def _remove(favorites: Favorites, message: RemoveFavorite | BarFavorite) -> Decision:
    rest = {peer: at for peer, at in favorites.peers.items() if peer != message.peer}
    unfollow = Unfollow(id=derived_id(message.id, 1), at=message.at, user=message.peer, follower=message.user)
    return replace(favorites, peers=rest), (FavoriteRemoved(**_of(message)), unfollow)


# --- followers --------------------------------------------------------------------------------------------------------------


def decide_followers(followers: Followers | None, message: FollowersInbox) -> tuple[Followers | None, Sequence[Message]]:
    """Decide one message of a user's followers."""
    known = followers or Followers()
    match message:
        case Follow() if message.follower not in known.users and len(known.users) < MAX_FOLLOWERS:
            return replace(known, users=(*known.users, UserId(message.follower))), ()
        case Unfollow() if message.follower in known.users:
            rest = tuple(user for user in known.users if user != message.follower)
            return (replace(known, users=rest) if rest else None), ()
        case CameOnline() if known.users and (known.told_at is None or known.told_at + TOLD_EVERY <= message.at):
            return replace(known, told_at=message.at), _tell(known, message)
    return followers, ()


def _tell(followers: Followers, message: CameOnline) -> list[FavoriteCameOnline]:
    return [
        FavoriteCameOnline(
            id=derived_id(message.id, f"to/{n}"), at=message.at, cause=message.id, user=UserId(message.user), follower=follower
        )
        for n, follower in enumerate(followers.users)
    ]
