"""Favourites: `favorites` (whom one user likes), `followers` (how many like one user) and `follower_page` (a share of these,
who hear when that user comes online).

A user likes some hundred, and may be liked by a million: followers stand in pages of their own, so that to follow a star costs
as much as to follow anybody, and no state grows with a name.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final
from zlib import crc32

from msgspec import Meta

from schemas.erased import mark_ends
from schemas.log.base import Message, MessageName, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.user import (
    BlockedUsers,
    CameOnline,
    ListedUser,
    PeerCommand,
    PeerFact,
    User_,
    UserCommand,
    UserErased,
    UserFact,
    UserInList,
)

# A person likes dozens; each is a line in one state.
MAX_FAVORITES: Final = 500
# A user's followers stand in so many pages, each in the one that its id falls into. A page keeps MAX_ON_PAGE and counts the
# rest, who are not told: that is two million followers.
PAGES: Final = 4_096
MAX_ON_PAGE: Final = 480
# Each is told by a record of its own. So many are told at once, and the next ones a second later: a star's fans do not hold up
# everybody's calls.
TOLD_AT_ONCE: Final = 5_000
NEXT_TOLD_AFTER: Final = timedelta(seconds=1)
# A phone on a bad line comes online again and again; its followers are told once.
TOLD_EVERY: Final = timedelta(minutes=10)

PageNumber = Annotated[int, Meta(ge=0, lt=PAGES)]
PageKey = Annotated[str, Meta(max_length=140, pattern=r"[^/]/[0-9]{1,4}$", description="<user>/<number>"), PLAIN]


class FavoriteRefusal(StrEnum):
    """Why a favourite was refused, in order of precedence."""

    SAME_USER = "same_user"
    BLOCKED = "blocked"
    PEER_BLOCKS = "peer_blocks"
    USER_UNKNOWN = "user_unknown"
    TOO_MANY_FAVORITES = "too_many_favorites"
    NOT_FAVORITE = "not_favorite"


class AddFavorite(PeerCommand):
    """`user` likes `peer`."""


class RemoveFavorite(PeerCommand):
    """`user` does not like `peer` any more."""


class BarFavorite(PeerCommand):
    """`user` has blocked `peer`: neither likes the other any more."""


class UnbarFavorite(PeerCommand):
    """`user` has taken the block back."""


class AskFavorite(PeerCommand):
    """May `peer` like `user`? `asked`: the command by which `peer` wants to. Answered by FavoriteAnswered."""

    asked: MessageName


class DropFavorite(PeerCommand):
    """`peer` has blocked `user`, or was erased: `user` does not like `peer` any more."""


class FavoriteAdded(PeerFact):
    """The favourite is there (told again when it was there before)."""


class FavoriteRemoved(PeerFact):
    """The favourite is gone: taken back, or one of the two has blocked the other."""


class FavoriteRefused(PeerFact, Refused):
    """Nothing was changed. Who has blocked a user is, to this user, not there."""

    told_as = {FavoriteRefusal.PEER_BLOCKS: FavoriteRefusal.USER_UNKNOWN}
    refusal: FavoriteRefusal


class FavoriteAnswered(PeerFact):
    """The answer to AskFavorite: None, or why `peer` may not like `user`."""

    changes_state: ClassVar[bool] = False
    user: ListedUser
    peer: ListedUser
    asked: MessageName
    refusal: FavoriteRefusal | None = None


class Favorites(State):
    """Whom a user likes, and since when; `barred`: whom the user has blocked; `erased_at`: the user was erased then; for a day,
    so that what comes late is refused."""

    peers: Annotated[dict[UserInList, Time], Meta(max_length=MAX_FAVORITES)]
    barred: BlockedUsers = ()
    erased_at: Time | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When the mark of an erasure is forgotten."""
        return mark_ends(self.erased_at)


class Follow(UserCommand):
    """`follower` likes `user`."""

    follower: ListedUser


class Unfollow(UserCommand):
    """`follower` does not like `user` any more."""

    follower: User_


class CountFollowers(UserCommand):
    """A page of the user's followers has changed: by so many, and so many are on it now."""

    page: PageNumber
    change: Annotated[int, Meta(ge=-1, le=1)]
    left: Annotated[int, Meta(ge=0)]


class Followers(State):
    """How many like a user; `pages`: on which pages they stand, a bit each, as a hexadecimal number. `told_at`: when they were
    told last that the user came online; while that goes on, `next_page` is the next to tell, at `next_at`. `gone`: they are
    told that the user was erased."""

    count: int = 0
    pages: Annotated[str, Meta(max_length=PAGES // 4, extra={"max_bytes": PAGES // 4 + 2}), PLAIN] = ""
    told_at: Time | None = None
    next_page: PageNumber = 0
    next_at: Time | None = None
    gone: bool = False

    @property
    def wake_at(self) -> datetime | None:
        """When the next followers are told."""
        return self.next_at


# --- a page of followers ----------------------------------------------------------------------------------------------------


class _ToPage(Message):
    page: PageKey


class KeepFollower(_ToPage):
    """`follower` likes the page's user."""

    follower: ListedUser


class DropFollower(_ToPage):
    """`follower` does not like the page's user any more."""

    follower: User_


class TellFollowers(_ToPage):
    """The page's user has come online; or was erased (`gone`), and is nobody's favourite any more."""

    gone: bool = False


class FavoriteCameOnline(UserFact):
    """To one follower, of the page that is told: `user` has come online."""

    changes_state: ClassVar[bool] = False
    follower: User_
    page: PageKey = ""


class FollowerPage(State):
    """Some of a user's followers, and how many `more` there were no room for."""

    users: Annotated[tuple[UserInList, ...], Meta(max_length=MAX_ON_PAGE)] = ()
    more: int = 0


def page_of(follower: str) -> int:
    """The page that a follower stands on."""
    return crc32(follower.encode()) % PAGES


def page_key(user: str, page: int) -> str:
    """The key of a page of a user's followers; no user id has "/"."""
    return f"{user}/{page}"


def pages_from(followers: Followers, first: int) -> Iterator[int]:
    """The numbers of the pages, from `first` on, on which somebody stands."""
    standing = int(followers.pages or "0", 16) >> first
    while standing:
        skipped = (standing & -standing).bit_length() - 1
        yield first + skipped
        standing, first = standing >> skipped + 1, first + skipped + 1


FavoritesInbox = (
    AddFavorite | RemoveFavorite | BarFavorite | UnbarFavorite | AskFavorite | DropFavorite | FavoriteAnswered | UserErased
    | Wake
)  # fmt: skip
FollowersInbox = Follow | Unfollow | CountFollowers | CameOnline | UserErased | Wake
FollowerPageInbox = KeepFollower | DropFollower | TellFollowers | Wake

FAVORITES: Final = Entity(
    "favorites",
    key="user",
    flow=Flow.LIVE,
    state=Favorites,
    commands=(AddFavorite, RemoveFavorite, BarFavorite, UnbarFavorite, AskFavorite, DropFavorite),
    facts=(FavoriteAdded, FavoriteRemoved, FavoriteRefused, FavoriteAnswered),
    hears=(
        Hears(FavoriteAnswered, "peer", "the other side says whether it may be liked"),
        Hears(UserErased, "user", "whom the user likes is forgotten"),
    ),
)
FOLLOWERS: Final = Entity(
    "followers",
    key="user",
    flow=Flow.LIVE,
    state=Followers,
    commands=(Follow, Unfollow, CountFollowers),
    hears=(
        Hears(CameOnline, "user", "followers are told"),
        Hears(UserErased, "user", "who is erased is nobody's favourite"),
    ),
    raw="comings stand in `presence`, followers in `favorites`",
)
FOLLOWER_PAGE: Final = Entity(
    "follower_page",
    key="page",
    flow=Flow.LIVE,
    state=FollowerPage,
    commands=(KeepFollower, DropFollower, TellFollowers),
    facts=(FavoriteCameOnline,),
    shown=(Shown(FavoriteCameOnline, ("follower",), "the phone shows who has come online"),),
    raw="comings stand in `presence`, followers in `favorites`",
)
