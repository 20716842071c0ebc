"""Roles: `PUT`, `DELETE /v1/admin/people/{user}/roles/{role}` with a reason; `GET /v1/admin/roles`, `GET /v1/users/me/roles`.

The log decides, so that of two admins who take each other's role one stays. A role counts with the answer, whatever the token
of its person says until it is renewed.
"""

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel

from schemas.log.base import UserId, new_id, now
from schemas.mission_control_roles import (
    BOOK,
    GIVEN,
    PERMISSIONS,
    STAFF,
    GiveRole,
    Permission,
    RoleRefusal,
    RolesChanged,
    RoleUnchanged,
    StaffBook,
    TakeRole,
)
from schemas.user import Role
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import UserInPath
from serving.runtime.lookups import role_of
from serving.runtime.problems import responses
from serving.runtime.refusals import Refusals
from serving.runtime.staff import RolesChange, RolesLook, reason_of, roles_of

router = APIRouter(tags=["staff"])

REFUSED: Final[Refusals] = {
    RoleRefusal.ROLE_NOT_GIVEN: (409, "{role} is what people sign up as; nobody is given it"),
    RoleRefusal.NOT_PERMITTED: (403, "you have lost the permission to give and take roles"),
    RoleRefusal.OWN_ROLE: (409, "nobody gives themselves a role; ask another admin"),
    RoleRefusal.ROLE_ABOVE_OWN: (403, "{role} may do what you may not"),
    RoleRefusal.STAFF_FULL: (409, "the book of staff is full; it has room for 300 people who have or had a role"),
    RoleRefusal.LAST_ADMIN: (409, "you are the last admin; make somebody else one first"),
}


class PersonAnswer(BaseModel):
    """Somebody of whom the log has said something, and their roles: none, where the last one was taken."""

    user: str
    roles: list[Role]


class RoleAnswer(BaseModel):
    """A role, and what it lets its people do."""

    role: Role
    permissions: list[Permission]


class StaffAnswer(BaseModel):
    """Who has which role, and what roles are there. `version` counts the changes."""

    people: list[PersonAnswer]
    roles: list[RoleAnswer]
    version: int


class OwnRolesAnswer(BaseModel):
    """Which roles you have, and what they let you do as staff. `final`: the log says so; else your token does."""

    roles: list[Role]
    permissions: list[Permission]
    final: bool


@router.put(
    "/v1/admin/people/{user}/roles/{role}", status_code=204, responses=responses(401, 403, 409, 422, 503)
)  # fmt: skip
async def add_role(user: UserInPath, role: Role, caller: RolesChange, request: Request) -> None:
    """Give somebody a role, which counts at once; nobody gives more than they have, and nobody gives to themselves. What their
    token claims besides counts no more."""
    command = GiveRole(**_change(user, role, caller, request))
    await commands_of(request).ask(command, RolesChanged, RoleUnchanged, urgent=True)


@router.delete(
    "/v1/admin/people/{user}/roles/{role}", status_code=204, responses=responses(401, 403, 409, 422, 503)
)  # fmt: skip
async def remove_role(user: UserInPath, role: Role, caller: RolesChange, request: Request) -> None:
    """Take somebody's role, or lay down one of your own; it counts at once, however long their token lives. Of somebody of whom
    the log has said nothing yet this ends whatever their token claims. The last admin stays."""
    command = TakeRole(**_change(user, role, caller, request))
    await commands_of(request).ask(command, RolesChanged, RoleUnchanged, urgent=True)


@router.get("/v1/admin/roles", response_model=StaffAnswer, responses=responses(401, 403, 503))
async def list_roles(_: RolesLook, request: Request) -> Any:
    """Everybody of whom the log has said something, and what each role lets its people do."""
    book: StaffBook = views_of(request).of(STAFF).get(BOOK) or StaffBook()
    people = [PersonAnswer(user=user, roles=list(roles)) for user, roles in sorted(book.people.items())]
    roles = [RoleAnswer(role=role, permissions=_in_order(PERMISSIONS[role])) for role in Role if role in GIVEN]
    return StaffAnswer(people=people, roles=roles, version=book.version)


@router.get("/v1/users/me/roles", response_model=OwnRolesAnswer, responses=responses(401, 403, 503))
async def read_own_roles(caller: SignedIn, request: Request) -> Any:
    """Your roles, and what you may do as staff: what a panel shows you."""
    views_of(request)
    return OwnRolesAnswer(
        roles=list(roles_of(caller)), permissions=_in_order(caller.permissions), final=caller.word is not None
    )  # fmt: skip


def _change(user: str, role: Role, caller: Caller, request: Request) -> dict[str, Any]:
    signed_up = role_of(views_of(request), user, Role.USER)
    return {
        "id": new_id(), "at": now(), "book": BOOK, "user": UserId(user), "role": role, "by": UserId(caller.user),
        "why": reason_of(request), "claimed": () if caller.word is not None else roles_of(caller),
        "signed_up": Role.USER if signed_up in GIVEN else signed_up,
    }  # fmt: skip


def _in_order(permissions: frozenset[Permission]) -> list[Permission]:
    return [permission for permission in Permission if permission in permissions]
