"""A stand-in for the App Store Server API: the notifications that Apple has sent, or tried to, and each transaction as it
signs it now. It takes only a bearer that is signed with its key. What a test plants is planted by `tell`, which need not reach
us."""

import json
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab.city.app_store import AppStore
from tests.lab.city.json_server import Answer, JsonServer

ISSUER: Final = "57246542-96fe-1a63-e053-0824d011072a"
KEY: Final = "2X9R4HXF34"
PAGE: Final = 20


class AppStoreApi:
    """`notifications`: signed payloads with when they were sent (ms); `transactions`: id -> signed; `trouble`: statuses to
    answer first; `told`: what we have said of consumption, by transaction."""

    def __init__(self, store: AppStore, folder: Path) -> None:
        self.store = store
        self.notifications: list[tuple[int, str]] = []
        self.transactions: dict[str, str] = {}
        self.trouble: list[int] = []
        self.told: dict[str, dict[str, Any]] = {}
        key = ec.generate_private_key(ec.SECP256R1())
        self._public = key.public_key()
        folder.mkdir(parents=True, exist_ok=True)
        self.key_file = folder / "key.p8"
        self.key_file.write_bytes(key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()))
        self._server = JsonServer(
            lambda method, path, headers, body: self.answer(method, path, headers.get("authorization", ""), body)
        )
        self.url = self._server.url

    @property
    def settings(self) -> dict[str, str]:
        """The platform's settings that ask this store."""
        return self.store.settings | {
            "OLO_APPLE_API_URL": self.url, "OLO_APPLE_KEY_FILE": str(self.key_file), "OLO_APPLE_KEY_ID": KEY,
            "OLO_APPLE_ISSUER_ID": ISSUER,
        }  # fmt: skip

    def tell(self, kind: str, signed: str, **renewal: Any) -> dict[str, str]:
        """Note a notification about a transaction, and its body, which may be sent or lost."""
        notice = self.store.notify(kind, signed, **renewal)
        self.notifications.append((int(time.time() * 1_000), notice["signedPayload"]))
        payload = jwt.decode(signed, options={"verify_signature": False})
        self.transactions[payload["transactionId"]] = signed
        return notice

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> Answer:
        """What a request is answered."""
        if self.trouble:
            return self.trouble.pop(0), {}, {}
        if not self._is_ours(bearer):
            return 401, {}, {}
        found = urlsplit(path)
        last = found.path.rpartition("/")[2]
        match method, found.path.split("/")[3]:
            case "POST", "notifications":
                return 200, {}, self._page(json.loads(body), int(parse_qs(found.query).get("paginationToken", ["0"])[0]))
            case "GET", "transactions" if last in self.transactions:
                return 200, {}, {"signedTransactionInfo": self.transactions[last]}
            case "PUT", "transactions" if last in self.transactions:
                self.told[last] = json.loads(body)
                return 202, {}, {}
        return 404, {}, {"errorCode": 4040010, "errorMessage": "Transaction id not found."}

    def _page(self, span: dict[str, int], begin: int) -> dict[str, Any]:
        found = [signed for at, signed in self.notifications if span["startDate"] <= at <= span["endDate"]]
        page = [{"signedPayload": one, "sendAttempts": []} for one in found[begin : begin + PAGE]]
        more = begin + PAGE < len(found)
        return {"notificationHistory": page, "hasMore": more} | ({"paginationToken": str(begin + PAGE)} if more else {})

    def _is_ours(self, bearer: str) -> bool:
        try:
            claims = jwt.decode(bearer.removeprefix("Bearer "), self._public, ["ES256"], audience="appstoreconnect-v1")
        except jwt.PyJWTError:
            return False
        return bool(claims["iss"] == ISSUER) and claims["bid"] == self.store.bundle and claims["exp"] - claims["iat"] <= 1_200

    def close(self) -> None:
        """End it."""
        self._server.close()
