"""A stand-in for who signs people in, Firebase's REST API: it signs ID tokens for real, renews them, and has the certificates
by which they are verified. A page of any origin may ask it, as it may ask Google's."""

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.lab.city.json_server import Answer, JsonServer

PROJECT: Final = "olo-stand-in"
API_KEY: Final = "AIza-stand_in"
OPEN: Final = {"access-control-allow-origin": "*", "access-control-allow-headers": "content-type"}


class FirebaseSignIn:
    """`people`: address -> password, user id, role; `disabled`: user ids; `lives_s`: of a token; `renewed`: whose, in turn."""

    def __init__(self, lives_s: int = 3_600) -> None:
        self.people: dict[str, tuple[str, str, str]] = {}
        self.disabled: set[str] = set()
        self.lives_s = lives_s
        self.renewed: list[str] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._certificate = _certificate(self._key)
        self._server = JsonServer(self._answers)
        self.url = self._server.url

    @property
    def settings(self) -> dict[str, str]:
        """Settings, by their names in `Config`, of a platform whose people sign in here."""
        urls = {"firebase_url": self.url, "firebase_token_url": self.url}
        return {"firebase_project": PROJECT, "firebase_api_key": API_KEY, **urls}

    @property
    def certificates(self) -> str:
        """Where the certificates are."""
        return f"{self.url}/certs"

    def token(self, user: str, role: str = "user", **changes: Any) -> str:
        """A signed ID token."""
        moment = int(time.time())
        claims = {
            "iss": f"https://securetoken.google.com/{PROJECT}", "aud": PROJECT, "sub": user, "user_id": user,
            "auth_time": moment, "iat": moment, "exp": moment + self.lives_s, "role": role,
            "firebase": {"sign_in_provider": "password"}, **changes,
        }  # fmt: skip
        return jwt.encode(claims, self._key, "RS256", headers={"kid": "k1"})

    def close(self) -> None:
        """End it."""
        self._server.close()

    def _answers(self, method: str, path: str, _: Mapping[str, str], body: bytes) -> Answer:
        if path == "/certs":
            return 200, {"cache-control": "public, max-age=60"}, {"k1": self._certificate}
        if method == "OPTIONS":
            return 200, OPEN, {}
        url = urlsplit(path)
        if parse_qs(url.query).get("key") != [API_KEY]:
            return _refused("API key not valid. Please pass a valid API key.")
        if url.path == "/v1/accounts:signInWithPassword":
            return self._sign_in(json.loads(body))
        return self._renew({name: values[0] for name, values in parse_qs(body.decode()).items()})

    def _sign_in(self, told: dict[str, Any]) -> Answer:
        password, user, role = self.people.get(told["email"], ("", "", ""))
        if not user or told["password"] != password or told["returnSecureToken"] is not True:
            return _refused("INVALID_LOGIN_CREDENTIALS")
        if user in self.disabled:
            return _refused("USER_DISABLED")
        tokens = {"idToken": self.token(user, role), "refreshToken": f"refresh {user}"}
        return (
            200,
            OPEN,
            {**tokens, "expiresIn": str(self.lives_s), "localId": user, "email": told["email"], "registered": True},
        )

    def _renew(self, told: dict[str, str]) -> Answer:
        user = told["refresh_token"].removeprefix("refresh ")
        role = next((role for _, known, role in self.people.values() if known == user), "")
        if told["grant_type"] != "refresh_token" or not role:
            return _refused("INVALID_REFRESH_TOKEN")
        if user in self.disabled:
            return _refused("USER_DISABLED")
        self.renewed.append(user)
        tokens = {"id_token": self.token(user, role), "refresh_token": told["refresh_token"]}
        return 200, OPEN, {**tokens, "expires_in": str(self.lives_s), "token_type": "Bearer", "user_id": user}


def _refused(message: str) -> Answer:
    return 400, OPEN, {"error": {"code": 400, "message": message}}


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sign-in.stand-in")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    return dated.serial_number(1).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
