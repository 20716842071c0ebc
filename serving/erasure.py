"""Erasure: `DELETE /v1/users/me`, and `DELETE /v1/admin/users/{user}` for an admin with a reason, which is kept.

What goes, what stays and when is said in docs/erasure.md. An erasure again is answered alike, and nothing is written.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request

from schemas.log.base import UserId, new_id, now
from schemas.user import USER, EraseUser, ErasureRepeated, User, UserErased, UserRefusal
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import UserInPath
from serving.runtime.problems import responses
from serving.runtime.refusals import USER_ERASED, Refusals
from serving.runtime.staff import PeopleErase

router = APIRouter(tags=["erasure"])

REFUSED: Final[Refusals] = {UserRefusal.USER_ERASED: USER_ERASED}
Why = Annotated[
    str, Query(min_length=3, max_length=64, pattern=r"^[^\x00-\x1f]*$", description="why; it is kept with your name")
]


@router.delete("/v1/users/me", status_code=204, responses=responses(401, 403, 404, 503))
async def erase_me(caller: SignedIn, request: Request) -> None:
    """Erase yourself, for good: sessions and calls end, what is personal is forgotten, coins that are left are forfeited."""
    await _erase(request, caller.user, caller.user, "")


@router.delete("/v1/admin/users/{user}", status_code=204, responses=responses(401, 403, 404, 422, 503))
async def erase_user(user: UserInPath, reason: Why, caller: PeopleErase, request: Request) -> None:
    """Erase somebody who has asked for it: that you did, and why, is kept."""
    await _erase(request, user, caller.user, reason)


async def _erase(request: Request, user: str, by: str, reason: str) -> None:
    known: User | None = views_of(request).of(USER).get(user)
    if known is not None and known.erased_at is not None:
        return
    command = EraseUser(id=new_id(), at=now(), user=UserId(user), by=by, reason=reason)
    await commands_of(request).ask(command, UserErased, ErasureRepeated, urgent=True)
