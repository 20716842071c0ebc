"""What routes of several domains look up in the views: a user's role, country and tags, a call that the caller may see,
and what an answer has told of."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from fastapi import Request

from schemas.billing import BOOK, TARIFFS, Tariff
from schemas.billing_choice import SHIPPED_BOOK, choose
from schemas.billing_rules import MAX_CALL_TAGS, Traits
from schemas.log.base import now
from schemas.mission_control_roles import Permission
from schemas.panel import MEMBER
from schemas.price_class import PRICE_CLASS
from schemas.user import USER, Role
from schemas.video import CALL, Call, CallRefusal
from serving.runtime.auth import Caller
from serving.runtime.commands import views_of
from serving.runtime.problems import unavailable
from serving.runtime.refusals import refusal_of
from serving.runtime.staff import look_as_staff
from serving.runtime.views import Views

T = TypeVar("T")
# Behind its start a process may be told of a decision in front of the state that an earlier one left.
LOOKS: Final = 50
LOOK_S: Final = 0.02


async def in_view(look: Callable[[], T | None]) -> T:
    """What the log has, as an answer has told, once this process has it in view, too. Errors: Problem 503 `not_decided`."""
    for _ in range(LOOKS):
        found = look()
        if found is not None:
            return found
        await asyncio.sleep(LOOK_S)
    raise unavailable("not_decided", "the log has it, and this process does not have it in view yet; send it again soon")


def role_of(views: Views, user: str, otherwise: Role) -> Role:
    """The role that a user signed up with; `otherwise` that of somebody unknown."""
    known = views.of(USER).get(user)
    return known.role if known else otherwise


def country_of(views: Views, user: str) -> str:
    """The country that a user signed up from; empty where nobody knows."""
    known = views.of(USER).get(user)
    return known.country if known else ""


def tags_of(views: Views, user: str) -> tuple[str, ...]:
    """The tags of a user that some tariff names, at most MAX_CALL_TAGS."""
    member, book = views.of(MEMBER).get(user), views.of(TARIFFS).get(BOOK)
    if member is None or book is None:
        return ()
    tariffs = [tariff for versions in book.versions.values() for tariff in versions]
    named = {tariff.rule.tag for tariff in tariffs} | {free.tag for tariff in tariffs for free in tariff.free}
    return tuple(sorted(member.all_tags & named)[:MAX_CALL_TAGS])


def price_class_of(views: Views, user: str) -> str:
    """The price class that a streamer has picked; empty: none."""
    found = views.of(PRICE_CLASS).get(user)
    return found.price_class if found else ""


def tariff_of(views: Views, traits: Traits) -> Tariff | None:
    """The tariff under which such a call would run if it was placed now; None: there is none."""
    return choose(views.of(TARIFFS).get(BOOK) or SHIPPED_BOOK, traits, now())


async def call_of(request: Request, call: str, caller: Caller) -> Call:
    """A call that the caller was in, or may see as staff. Errors: Problem 404."""
    state: Call | None = views_of(request).of(CALL).get(call)
    sides = (state.caller, state.callee) if state else ()
    if state is None or not (caller.user in sides or await look_as_staff(request, caller, Permission.MONEY_LOOK, *sides)):
        raise refusal_of(request, CallRefusal.CALL_UNKNOWN)
    return state
