"""How an old back end's tokens are told, in the words of Hasura's own setting HASURA_GRAPHQL_JWT_SECRET, a JSON object:

`type` and `key` (HS256, HS384, HS512 with a secret of as many bits; RS256 and the like with a public key or a certificate,
PEM), or `jwk_url`; where the claims stand (`claims_namespace`, or `claims_namespace_path`: `$`, `$.a.b`) and whether as a text
(`claims_format`: `json`, `stringified_json`); `audience` (one or several), `issuer`, `allowed_skew` (seconds). Other fields of
Hasura's (`claims_map`, `header`) are refused, for they would change what a token means.
"""

import json
import re
from typing import Any, Final, NamedTuple

NAMESPACE: Final = "https://hasura.io/jwt/claims"
SECRETS: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
PUBLIC: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA")
NAMES: Final = {"Ed25519": "EdDSA"}
FIELDS: Final = frozenset({
    "type", "key", "jwk_url", "claims_namespace", "claims_namespace_path", "claims_format", "audience", "issuer",
    "allowed_skew",
})  # fmt: skip
PATH: Final = re.compile(r"\$(\.[A-Za-z0-9_-]+)*")
MOST_SKEW_S: Final = 300


class HasuraJwt(NamedTuple):
    """The setting. `algorithms`: those that are taken, and no token says otherwise; `path`: the names under which the claims
    stand; `key`: a secret or PEM, empty: those of `jwk_url`."""

    algorithms: tuple[str, ...]
    key: str
    jwk_url: str
    path: tuple[str, ...]
    stringified: bool
    audience: tuple[str, ...]
    issuer: str
    skew_s: int


def read_setting(text: str) -> HasuraJwt | None:
    """What the setting says; None: it is empty. Errors: ValueError, whose words do not repeat it."""
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        raise ValueError("it is no JSON; write it as HASURA_GRAPHQL_JWT_SECRET") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object; write it as HASURA_GRAPHQL_JWT_SECRET")
    if strange := sorted(found.keys() - FIELDS):
        raise ValueError(f"{', '.join(strange)}: not taken here; these are: {', '.join(sorted(FIELDS))}")
    algorithms, key, url = _keys(found)
    skew = found.get("allowed_skew", 0)
    if isinstance(skew, bool) or not isinstance(skew, int) or not 0 <= skew <= MOST_SKEW_S:
        raise ValueError(f"allowed_skew: seconds, 0 to {MOST_SKEW_S}")
    audience = found.get("audience", [])
    audience = [audience] if isinstance(audience, str) else audience
    if not isinstance(audience, list) or not all(isinstance(one, str) and one for one in audience):
        raise ValueError("audience: a text, or a list of texts")
    form = found.get("claims_format", "json")
    if form not in ("json", "stringified_json"):
        raise ValueError("claims_format: json or stringified_json")
    issuer = _text(found, "issuer")
    return HasuraJwt(algorithms, key, url, _path(found), form == "stringified_json", tuple(audience), issuer, skew)


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name}: a text")
    return value


def _keys(found: dict[str, Any]) -> tuple[tuple[str, ...], str, str]:
    key, url = _text(found, "key"), _text(found, "jwk_url")
    if bool(key) == bool(url):
        raise ValueError("either key, with its type, or jwk_url")
    if url:
        if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise ValueError("jwk_url: an address of https")
        return PUBLIC, "", url
    algorithm = NAMES.get(_text(found, "type"), _text(found, "type"))
    if algorithm in SECRETS:
        if len(key.encode()) < SECRETS[algorithm]:
            raise ValueError(f"key: {algorithm} takes {SECRETS[algorithm]} bytes and more")
        if "-----BEGIN" in key:
            raise ValueError(f"key: {algorithm} takes a secret, and this is a public key, which everybody may know")
    elif algorithm not in PUBLIC:
        raise ValueError(f"type: one of {', '.join((*SECRETS, *PUBLIC))}")
    else:
        public_key(key)
    return (algorithm,), key, ""


def public_key(pem: str) -> Any:
    """A public key, or that of a certificate. Errors: ValueError."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        if "-----BEGIN CERTIFICATE-----" in pem:
            return load_pem_x509_certificate(pem.encode()).public_key()
        return load_pem_public_key(pem.encode())
    except ValueError:
        raise ValueError("key: a public key or a certificate, PEM, and this is none") from None


def _path(found: dict[str, Any]) -> tuple[str, ...]:
    path = _text(found, "claims_namespace_path")
    if not path:
        return (_text(found, "claims_namespace") or NAMESPACE,)
    if "claims_namespace" in found:
        raise ValueError("either claims_namespace or claims_namespace_path")
    if not PATH.fullmatch(path):
        raise ValueError("claims_namespace_path: $, or $.a.b")
    return tuple(path.split(".")[1:])
