"""What routes of several domains look up in the views: a user's role, country and tags, and a call that the caller may see."""

from fastapi import Request

from schemas.billing import BOOK, MAX_CALL_TAGS, SHIPPED, TARIFFS, Tariff, Traits
from schemas.log.base import now
from schemas.panel import MEMBER
from schemas.user import USER, Role
from schemas.video import CALL, Call, CallRefusal
from serving.runtime.auth import Caller
from serving.runtime.commands import views_of
from serving.runtime.refusals import refusal_of
from serving.runtime.views import Views


def role_of(views: Views, user: str, otherwise: Role) -> Role:
    """The role that a user signed up with; `otherwise` that of somebody unknown."""
    known = views.of(USER).get(user)
    return known.role if known else otherwise


def country_of(views: Views, user: str) -> str:
    """The country that a user signed up from; empty where nobody knows."""
    known = views.of(USER).get(user)
    return known.country if known else ""


def tags_of(views: Views, user: str) -> tuple[str, ...]:
    """The tags of a user that some tariff's rule names, at most MAX_CALL_TAGS."""
    member, book = views.of(MEMBER).get(user), views.of(TARIFFS).get(BOOK)
    if member is None or book is None:
        return ()
    named = {tariff.rule.tag for versions in book.versions.values() for tariff in versions}
    return tuple(sorted(member.all_tags & named)[:MAX_CALL_TAGS])


def tariff_of(views: Views, traits: Traits) -> Tariff | None:
    """The tariff under which such a call would run if it was placed now; None: there is none."""
    book, at = views.of(TARIFFS).get(BOOK), now()
    versions = book.versions.values() if book else [(tariff,) for tariff in SHIPPED]
    begun = ([tariff for tariff in of_one if tariff.effective_from <= at] for of_one in versions)
    in_force = [max(of_one, key=lambda tariff: (tariff.effective_from, tariff.version)) for of_one in begun if of_one]
    return max((one for one in in_force if one.rule.fits(traits)), key=lambda one: one.rule.weight, default=None)


def call_of(request: Request, call: str, caller: Caller) -> Call:
    """A call that the caller may see. Errors: Problem 404."""
    state: Call | None = views_of(request).of(CALL).get(call)
    if state is None or not (caller.is_staff or caller.user in (state.caller, state.callee)):
        raise refusal_of(request, CallRefusal.CALL_UNKNOWN)
    return state
