"""Favourites: `favorites`, keyed by the user who likes, `followers`, keyed by the user who is liked, and its pages.

State: `schemas.favorites`. Who wants to like somebody asks the other's favourites first, since only they know whom the other
has blocked; their answer, and that a later block takes the favourite away, come in the order in which they were decided there.
Laws: whoever is a favourite is followed, and nobody else is; between two of whom one has blocked the other there is no
favourite, in either direction; followers are told of a coming once in TOLD_EVERY, TOLD_AT_ONCE of them a second.
Refusals: `schemas.favorites.FavoriteRefusal`, in order of precedence.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec.structs import replace

from schemas.favorites import (
    MAX_FAVORITES,
    MAX_ON_PAGE,
    NEXT_TOLD_AFTER,
    TOLD_AT_ONCE,
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
    FavoriteRefused,
    FavoriteRemoved,
    Favorites,
    FavoritesInbox,
    Follow,
    FollowerPage,
    FollowerPageInbox,
    Followers,
    FollowersInbox,
    KeepFollower,
    RemoveFavorite,
    TellFollowers,
    UnbarFavorite,
    Unfollow,
    page_key,
    page_of,
    pages_from,
)
from schemas.log.base import Message, UserId, Wake, derive, later, reply
from schemas.user import MAX_BLOCKS, CameOnline, UserErased

Decision = tuple[Favorites | None, Sequence[Message]]


def decide_favorites(favorites: Favorites | None, message: FavoritesInbox) -> Decision:
    """Decide one message of a user's favourites."""
    state = favorites or Favorites({})
    match message:
        case Wake():
            return (None if state.is_due(message.at) else favorites), ()
        case UserErased():
            return Favorites({}, erased_at=message.at), _forgotten(state, message)
        case BarFavorite() | UnbarFavorite() | DropFavorite() if state.erased_at is not None:
            return favorites, ()
        case BarFavorite():
            return _bar(state, message)
        case UnbarFavorite():
            return replace(state, barred=tuple(peer for peer in state.barred if peer != message.peer)), ()
        case DropFavorite():
            return _remove(state, message) if message.peer in state.peers else (favorites, ())
        case AskFavorite():
            return favorites, (_answer(state, message),)
        case FavoriteAnswered():
            after, messages = _answered(state, message)
            return (favorites if after is state else after), messages
    refusal = refusal_of(state, message)
    if refusal is not None:
        return favorites, (FavoriteRefused(**reply(message), user=message.user, peer=message.peer, refusal=refusal),)
    if isinstance(message, RemoveFavorite):
        return _remove(state, message)
    if message.peer in state.peers:
        return favorites, (FavoriteAdded(**reply(message), user=message.user, peer=message.peer),)
    return favorites, (AskFavorite(**derive(message, 1), user=message.peer, peer=message.user, asked=message.id),)


def refusal_of(favorites: Favorites, message: AddFavorite | RemoveFavorite) -> FavoriteRefusal | None:
    """The first guard that the message fails, or None."""
    if message.user == message.peer:
        return FavoriteRefusal.SAME_USER
    if isinstance(message, RemoveFavorite):
        return None if message.peer in favorites.peers else FavoriteRefusal.NOT_FAVORITE
    return _barrier(favorites, message.peer)


def _barrier(favorites: Favorites, peer: str) -> FavoriteRefusal | None:
    """What stands, on this user's side, against liking `peer`."""
    if favorites.erased_at is not None:
        return FavoriteRefusal.USER_UNKNOWN
    if peer in favorites.barred:
        return FavoriteRefusal.BLOCKED
    full = len(favorites.peers) >= MAX_FAVORITES and peer not in favorites.peers
    return FavoriteRefusal.TOO_MANY_FAVORITES if full else None


def _answer(favorites: Favorites, message: AskFavorite) -> FavoriteAnswered:
    refusal = FavoriteRefusal.PEER_BLOCKS if message.peer in favorites.barred else None
    refusal = FavoriteRefusal.USER_UNKNOWN if favorites.erased_at is not None else refusal
    return FavoriteAnswered(
        **reply(message), user=message.user, peer=message.peer, asked=message.asked, refusal=refusal
    )  # fmt: skip


def _answered(favorites: Favorites, message: FavoriteAnswered) -> Decision:
    """The one who is to be liked (`message.user`) has answered; meanwhile this user's own side may have changed."""
    user, peer = message.peer, message.user
    refusal = message.refusal or _barrier(favorites, peer)
    if refusal is not None:
        return favorites, (FavoriteRefused(**reply(message, to=message.asked), user=user, peer=peer, refusal=refusal),)
    added = FavoriteAdded(**reply(message, to=message.asked), user=user, peer=peer)
    if peer in favorites.peers:
        return favorites, (added,)
    follow = Follow(**derive(message, 1), user=peer, follower=user)
    return replace(favorites, peers={**favorites.peers, peer: message.at}), (added, follow)


def _bar(favorites: Favorites, message: BarFavorite) -> Decision:
    others = tuple(peer for peer in favorites.barred if peer != message.peer)
    barred = replace(favorites, barred=(*others, message.peer)[-MAX_BLOCKS:])
    drop = DropFavorite(**derive(message, 2), user=message.peer, peer=message.user)
    after, messages = _remove(barred, message) if message.peer in favorites.peers else (barred, ())
    return after, (*messages, drop)


def _remove(favorites: Favorites, message: RemoveFavorite | BarFavorite | DropFavorite) -> Decision:
    rest = {peer: at for peer, at in favorites.peers.items() if peer != message.peer}
    removed = FavoriteRemoved(**reply(message), user=message.user, peer=message.peer)
    unfollow = Unfollow(**derive(message, 1), user=message.peer, follower=message.user)
    return replace(favorites, peers=rest), (removed, unfollow)


def _forgotten(favorites: Favorites, message: UserErased) -> Sequence[Message]:
    """Nobody is liked any more by a user who was erased."""
    told: list[Message] = []
    for peer in map(UserId, favorites.peers):
        told.append(FavoriteRemoved(**reply(message, f"not/{peer}"), user=message.user, peer=peer))
        told.append(Unfollow(**derive(message, f"unfollow/{peer}"), user=peer, follower=message.user))
    return told


# --- followers --------------------------------------------------------------------------------------------------------------


def decide_followers(followers: Followers | None, message: FollowersInbox) -> tuple[Followers | None, Sequence[Message]]:
    """Decide one message of a user's followers."""
    state = followers or Followers()
    match message:
        case Follow() | Unfollow():
            kind, page = KeepFollower if isinstance(message, Follow) else DropFollower, page_of(message.follower)
            return followers, (kind(**derive(message, 0), page=page_key(message.user, page), follower=message.follower),)
        case CountFollowers():
            return _count(state, message), ()
        case CameOnline() if state.count and (state.told_at is None or later(state.told_at, TOLD_EVERY) <= message.at):
            return _tell(replace(state, told_at=message.at, next_page=0), message, message.user)
        case UserErased() if state.count:
            return _tell(replace(state, gone=True, next_page=0), message, message.user)
        case Wake() if state.is_due(message.at):
            return _tell(state, message, UserId(message.key))
    return followers, ()


def _count(followers: Followers, message: CountFollowers) -> Followers | None:
    bit, pages = 1 << message.page, int(followers.pages or "0", 16)
    pages = pages | bit if message.left else pages & ~bit
    count = max(0, followers.count + message.change)
    return replace(followers, count=count, pages=f"{pages:x}" if pages else "") if count else None


def _tell(followers: Followers, message: CameOnline | UserErased | Wake, user: UserId) -> tuple[Followers, Sequence[Message]]:
    """So many pages as have TOLD_AT_ONCE followers, more or less; the others when `next_at` has come."""
    pages = pages_from(followers, followers.next_page)
    each = max(1.0, followers.count / int(followers.pages or "1", 16).bit_count())
    now = list(islice(pages, max(1, int(TOLD_AT_ONCE / each))))
    following = next(pages, None)
    tells = [TellFollowers(**derive(message, f"tell/{page}"), page=page_key(user, page), gone=followers.gone) for page in now]
    if following is None:
        return replace(followers, next_page=0, next_at=None), tells
    return replace(followers, next_page=following, next_at=later(message.at, NEXT_TOLD_AFTER)), tells


def decide_follower_page(
    page: FollowerPage | None, message: FollowerPageInbox
) -> tuple[FollowerPage | None, Sequence[Message]]:  # fmt: skip
    """Decide one message of a page of followers."""
    state = page or FollowerPage()
    match message:
        case KeepFollower() if message.follower not in state.users:
            full = len(state.users) >= MAX_ON_PAGE
            after = replace(state, more=state.more + 1) if full else replace(state, users=(*state.users, message.follower))
            return after, (_counted(after, message, 1),)
        case DropFollower() if message.follower in state.users:
            rest = replace(state, users=tuple(user for user in state.users if user != message.follower))
            return _unless_empty(rest), (_counted(rest, message, -1),)
        case DropFollower() if state.more:
            rest = replace(state, more=state.more - 1)
            return _unless_empty(rest), (_counted(rest, message, -1),)
        case TellFollowers() if message.gone:
            user = UserId(message.page.rpartition("/")[0])
            return page, [DropFavorite(**derive(message, one), user=UserId(one), peer=user) for one in state.users]
        case TellFollowers():
            return page, list(_told(state, message))
    return page, ()


def _unless_empty(page: FollowerPage) -> FollowerPage | None:
    return page if page.users or page.more else None


def _counted(page: FollowerPage, message: KeepFollower | DropFollower, change: int) -> CountFollowers:
    user, _, number = message.page.rpartition("/")
    return CountFollowers(
        **derive(message, 0), user=UserId(user), page=int(number), change=change, left=len(page.users) + page.more
    )  # fmt: skip


def _told(page: FollowerPage, message: TellFollowers) -> Iterator[FavoriteCameOnline]:
    user = UserId(message.page.rpartition("/")[0])
    for number, follower in enumerate(page.users):
        yield FavoriteCameOnline(**reply(message, f"to/{number}"), user=user, follower=UserId(follower), page=message.page)
