"""Staff: which permission a route takes, and the audit of every request of staff's.

A route's caller is of a type below, such as `MoneyChange`: it lets in whoever has a role that gives the permission, and the
API's document shows the permission as `x-permission`. The audit's law is that nothing is done of which it does not know: the
gate notes the act, and goes on when the log has it, in front of the permission, so that what was denied to staff is there, too;
`Audited` notes what was answered, behind the answer. A request of somebody who is no staff is no act.

A reason is staff's own words, in the header `X-Reason`, or in the query's or the body's `reason` (where coins are moved, the
body's `ref`). Gates with `reasoned` ask for one. Where a person reads what is theirs and staff may look as well,
the route asks `look_as_staff`.

Errors: Problem 403 `forbidden`, `banned` and `role_above_own`, 422 `reason_missing` and `reason_invalid`, 503
`log_unreachable`.
"""

import json
import re
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import Headers

from schemas.log.base import UserId, new_id, now
from schemas.mission_control import MAX_COMMANDS, MAX_SUBJECTS, MAX_WHY, AnswerAct, NoteAct
from schemas.mission_control_approval import APPROVAL, Approval
from schemas.mission_control_roles import BOOK, STAFF, Permission, StaffBook, in_order, permissions_of
from schemas.payout import PAYOUT, Payout
from schemas.user import USER, Role
from serving.runtime.asked import Asked
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import SENT, commands_of, views_of
from serving.runtime.operations import operation_id
from serving.runtime.problems import MEDIA_TYPE, Problem
from serving.runtime.views import Views

ACT: Final = "act"
REASON: Final = "X-Reason"
SHORTEST_REASON: Final = 3
# Of a problem's body so much is read for its code.
PROBLEM_BYTES: Final = 16_384


@dataclass
class Act:
    """An act under way: its id, the reason that staff says, and the ids of the commands that were sent in it."""

    act: str
    why: str
    commands: list[str] = field(default_factory=list)


class May:
    """A gate: lets in whoever has the permission. `reasoned`: and says why."""

    def __init__(self, permission: Permission, *, reasoned: bool = False) -> None:
        self.permission = permission
        self.reasoned = reasoned

    async def __call__(self, caller: SignedIn, request: Request) -> Caller:
        """The caller, whose act is noted."""
        if caller.banned:
            raise Problem(403, "banned", "you are banned")
        if not caller.is_staff:
            raise self._forbidden(caller)
        why = await begin_act(request, caller, self.permission)
        if self.permission not in caller.permissions:
            raise self._forbidden(caller)
        if self.reasoned and len(why) < SHORTEST_REASON:
            raise Problem(
                422, "reason_missing", f"say why, in the header {REASON} (of coins, `ref` will do); it is kept with your name"
            )
        return caller

    def _forbidden(self, caller: Caller) -> Problem:
        roles = ", ".join(sorted(caller.roles)) or "none"
        return Problem(403, "forbidden", f"this takes the permission {self.permission}; your roles: {roles}")


PeopleLook = Annotated[Caller, Depends(May(Permission.PEOPLE_LOOK))]
PeopleChange = Annotated[Caller, Depends(May(Permission.PEOPLE_CHANGE))]
PeopleErase = Annotated[Caller, Depends(May(Permission.PEOPLE_ERASE))]
PrivateLook = Annotated[Caller, Depends(May(Permission.PRIVATE_LOOK))]
ReportsLook = Annotated[Caller, Depends(May(Permission.REPORTS_LOOK))]
ReportsChange = Annotated[Caller, Depends(May(Permission.REPORTS_CHANGE))]
MoneyLook = Annotated[Caller, Depends(May(Permission.MONEY_LOOK))]
MoneyChange = Annotated[Caller, Depends(May(Permission.MONEY_CHANGE))]
CoinsMove = Annotated[Caller, Depends(May(Permission.MONEY_CHANGE, reasoned=True))]
GrowthLook = Annotated[Caller, Depends(May(Permission.GROWTH_LOOK))]
GrowthChange = Annotated[Caller, Depends(May(Permission.GROWTH_CHANGE))]
RulesLook = Annotated[Caller, Depends(May(Permission.RULES_LOOK))]
RulesChange = Annotated[Caller, Depends(May(Permission.RULES_CHANGE))]
JobsLook = Annotated[Caller, Depends(May(Permission.JOBS_LOOK))]
JobsChange = Annotated[Caller, Depends(May(Permission.JOBS_CHANGE))]
RolesLook = Annotated[Caller, Depends(May(Permission.ROLES_LOOK))]
RolesChange = Annotated[Caller, Depends(May(Permission.ROLES_CHANGE, reasoned=True))]
AuditLook = Annotated[Caller, Depends(May(Permission.AUDIT_LOOK))]
WarehouseLook = Annotated[Caller, Depends(May(Permission.WAREHOUSE_LOOK))]
WarehouseChange = Annotated[Caller, Depends(May(Permission.WAREHOUSE_CHANGE))]
LogLook = Annotated[Caller, Depends(May(Permission.LOG_LOOK))]
LogChange = Annotated[Caller, Depends(May(Permission.LOG_CHANGE, reasoned=True))]


async def look_as_staff(request: Request, caller: Caller, permission: Permission, *subjects: str) -> bool:
    """Whether the caller may see what is not theirs, but these users'. If so, that they look is noted."""
    if permission not in caller.permissions:
        return False
    await begin_act(request, caller, permission, *subjects)
    return True


async def begin_act(request: Request, caller: Caller, permission: Permission, *subjects: str) -> str:
    """Note what is about to be done, and give the reason that staff says. Errors: Problem 422, 503."""
    route: APIRoute = request.scope["route"]
    body, problem = await request.body(), None
    asked = Asked(request.path_params, request.query_params, body, _model_of(route))
    try:
        why = _why(request, body)
    except Problem as found:
        why, problem = "", found
    act = Act(new_id(), why)
    about = dict.fromkeys((*subjects, *asked.subjects, *_behind(request)))
    note = NoteAct(
        id=new_id(), at=now(), act=act.act, staff=UserId(caller.user), roles=roles_of(caller), operation=operation_id(route),
        permission=permission, subjects=tuple(map(UserId, about))[:MAX_SUBJECTS], thing=asked.thing,
        why=why, asked=asked.text,
    )  # fmt: skip
    await commands_of(request).tell(note)
    setattr(request.state, ACT, act)
    SENT.set(act.commands)
    if problem:
        raise problem
    return why


def _behind(request: Request) -> tuple[str, ...]:
    """Whom an approval or a payout of the path is about; they have ids that name nobody."""
    views, path = views_of(request), request.path_params
    if not views.ready:
        return ()
    approval: Approval | None = views.of(APPROVAL).get(path["approval"]) if "approval" in path else None
    payout: Payout | None = views.of(PAYOUT).get(path["payout"]) if "payout" in path else None
    return (*(approval.beneficiaries if approval else ()), *((payout.user,) if payout else ()))


def reason_of(request: Request) -> str:
    """The reason that staff says, of the act under way."""
    act: Act = getattr(request.state, ACT)
    return act.why


def word_of(views: Views, user: str) -> tuple[Role, ...] | None:
    """The roles that the log gives a user; None: it says nothing, or is not read yet."""
    book: StaffBook | None = views.of(STAFF).get(BOOK) if views.ready else None
    return book.people.get(user) if book else None


def unless_above(request: Request, caller: Caller, user: str) -> None:
    """Nobody shuts out whoever may do more than they. Errors: Problem 403 `role_above_own`."""
    views = views_of(request)
    roles, known = word_of(views, user), views.of(USER).get(user)
    if roles is None and known is not None:
        roles = (known.role,)  # as a token claimed when they signed up
    if not permissions_of(roles or ()) <= caller.permissions:
        raise Problem(403, "role_above_own", f"{user} may do what you may not; ask somebody who may")


def roles_of(caller: Caller) -> tuple[Role, ...]:
    """The caller's roles, in the order of the enumeration."""
    return in_order(caller.roles)


def _model_of(route: APIRoute) -> type[BaseModel] | None:
    found: Any = route.body_field.field_info.annotation if route.body_field else None
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _why(request: Request, body: bytes) -> str:
    """The reason that staff says: of the header, the query or the body. Errors: Problem 422."""
    found = request.headers.get(REASON)
    if found is not None:
        with suppress(UnicodeError):
            found = found.encode("latin-1").decode()  # a client that sends UTF-8 means UTF-8
        found = found.strip()
        if len(found) > MAX_WHY or re.search(r"[\x00-\x1f]", found):
            raise Problem(422, "reason_invalid", f"{REASON} has at most {MAX_WHY} characters, and no control characters")
        return found
    found = request.query_params.get("reason") or ""
    if not found and body:
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            return ""
        told = told if isinstance(told, dict) else {}
        # Coins have a reason of their own, and say in `ref` what they are moved for.
        found = told.get("ref") or ("" if "coins" in told else told.get("reason"))
    return re.sub(r"[\x00-\x1f\ud800-\udfff]", " ", found)[:MAX_WHY] if isinstance(found, str) else ""


def gates_of(dependant: Dependant) -> Iterator[May]:
    """The staff's gates of a route."""
    for one in dependant.dependencies:
        if isinstance(one.call, May):
            yield one.call
        yield from gates_of(one)


class Audited:
    """The ASGI application around the routes: notes what was answered to staff, behind the answer."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        status, problem = 500, bytearray()

        async def seen(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if Headers(raw=message["headers"]).get("content-type") == MEDIA_TYPE:
                    problem.extend(b" ")
            elif problem and len(problem) < PROBLEM_BYTES:
                problem.extend(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, seen if scope["type"] == "http" else send)
        finally:
            act: Act | None = scope.get("state", {}).get(ACT)
            if act is not None:
                commands = tuple(act.commands[:MAX_COMMANDS])
                answer = AnswerAct(
                    id=new_id(), at=now(), act=act.act, status=status, code=_code_of(problem), commands=commands
                )  # fmt: skip
                await scope["app"].state.commands.note(answer)


def _code_of(problem: bytearray) -> str:
    try:
        return str(json.loads(problem)["code"])[:64] if problem else ""
    except (ValueError, KeyError):
        return ""
