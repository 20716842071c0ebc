"""Who acts: the one gate of the API, in front of every route that is not about the caller's own things only.

A route says by its caller's type who is let in; `tests/test_gate.py` holds every route against this:
- `SignedIn` (from `auth`): whoever has a token. It is for reading what is theirs.
- `Looking`: likewise, but nobody who is banned or was erased. It is for reading what others offer.
- `Acting`: who has signed up and is not banned. It is for all that changes something.
- `ActingStreamer`: likewise, and is a streamer, by the sign-up and by the token.
- `ActingAgency`: likewise, and has the role agency, which staff gives.
- `ActingPayee`: likewise, and is a streamer or an agency: whoever earns.
- Those of `staff`, such as `MoneyChange`: whoever has a role that gives the permission, signed up or not, and is not banned.

The gate looks at this process's views, which may lag behind by some milliseconds. Where coins or other people are concerned the
deciders ask again (a line is asked before each call, gift and play of a clip), and theirs is the last word.

Errors: Problem 404 `user_unknown`, 403 `user_erased`, 403 `banned`, 403 `forbidden`.
"""

from typing import Annotated

from fastapi import Depends, Request

from schemas.user import USER, Role, User, UserRefusal
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import views_of
from serving.runtime.problems import Problem
from serving.runtime.refusals import refusal_of
from serving.runtime.views import Views


def takes_part(views: Views, user: str) -> bool:
    """Whether somebody has signed up and is neither banned nor erased: only then do others see what they offer."""
    known: User | None = views.of(USER).get(user)
    return known is not None and not known.banned and known.erased_at is None


def unless_erased(request: Request, user: str) -> User | None:
    """The user, or None where nobody of this id has signed up. Errors: Problem 403 `user_erased`."""
    known: User | None = views_of(request).of(USER).get(user)
    if known is not None and known.erased_at is not None:
        raise refusal_of(request, UserRefusal.USER_ERASED, user=user)
    return known


async def looking(caller: SignedIn, request: Request) -> Caller:
    """The caller, unless banned or erased."""
    known = unless_erased(request, caller.user)
    if known is not None and known.banned:
        raise refusal_of(request, UserRefusal.BANNED, user=caller.user)
    return caller


Looking = Annotated[Caller, Depends(looking)]


async def acting(caller: Looking, request: Request) -> Caller:
    """The caller, who has signed up and is not banned."""
    if caller.user not in views_of(request).of(USER):
        raise refusal_of(request, UserRefusal.USER_UNKNOWN, user=caller.user)
    return caller


Acting = Annotated[Caller, Depends(acting)]


async def acting_streamer(caller: Acting, request: Request) -> Caller:
    """The caller, who has signed up as a streamer, has a streamer's token and is not banned."""
    known: User | None = views_of(request).of(USER).get(caller.user)
    if caller.role is not Role.STREAMER or known is None or known.role is not Role.STREAMER:
        raise Problem(403, "forbidden", "this is for those who have signed up as streamers, with a token of the role streamer")
    return caller


ActingStreamer = Annotated[Caller, Depends(acting_streamer)]


async def acting_agency(caller: Acting) -> Caller:
    """The caller, who has signed up, has the role agency and is not banned."""
    if Role.AGENCY not in caller.roles:
        raise Problem(403, "forbidden", "this is for agencies; who is one has the role agency, which an admin gives")
    return caller


ActingAgency = Annotated[Caller, Depends(acting_agency)]


async def acting_payee(caller: Acting, request: Request) -> Caller:
    """The caller, who is an agency or acts as a streamer."""
    return caller if Role.AGENCY in caller.roles else await acting_streamer(caller, request)


ActingPayee = Annotated[Caller, Depends(acting_payee)]
