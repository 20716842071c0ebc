"""An old back end's tokens: each way in which one is none by its name, and whose word a role is."""

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from infra.config import ConfigError, load
from infra.hasura_jwt import NAMESPACE, read_setting
from infra.tokens import token as firebase_token
from schemas.user import Role
from serving.runtime.auth import Authenticator, Caller
from serving.runtime.hasura_tokens import KEYS_LIVE_S, REFETCH_S, HasuraTokens, Keys
from serving.runtime.problems import Problem
from tests.front import unsigned_tokens

SECRET: Final = "a-secret-of-thirty-two-bytes-and-more"
SHARED: Final[dict[str, Any]] = {"type": "HS256", "key": SECRET}
BOB: Final[dict[str, Any]] = {
    "x-hasura-user-id": "bob", "x-hasura-default-role": "user", "x-hasura-allowed-roles": ["user", "streamer"],
}  # fmt: skip
Claims = dict[str, Any]


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65_537, 2_048)


def public(key: RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(hasura: Any = BOB, lives_s: int = 60, **more: Any) -> Claims:
    return {"sub": "bob", "iat": int(time.time()), "exp": int(time.time()) + lives_s, NAMESPACE: hasura, **more}


def signed(told: Claims, key: Any = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(told, key, algorithm, headers=headers)


def caller(setting: Mapping[str, Any], token: str, word: tuple[Role, ...] | None = None) -> Caller:
    with unsigned_tokens():
        authenticator = Authenticator(load(hasura_jwt_secret=json.dumps(setting)), lambda _: word)
        return asyncio.run(authenticator.caller(f"Bearer {token}"))


def code(setting: Mapping[str, Any], token: str) -> str:
    with pytest.raises(Problem) as raised:
        caller(setting, token)
    assert raised.value.status == 401
    return raised.value.code


def test_who_is_named_by_hasuras_claims_is_let_in_beside_firebases() -> None:
    found = caller(SHARED, signed(claims()))
    assert (found.user, found.role, found.is_staff) == ("bob", Role.STREAMER, False)
    assert caller(SHARED, signed(claims(BOB | {"x-hasura-allowed-roles": ["user"]}))).role is Role.USER
    assert caller(SHARED, firebase_token("demo-olo", "ann", "user")).user == "ann"
    loud = {name.upper(): value for name, value in BOB.items()}
    assert caller(SHARED, signed(claims(loud))).user == "bob"


def test_roles_of_staff_come_from_the_log_and_from_no_token() -> None:
    admin = signed(claims(BOB | {"x-hasura-default-role": "admin", "x-hasura-allowed-roles": ["admin", "finance"]}))
    assert caller(SHARED, admin).roles == {Role.USER}
    assert not caller(SHARED, admin).is_staff
    assert caller(SHARED, admin, (Role.FINANCE,)).roles == {Role.USER, Role.FINANCE}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"claims_namespace": "olo"}, {"olo": BOB}),
        ({"claims_namespace_path": "$"}, BOB),
        ({"claims_namespace_path": "$.a.b-c"}, {"a": {"b-c": BOB}}),
        ({"claims_format": "stringified_json"}, {NAMESPACE: json.dumps(BOB)}),
        ({"audience": "app"}, {"aud": "app"}),
        ({"audience": ["app", "web"], "issuer": "old"}, {"aud": ["x", "web"], "iss": "old"}),
        ({"allowed_skew": 60}, {"lives_s": -20}),
        ({}, {"aud": "whoever"}),
    ],
)
def test_where_claims_stand_and_for_whom_is_hasuras_setting(setting: Claims, told: Claims) -> None:
    assert caller(SHARED | setting, signed(claims(**told))).user == "bob"


def unsigned(told: Claims) -> str:
    head, body = (base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in ({"alg": "none"}, told))
    return f"{head}.{body}."


@pytest.mark.parametrize(
    ("due", "setting", "token"),
    [
        ("token_expired", {}, lambda: signed(claims(exp=int(time.time()) - 9))),
        ("token_not_yet_valid", {}, lambda: signed(claims(nbf=int(time.time()) + 90))),
        ("token_algorithm_wrong", {}, lambda: unsigned(claims())),
        ("token_algorithm_wrong", {}, lambda: signed(claims(), SECRET * 2, "HS512")),
        ("token_invalid", {}, lambda: signed(claims(), "another-secret-of-thirty-two-bytes-or-so")),
        ("token_invalid", {}, lambda: signed(claims())[:-4] + "AAAA"),
        ("token_audience_wrong", {"audience": "app"}, lambda: signed(claims(aud="other"))),
        ("token_claim_missing", {"audience": "app"}, lambda: signed(claims())),
        ("token_issuer_wrong", {"issuer": "old"}, lambda: signed(claims(iss="new"))),
        ("token_claim_missing", {"issuer": "old"}, lambda: signed(claims())),
        ("token_claim_missing", {}, lambda: signed({"exp": int(time.time()) + 60})),
        ("token_claim_missing", {}, lambda: signed({NAMESPACE: BOB})),
        ("token_claim_missing", {}, lambda: signed(claims({"x-hasura-user-id": "bob"}))),
        ("token_claim_missing", {"claims_namespace_path": "$.a.b"}, lambda: signed(claims(a=[]))),
        ("token_claim_invalid", {}, lambda: signed(claims(json.dumps(BOB)))),
        ("token_claim_invalid", {"claims_format": "stringified_json"}, lambda: signed(claims(BOB))),
        ("token_claim_invalid", {"claims_format": "stringified_json"}, lambda: signed(claims("[" * 90_000))),
        ("token_claim_invalid", {}, lambda: signed(claims(BOB | {"x-hasura-default-role": "admin"}))),
        ("token_claim_invalid", {}, lambda: signed(claims(BOB | {"x-hasura-allowed-roles": "user"}))),
        ("token_claim_invalid", {}, lambda: signed(claims(BOB | {"x-hasura-user-id": 7}))),
        ("token_claim_invalid", {}, lambda: signed(claims(BOB | {"x-hasura-user-id": "bob@example.com"}))),
    ],
)  # fmt: skip
def test_each_way_in_which_a_token_is_none_has_its_name(due: str, setting: Claims, token: Any) -> None:
    assert code(SHARED | setting, token()) == due


def test_a_public_key_is_no_secret(key: RSAPrivateKey) -> None:
    """Who signs with what everybody may know, and says HS256, is not let in."""
    setting = {"type": "RS256", "key": public(key)}
    assert caller(setting, signed(claims(), key, "RS256")).user == "bob"
    head, body, _ = unsigned(claims()).split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=").decode()
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        f"{head}.{body}".encode(), public(key).encode()
    )  # fmt: skip
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert code(setting, forged) == "token_algorithm_wrong"
    assert code(setting, signed(claims(), generate_private_key(65_537, 2_048), "RS256")) == "token_invalid"


def test_keys_are_fetched_again_for_a_new_one_but_not_for_each_forged_one(key: RSAPrivateKey) -> None:
    served, asked, at = list[Claims](), list[str](), [0.0]

    def fetched(url: str) -> Any:
        asked.append(url)
        if not served:
            raise httpx.ConnectError("away")
        return {"keys": served}

    keys = Keys("https://keys.example", fetched, lambda: at[0])
    config = load(hasura_jwt_secret=json.dumps({"jwk_url": "https://keys.example"}))
    setting = read_setting(config.hasura_jwt_secret)
    assert setting is not None
    tokens = HasuraTokens(config, setting, keys)
    token = signed(claims(), key, "RS256", kid="k1")
    with pytest.raises(Problem, match="cannot be fetched"):
        tokens.claimed(token)
    served.append(
        json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "k1", "alg": "RS256", "use": "sig"}
    )
    served.append({"kty": "oct", "kid": "k2", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"})
    at[0] += REFETCH_S + 1
    assert tokens.claimed(token).user == "bob"
    for kid in ("k2", "guess", "", "k" * 999):
        with pytest.raises(Problem, match="does not have"):
            tokens.claimed(signed(claims(), key, "RS256", kid=kid))
    assert len(asked) == 2
    served.clear()
    at[0] += KEYS_LIVE_S + 1
    assert tokens.claimed(token).user == "bob", "keys that were there stay, where there are no others to be had"
    assert len(asked) == 3
    with pytest.raises(Problem) as raised:
        tokens.claimed(signed(claims(), SECRET, "HS256", kid="k1"))
    assert raised.value.code == "token_algorithm_wrong"


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ({}, "either key"),
        ({"type": "HS256", "key": "short"}, "32 bytes"),
        ({"type": "HS256", "key": "-----BEGIN PUBLIC KEY-----" + "x" * 40}, "everybody may know"),
        ({"type": "RS256", "key": "-----BEGIN PUBLIC KEY-----"}, "this is none"),
        ({"type": "none", "key": "x"}, "type: one of"),
        ({"jwk_url": "http://keys.example"}, "https"),
        ({**SHARED, "jwk_url": "https://keys.example"}, "either key"),
        ({**SHARED, "claims_map": {}}, "not taken here"),
        ({**SHARED, "claims_format": "xml"}, "claims_format"),
        ({**SHARED, "claims_namespace_path": "$..a"}, "claims_namespace_path"),
        ({**SHARED, "claims_namespace": "a", "claims_namespace_path": "$"}, "either claims_namespace"),
        ({**SHARED, "allowed_skew": 9_000}, "allowed_skew"),
        ({**SHARED, "audience": [1]}, "audience"),
        ({**SHARED, "issuer": 1}, "issuer"),
    ],
)
def test_a_setting_that_is_none_says_why_and_does_not_repeat_the_secret(setting: Any, why: str) -> None:
    text = setting if isinstance(setting, str) else json.dumps(setting)
    with pytest.raises(ConfigError, match=why) as raised:
        load(hasura_jwt_secret=text)
    assert SECRET not in str(raised.value)
    assert read_setting("") is None
