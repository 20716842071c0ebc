"""Who asks: Firebase ID tokens in `Authorization: Bearer`, verified by firebase-admin; the role is a custom claim.

In development `FIREBASE_AUTH_EMULATOR_HOST` is set, and firebase-admin then takes unsigned tokens and does not look at their
expiry; the expiry is checked here as well, so that a development client meets the same errors. Production does not start so.
Tokens of an old back end on Hasura are taken where that is set: see `serving.runtime.hasura_tokens`.
"""

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Collection, MutableMapping
from typing import Annotated, Any, Final

import firebase_admin
import google.auth.credentials
from fastapi import Depends, Request
from firebase_admin import auth
from pydantic import BaseModel
from starlette.datastructures import Headers

from infra.config import EMULATOR_VARIABLE, Config, Environment, is_loopback
from infra.vendors.webhook import carries
from schemas.mission_control_roles import GIVEN, Permission, permissions_of
from schemas.user import USER, Role, User, is_user_id
from serving.runtime.commands import views_of
from serving.runtime.hasura_tokens import Claimed, hasura_tokens
from serving.runtime.problems import Problem, unavailable

BEARER: Final = "bearer "
# Where the door leaves the caller that it knows, in a request's state.
CALLER: Final = "caller"
USER_ID_TAKEN: Final = (
    "Olo does not take the token's user id: it takes up to 128 ASCII characters, or up to 32 of any script, without spaces, "
    "quotes, backslashes, / and @, and no phone number"
)


class Caller(BaseModel, frozen=True):
    """The verified caller. `role`: as the token claims; `expires_at`: Unix seconds; `sign_in`: when the phone signed in, the
    same in each renewed token; `banned`: said of staff only, banned or erased, which then is none; `word`: the roles that the
    log gives the caller, None: it says nothing, and the token is believed."""

    user: str
    role: Role
    expires_at: float
    sign_in: str = ""
    banned: bool = False
    word: frozenset[Role] | None = None

    @property
    def roles(self) -> frozenset[Role]:
        """The roles that count: what the token says of users and streamers, and of staff what the log says."""
        claimed = frozenset({self.role})
        return claimed if self.word is None else (claimed - GIVEN) | self.word

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the caller may do as staff."""
        return permissions_of(() if self.banned else self.roles)

    @property
    def is_staff(self) -> bool:
        """Whether the caller may do anything as staff."""
        return bool(self.permissions)


class Authenticator:
    """Verifies tokens for one Firebase project. `word`: the roles that the log gives a user, None: it says nothing."""

    def __init__(self, config: Config, word: Callable[[str], Collection[Role] | None] = lambda _: None) -> None:
        self._word = word
        self._hasura = hasura_tokens(config)
        self._emulated = bool(os.environ.get(EMULATOR_VARIABLE))
        # Verifying takes Google's public keys only, no account of our own.
        credential = google.auth.credentials.AnonymousCredentials()
        self._app = firebase_admin.initialize_app(
            credential, {"projectId": config.firebase_project}, name=f"olo-{uuid.uuid4()}"
        )

    async def caller(self, header: str | None) -> Caller:
        """The caller that an Authorization header stands for. Errors: Problem 401, 403, 503."""
        caller = await self._claimed(header)
        word = self._word(caller.user)
        return caller if word is None else caller.model_copy(update={"word": frozenset(word)})

    async def _claimed(self, header: str | None) -> Caller:
        if not header or not header.lower().startswith(BEARER):
            raise _unauthorized("token_missing", "send a Firebase ID token: 'Authorization: Bearer <token>'")
        token = header[len(BEARER) :].strip()
        if self._hasura is not None and self._hasura.takes(token):
            return _of_hasura(await asyncio.to_thread(self._hasura.claimed, token))
        if self._emulated:
            return self._caller(self._verify(token))
        # verifying a signature may fetch Google's keys
        return self._caller(await asyncio.to_thread(self._verify, token))

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = auth.verify_id_token(token, app=self._app, clock_skew_seconds=5)
        except auth.ExpiredIdTokenError:
            raise _unauthorized("token_expired", "the token has expired; get a new one and send the request again") from None
        except auth.CertificateFetchError as error:
            raise unavailable("keys_unreachable", "Google's signing keys cannot be fetched; try again soon") from error
        except (auth.InvalidIdTokenError, ValueError, TypeError, KeyError) as error:
            raise _unauthorized("token_invalid", f"the token was not accepted: {str(error)[:200]}") from None
        return claims

    @staticmethod
    def _caller(claims: dict[str, Any]) -> Caller:
        expires_at = claims.get("exp")
        if not isinstance(expires_at, int | float) or isinstance(expires_at, bool):
            raise _unauthorized("token_invalid", "the token does not say when it expires (claim exp)")
        if expires_at + 5 < time.time():
            raise _unauthorized("token_expired", "the token has expired; get a new one and send the request again")
        user, role = claims["uid"], claims.get("role", Role.USER)
        if not is_user_id(user):
            raise _unauthorized("token_invalid", USER_ID_TAKEN)
        if role not in list(Role):
            raise Problem(403, "role_unknown", f"the token's role {str(role)[:40]!r} is none of: {', '.join(Role)}")
        return Caller(user=user, role=Role(role), expires_at=expires_at, sign_in=str(claims.get("auth_time") or "")[:20])


def _of_hasura(claimed: Claimed) -> Caller:
    if not is_user_id(claimed.user):
        raise _unauthorized("token_claim_invalid", USER_ID_TAKEN)
    return Caller(user=claimed.user, role=claimed.role, expires_at=claimed.expires_at, sign_in=claimed.sign_in)


def may_watch(config: Config, header: str | None, address: str) -> None:
    """Who is told a process's metrics: who has their token; where there is none, in development this machine. Production goes
    by the token alone: behind a proxy that does not say for whom it asks everybody has its address. Errors: Problem 401."""
    if config.metrics_for_everybody:
        return
    if not config.metrics_token:
        if config.env is Environment.DEVELOPMENT and is_loopback(address):
            return
        raise _unauthorized(
            "token_missing", "metrics take a token: set OLO_METRICS_TOKEN, and send it as 'Authorization: Bearer'"
        )
    if not header or not header.lower().startswith(BEARER):
        raise _unauthorized("token_missing", "send the token of OLO_METRICS_TOKEN: 'Authorization: Bearer <token>'")
    if not carries(config.metrics_token, header[len(BEARER) :].strip()):
        raise _unauthorized("token_invalid", "that is not the token of OLO_METRICS_TOKEN")


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


async def caller_of(scope: MutableMapping[str, Any], authenticator: Authenticator) -> Caller:
    """Who asks: as the door has found out, or, where it did not ask, by the token. Errors: those of `Authenticator.caller`."""
    known: Caller | None = scope.get("state", {}).get(CALLER)
    return known or await authenticator.caller(Headers(scope=scope).get("authorization"))


async def _caller(request: Request) -> Caller:
    caller = await caller_of(request.scope, request.app.state.authenticator)
    if not caller.is_staff:
        return caller
    known: User | None = views_of(request).of(USER).get(caller.user)
    gone = known is not None and (known.banned or known.erased_at is not None)
    return caller.model_copy(update={"banned": True}) if gone else caller


SignedIn = Annotated[Caller, Depends(_caller)]
