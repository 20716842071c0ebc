"""An old back end's tokens, beside Firebase's, where OLO_HASURA_JWT_SECRET is set: who asks, by Hasura's claims.

The user is `x-hasura-user-id`. Of `x-hasura-allowed-roles` only the one of streamers says anything here: roles of staff come
from the log, and from no such token. The algorithm is the setting's, never the token's; keys of `jwk_url` are fetched when
they are needed, and for an unknown key again at most each REFETCH_S, whoever asks.

Errors, all Problem 401: `token_expired`, `token_not_yet_valid`, `token_algorithm_wrong`, `token_audience_wrong`,
`token_issuer_wrong`, `token_claim_missing`, `token_claim_invalid`, `token_invalid`; 503 `keys_unreachable`.
"""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import httpx
import jwt

from infra.config import Config
from infra.hasura_jwt import PUBLIC, HasuraJwt, public_key, read_setting
from schemas.user import Role
from serving.runtime.problems import Problem, unavailable

USER_ID: Final = "x-hasura-user-id"
ROLES: Final = "x-hasura-allowed-roles"
DEFAULT_ROLE: Final = "x-hasura-default-role"
KEYS_LIVE_S: Final = 600.0
REFETCH_S: Final = 30.0
FETCH_S: Final = 5.0
MOST_BYTES: Final = 262_144


class Claimed(NamedTuple):
    """What a token says. `expires_at`: Unix seconds; `sign_in`: when its user has signed in, if it says so."""

    user: str
    role: Role
    expires_at: float
    sign_in: str


def fetch(url: str) -> Any:
    """A set of keys, as JSON. Errors: httpx.HTTPError, ValueError."""
    answer = httpx.get(url, timeout=FETCH_S, trust_env=False)
    answer.raise_for_status()
    if len(answer.content) > MOST_BYTES:
        raise ValueError("a set of keys of that size is none")
    return answer.json()


class Keys:
    """The keys behind an address. `fetched`, `clock`: how they are had, and what time it is, in seconds."""

    def __init__(
        self, url: str, fetched: Callable[[str], Any] = fetch, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._url, self._fetched, self._clock = url, fetched, clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at: float | None = None
        self._lock = threading.Lock()

    def of(self, kid: str) -> jwt.PyJWK:
        """The key of that id. Errors: Problem 401, 503."""
        with self._lock:
            age = None if self._asked_at is None else self._clock() - self._asked_at
            if age is None or age > KEYS_LIVE_S or (kid not in self._keys and age > REFETCH_S):
                self._refetch()
            if not self._keys:
                raise unavailable("keys_unreachable", "the signing keys cannot be fetched; try again soon")
        if kid not in self._keys:
            raise _unauthorized("token_invalid", "the token was signed with a key that its issuer does not have")
        return self._keys[kid]

    def _refetch(self) -> None:
        """Keys that were there stay, where there are no others to be had."""
        self._asked_at = self._clock()
        try:
            found = jwt.PyJWKSet.from_dict(self._fetched(self._url)).keys
        except (httpx.HTTPError, jwt.PyJWTError, ValueError, TypeError, AttributeError):
            return
        self._keys = {key.key_id: key for key in found if key.key_id and key.key_type != "oct"}


class HasuraTokens:
    """Verifies an old back end's tokens. `keys`: those of `jwk_url`."""

    def __init__(self, config: Config, setting: HasuraJwt, keys: Keys | None = None) -> None:
        self._setting, self._streamer = setting, config.hasura_streamer_role
        self._firebase = f"https://securetoken.google.com/{config.firebase_project}"
        self._keys = keys or Keys(setting.jwk_url)
        self._key: Any = public_key(setting.key) if setting.key and setting.algorithms[0] in PUBLIC else setting.key

    def takes(self, token: str) -> bool:
        """Whether a token is one of these: it can be read, and says that it is not Firebase's."""
        try:
            return bool(jwt.decode(token, options={"verify_signature": False}).get("iss") != self._firebase)
        except (jwt.PyJWTError, ValueError, RecursionError):
            return False

    def claimed(self, token: str) -> Claimed:
        """What a token says, once it is verified. It may wait for keys. Errors: Problem 401, 503."""
        claims = self._verified(token)
        found = self._of_hasura(claims)
        user, roles, default = found.get(USER_ID), found.get(ROLES), found.get(DEFAULT_ROLE)
        for name, value in ((USER_ID, user), (ROLES, roles), (DEFAULT_ROLE, default)):
            if value is None:
                raise _unauthorized("token_claim_missing", f"the token has no {name}")
        if not isinstance(user, str) or not isinstance(roles, list) or default not in roles:
            raise _unauthorized("token_claim_invalid", f"{USER_ID} is a text, {ROLES} a list, and {DEFAULT_ROLE} one of it")
        role = Role.STREAMER if self._streamer in roles else Role.USER
        return Claimed(user, role, float(claims["exp"]), str(claims.get("auth_time") or "")[:20])

    def _verified(self, token: str) -> dict[str, Any]:
        setting = self._setting
        options: Any = {
            "require": ["exp"],
            "verify_sub": False,
            "verify_jti": False,
            "verify_aud": bool(setting.audience),
            "verify_iss": bool(setting.issuer),
        }
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
            if algorithm not in setting.algorithms:
                raise jwt.InvalidAlgorithmError
            claims: dict[str, Any] = jwt.decode(
                token, self._key_of(token), algorithms=list(setting.algorithms), options=options, leeway=setting.skew_s,
                audience=list(setting.audience) or None, issuer=setting.issuer or None,
            )  # fmt: skip
        except jwt.MissingRequiredClaimError as error:
            raise _unauthorized("token_claim_missing", f"the token has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _problem_of(error) from None
        return claims

    def _key_of(self, token: str) -> Any:
        if self._key:
            return self._key
        return self._keys.of(str(jwt.get_unverified_header(token).get("kid") or "")[:256])

    def _of_hasura(self, claims: dict[str, Any]) -> dict[str, Any]:
        found: Any = claims
        for name in self._setting.path:
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            raise _unauthorized("token_claim_missing", f"the token has no {'.'.join(self._setting.path)}")
        if self._setting.stringified and self._setting.path:
            try:
                found = json.loads(found)
            except (ValueError, TypeError, RecursionError):
                found = None
        if not isinstance(found, dict):
            raise _unauthorized("token_claim_invalid", "the claims are not in the form that is set (claims_format)")
        return {name.lower(): value for name, value in found.items()}


def hasura_tokens(config: Config) -> HasuraTokens | None:
    """Who verifies such tokens; None: they are not taken."""
    setting = read_setting(config.hasura_jwt_secret)
    return HasuraTokens(config, setting) if setting else None


def _problem_of(error: Exception) -> Problem:
    match error:
        case jwt.ExpiredSignatureError():
            return _unauthorized("token_expired", "the token has expired; get a new one and send the request again")
        case jwt.ImmatureSignatureError():
            return _unauthorized("token_not_yet_valid", "the token counts from a moment to come; look at the clocks")
        case jwt.InvalidAudienceError():
            return _unauthorized("token_audience_wrong", "the token is for another audience")
        case jwt.InvalidIssuerError():
            return _unauthorized("token_issuer_wrong", "the token is of another issuer")
        case jwt.InvalidAlgorithmError():
            return _unauthorized("token_algorithm_wrong", "the token is signed in another way than its issuer signs")
    return _unauthorized("token_invalid", f"the token was not accepted: {str(error)[:200]}")


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})
