"""Favourites and followers: `/v1/favorites`, `/v1/followers`; comings are on the feed."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from schemas.favorites import (
    FAVORITES,
    FOLLOWER_PAGE,
    FOLLOWERS,
    PAGES,
    AddFavorite,
    FavoriteAdded,
    FavoriteRefusal,
    FavoriteRemoved,
    RemoveFavorite,
    page_key,
    pages_from,
)
from schemas.log.base import UserId, new_id, now
from schemas.user import USER
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import UserInPath
from serving.runtime.gate import Acting, takes_part
from serving.runtime.problems import responses
from serving.runtime.refusals import Refusals, refusal_of

router = APIRouter(tags=["favorites"])

REFUSED: Final[Refusals] = {
    FavoriteRefusal.SAME_USER: (409, "you cannot be your own favourite"),
    FavoriteRefusal.BLOCKED: (409, "you have blocked this user"),
    FavoriteRefusal.USER_UNKNOWN: (404, "there is no such user"),
    FavoriteRefusal.TOO_MANY_FAVORITES: (409, "you have as many favourites as one can; take some away first"),
    FavoriteRefusal.NOT_FAVORITE: (404, "this user is not among your favourites"),
}


class FavoriteAnswer(BaseModel):
    """A favourite: since when, and whether that user is online now."""

    user: str
    since: datetime
    online: bool


class FollowersAnswer(BaseModel):
    """How many people have the caller among their favourites."""

    count: int


class FollowersPage(BaseModel):
    """Some of the caller's followers; `next_page` null: these were the last."""

    users: list[str]
    next_page: int | None = None


@router.put("/v1/favorites/{user}", response_model=FavoriteAnswer, responses=responses(401, 403, 404, 409, 422, 503))
async def add_favorite(user: UserInPath, caller: Acting, request: Request) -> Any:
    """Add a favourite: your phone is told when that user comes online."""
    views = views_of(request)
    known = views.of(USER).get(user)
    if known is None or not takes_part(views, user):
        raise refusal_of(request, FavoriteRefusal.USER_UNKNOWN)
    command = AddFavorite(id=new_id(), at=now(), user=UserId(caller.user), peer=UserId(user))
    await commands_of(request).ask(command, FavoriteAdded)
    mine = views.of(FAVORITES).get(caller.user)
    since = mine.peers.get(user, command.at) if mine else command.at
    return FavoriteAnswer(user=user, since=since, online=bool(known.sessions))


@router.delete("/v1/favorites/{user}", status_code=204, responses=responses(401, 403, 404, 409, 422, 503))
async def remove_favorite(user: UserInPath, caller: Acting, request: Request) -> None:
    """Take a favourite away."""
    command = RemoveFavorite(id=new_id(), at=now(), user=UserId(caller.user), peer=UserId(user))
    await commands_of(request).ask(command, FavoriteRemoved)


@router.get("/v1/favorites", response_model=list[FavoriteAnswer], responses=responses(401, 403, 503))
async def list_favorites(caller: SignedIn, request: Request) -> Any:
    """Your favourites, those online first, newest first."""
    views = views_of(request)
    mine, users = views.of(FAVORITES).get(caller.user), views.of(USER)
    found = [
        FavoriteAnswer(user=user, since=since, online=bool(known and known.sessions))
        for user, since in (mine.peers if mine else {}).items()
        if (known := users.get(user)) is None or known.erased_at is None
    ]
    return sorted(found, key=lambda one: (one.online, one.since), reverse=True)


@router.get("/v1/followers", response_model=FollowersAnswer, responses=responses(401, 403, 503))
async def count_followers(caller: SignedIn, request: Request) -> Any:
    """How many people have you among their favourites."""
    known = views_of(request).of(FOLLOWERS).get(caller.user)
    return FollowersAnswer(count=known.count if known else 0)


@router.get("/v1/followers/users", response_model=FollowersPage, responses=responses(401, 403, 422, 503))
async def list_followers(
    caller: SignedIn,
    request: Request,
    page: Annotated[int, Query(ge=0, le=PAGES, description="`next_page` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Any:
    """Who has you among their favourites, in no order that means anything: `limit` of them or a few more."""
    views, users = views_of(request), list[str]()
    known = views.of(FOLLOWERS).get(caller.user)
    for number in pages_from(known, page) if known else ():
        if len(users) >= limit:
            return FollowersPage(users=users, next_page=number)
        found = views.of(FOLLOWER_PAGE).get(page_key(caller.user, number))
        users += found.users if found else ()
    return FollowersPage(users=users)
