"""Favourites: `favorites`, keyed by the user who likes, and `followers`, keyed by the user who is liked.

State: `schemas.favorites`. Laws: whoever is a favourite is followed, and nobody else is (up to MAX_FOLLOWERS); between two of
whom one has blocked the other there is no favourite, in either direction; followers are told of a coming once in TOLD_EVERY.
Refusals: `schemas.favorites.FavoriteRefusal`, in order of precedence.
"""

from collections.abc import Sequence

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
from schemas.log.base import Message, UserId, Wake, derive, later, reply
from schemas.user import CameOnline

Decision = tuple[Favorites | None, Sequence[Message]]


def decide_favorites(favorites: Favorites | None, message: FavoritesInbox) -> Decision:
    """Decide one message of a user's favourites."""
    state = favorites or Favorites({})
    match message:
        case Wake():
            return favorites, ()
        case BarFavorite():
            barred = replace(state, barred=(*state.barred, message.peer))
            return _remove(barred, message) if message.peer in state.peers else (barred, ())
        case UnbarFavorite():
            rest = list(state.barred)
            if message.peer in rest:
                rest.remove(message.peer)
            return replace(state, barred=tuple(rest)), ()
    refusal = refusal_of(state, message)
    if refusal is not None:
        return favorites, (FavoriteRefused(**reply(message), user=message.user, peer=message.peer, refusal=refusal),)
    if isinstance(message, RemoveFavorite):
        return _remove(state, message)
    added = FavoriteAdded(**reply(message), user=message.user, peer=message.peer)
    if message.peer in state.peers:
        return favorites, (added,)
    follow = Follow(**derive(message, 1), user=message.peer, follower=message.user)
    return replace(state, peers={**state.peers, message.peer: message.at}), (added, follow)


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


def _remove(favorites: Favorites, message: RemoveFavorite | BarFavorite) -> Decision:
    rest = {peer: at for peer, at in favorites.peers.items() if peer != message.peer}
    removed = FavoriteRemoved(**reply(message), user=message.user, peer=message.peer)
    unfollow = Unfollow(**derive(message, 1), user=message.peer, follower=message.user)
    return replace(favorites, peers=rest), (removed, unfollow)


# --- followers --------------------------------------------------------------------------------------------------------------


def decide_followers(followers: Followers | None, message: FollowersInbox) -> tuple[Followers | None, Sequence[Message]]:
    """Decide one message of a user's followers."""
    state = followers or Followers()
    match message:
        case Follow() if message.follower not in state.users and len(state.users) < MAX_FOLLOWERS:
            return replace(state, users=(*state.users, UserId(message.follower))), ()
        case Unfollow() if message.follower in state.users:
            rest = tuple(user for user in state.users if user != message.follower)
            return (replace(state, users=rest) if rest else None), ()
        case CameOnline() if state.users and (state.told_at is None or later(state.told_at, TOLD_EVERY) <= message.at):
            return replace(state, told_at=message.at), _tell(state, message)
    return followers, ()


def _tell(followers: Followers, message: CameOnline) -> list[FavoriteCameOnline]:
    return [
        FavoriteCameOnline(**reply(message, f"to/{number}"), user=UserId(message.user), follower=follower)
        for number, follower in enumerate(followers.users)
    ]
