"""Which of a user's phones asks: only the phone that is in a call keeps the call alive.

A client names its phone in the header `Olo-Device` (the feed also takes `?device=`): the same word as `device` in
`POST /v1/sessions`, on every request. A client that names none is known by the sign-in of its token (the claim `auth_time`),
which stays the same when the token is renewed; its feed's session has that name. So what cannot be told apart is one phone: two
feeds of one sign-in without a name, or two under one name, keep the call alive both, until the last of them ends. Whoever acts
with a token of another sign-in, which has no feed, is not held to a phone: then any phone of the user's counts.
"""

from typing import Annotated, Final

from fastapi import Depends, Header, Request
from starlette.datastructures import Headers, QueryParams

from schemas.user import USER, User, mark_of
from serving.runtime.auth import Caller, SignedIn
from serving.runtime.commands import views_of

DEVICE: Final = "Olo-Device"
# What a device may be called: as in the body of `POST /v1/sessions`.
MAX_DEVICE: Final = 64
NamedDevice = Annotated[
    str,
    Header(
        alias=DEVICE,
        max_length=MAX_DEVICE,
        pattern=r"^[\x20-\x7e]*$",
        description="Your phone's own stable name, as in POST /v1/sessions. Only the phone that is in a call keeps it alive.",
    ),
]


def sign_in_of(caller: Caller) -> str:
    """How a phone is called that does not name itself; empty where the token does not tell."""
    return f"sign-in {caller.sign_in}" if caller.sign_in else ""


async def _device(caller: SignedIn, request: Request, named: NamedDevice = "") -> str:
    known: User | None = views_of(request).of(USER).get(caller.user)
    unnamed = sign_in_of(caller)
    has_feed = known is not None and any(one.device == unnamed for one in known.sessions)
    return mark_of(named or (unnamed if has_feed else ""))


# What calls know of the phone that a request comes from (`mark_of`); empty: nobody knows.
Device = Annotated[str, Depends(_device)]


def devices_of_feed(caller: Caller, headers: Headers, query: QueryParams) -> tuple[str, ...]:
    """The names under which a feed stands for a phone, its own first. Errors: ValueError, where it is no name."""
    named = headers.get(DEVICE) or query.get("device") or ""
    if len(named) > MAX_DEVICE or not named.isprintable():
        raise ValueError(named)
    return tuple(name for name in (named, sign_in_of(caller)) if name) or ("feed",)
