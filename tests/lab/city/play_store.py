"""A stand-in for Google Play: its orders by token, the tokens for who may see them, and notifications, signed for real as Cloud
Pub/Sub signs its pushes."""

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.lab.city.json_server import Answer, JsonServer

PACKAGE: Final = "app.olo.android"
AUDIENCE, PUSHER = "https://olo.example/v1/webhooks/google", "push@olo.iam.example"
PAGE: Final = 20
BEARER: Final = "play-bearer"
KEY_FILE: Final = "play.json"


class PlayStore:
    """Sells; `orders`: purchase token -> what Google says of it; `voided`: what it has
    taken back; `trouble`, `consume_trouble`: statuses to answer first; `consumed`: orders,
    in turn. `url`: where somebody else serves it (`answers`); without one it serves itself."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.voided: list[dict[str, Any]] = []
        self.trouble: list[int] = []
        self.consume_trouble: list[int] = []
        self.consumed: list[str] = []
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.refunded: set[str] = set()
        self.reviews: dict[str, dict[str, Any]] = {}
        self.certificates_asked = 0
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._certificate = _certificate(self._key)
        self._folder = folder
        self._server = None if url else JsonServer(self.answers)
        self.url = self._server.url if self._server else url
        folder.mkdir(parents=True, exist_ok=True)
        pem = self._key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()).decode()
        account = {
            "type": "service_account", "project_id": "olo", "client_email": "play@olo.iam.example", "private_key_id": "k1",
            "private_key": pem, "token_uri": f"{self.url}/token",
        }  # fmt: skip
        (folder / KEY_FILE).write_text(json.dumps(account))

    @property
    def settings(self) -> dict[str, str]:
        """The platform's settings that trust this store."""
        return self.asked_at(self._folder, self.url)

    @staticmethod
    def asked_at(folder: Path, url: str) -> dict[str, str]:
        """The platform's settings that trust a store with keys in this folder, which is asked at `url`."""
        return {
            "OLO_PLAY_URL": url, "OLO_PLAY_KEY_FILE": str(folder / KEY_FILE), "OLO_APP_ID_ANDROID": PACKAGE,
            "OLO_PLAY_PUSH_AUDIENCE": AUDIENCE, "OLO_PLAY_PUSH_ACCOUNT": PUSHER, "OLO_GOOGLE_CERTS_URL": f"{url}/certs",
        }  # fmt: skip

    def answers(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What a request is answered."""
        bearer = headers.get("authorization", "")
        if method == "GET":
            status, told = self.answer(path, bearer)
        elif path.endswith(":acknowledge"):
            status, told = self.acknowledge(path, bearer)
        elif path.endswith(":reviewrefund"):
            status, told = self.review(path, bearer, body)
        elif path.endswith(":consume"):
            status, told = self.consume(path, bearer)
        else:
            status, told = 200, {"access_token": BEARER, "expires_in": 3600, "token_type": "Bearer"}
        return status, {"cache-control": "public, max-age=60" if path == "/certs" else "no-store"}, told

    def answer(self, path: str, bearer: str) -> tuple[int, dict[str, Any]]:
        """What a GET is answered."""
        if path == "/certs":
            self.certificates_asked += 1
            return 200, {"k1": self._certificate}
        if self.trouble:
            return self.trouble.pop(0), {}
        parts = path.split("/")
        if bearer != f"Bearer {BEARER}":
            return 401, {}
        if parts[-1].startswith("voidedpurchases"):
            return self._voided(parse_qs(urlsplit(path).query)) if parts[4] == PACKAGE else (404, {})
        if parts[5] == "orders":
            price = next((one["price"] for one in self.orders.values() if one["orderId"] == parts[6]), None)
            state = {"state": "REFUNDED"} if parts[6] in self.refunded else {}
            if not price and not state:
                return 404, {}
            return (
                (200, {"orderId": parts[6], **({"total": price} if price else {}), **state})
                if parts[4] == PACKAGE
                else (404, {})
            )
        if parts[6] == "subscriptionsv2":
            found = self.subscriptions.get(unquote(parts[-1]))
            return (200, found) if found is not None and parts[4] == PACKAGE else (404, {})
        order = self.orders.get(unquote(parts[-1]))
        if order is None or parts[4] != PACKAGE or parts[7] != order["sku"]:
            return 404, {"error": {"code": 404}}
        return 200, {name: value for name, value in order.items() if name not in ("sku", "price") and value is not None}

    def subscribe(self, token: str, product: str, intent: str, order: str, **changes: Any) -> None:
        """A subscription's latest period, of a month that begins now."""
        at = datetime.now(UTC)
        line = {
            "productId": product, "expiryTime": (at + timedelta(days=30)).isoformat().replace("+00:00", "Z"),
            "latestSuccessfulOrderId": order, "autoRenewingPlan": {"autoRenewEnabled": True}, **changes.pop("line", {}),
        }  # fmt: skip
        known = self.subscriptions.get(token, {"acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING"})
        self.subscriptions[token] = {
            "subscriptionState": "SUBSCRIPTION_STATE_ACTIVE", "startTime": at.isoformat().replace("+00:00", "Z"),
            "regionCode": "DE", "externalAccountIdentifiers": {"obfuscatedExternalAccountId": intent}, "lineItems": [line],
            "acknowledgementState": known["acknowledgementState"], **changes,
        }  # fmt: skip

    def acknowledge(self, path: str, bearer: str) -> tuple[int, dict[str, Any]]:
        """What a POST of acknowledgement is answered; the second one is refused."""
        found = self.subscriptions.get(unquote(path.removesuffix(":acknowledge").split("/")[-1]))
        if bearer != f"Bearer {BEARER}" or found is None:
            return 404, {}
        if found["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED":
            return 400, {}
        found["acknowledgementState"] = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
        return 200, {}

    def review(self, path: str, bearer: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """What an answer about a refund is answered; the first one of a review counts (`reviews`: token -> it)."""
        order = path.split("/")[-1].removesuffix(":reviewrefund")
        if bearer != f"Bearer {BEARER}" or path.split("/")[4] != PACKAGE:
            return 401, {}
        told = json.loads(body)
        if all(one["orderId"] != order for one in self.orders.values()):
            return 404, {}
        self.reviews.setdefault(told.pop("pendingRefundToken"), told)
        return 200, {}

    def consume(self, path: str, bearer: str) -> tuple[int, dict[str, Any]]:
        """What a POST of consumption is answered; a trouble of 0: it is done, and nobody hears."""
        status = self.consume_trouble.pop(0) if self.consume_trouble else 200
        if status not in (0, 200):
            return status, {}
        known, _ = self.answer(path.removesuffix(":consume"), bearer)
        if known != 200:
            return known, {}
        order = self.orders[unquote(path.removesuffix(":consume").split("/")[-1])]
        if order["consumptionState"] or order["purchaseState"]:
            return 400, {"error": {"code": 400}}
        order["consumptionState"] = 1
        self.consumed.append(order["orderId"])
        return status or 500, {}

    def _voided(self, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        since, until, begin = (int(query.get(name, ["0"])[0]) for name in ("startTime", "endTime", "token"))
        found = [one for one in self.voided if since <= int(one["voidedTimeMillis"]) <= until]
        more = {"tokenPagination": {"nextPageToken": str(begin + PAGE)}} if begin + PAGE < len(found) else {}
        return 200, {"voidedPurchases": found[begin : begin + PAGE]} | more

    def void(self, token: str, order: str, quantity: int | None = None) -> None:
        """Note what was taken back; the order itself is changed by `sell`."""
        self.voided.append({
            "purchaseToken": token, "orderId": order, "voidedTimeMillis": str(int(time.time() * 1_000)), "voidedSource": 0,
            **({} if quantity is None else {"voidedQuantity": quantity}),
        })  # fmt: skip

    def sell(self, token: str, product: str, intent: str | None, order: str, **changes: Any) -> None:
        """A purchase; a change to None leaves a field out."""
        self.orders[token] = {
            "sku": product, "purchaseState": 0, "orderId": order, "purchaseTimeMillis": str(int(time.time() * 1_000)),
            "obfuscatedExternalAccountId": intent, "consumptionState": 0, "acknowledgementState": 0, "regionCode": "DE",
            "price": {"currencyCode": "EUR", "units": "4", "nanos": 990_000_000}, **changes,
        }  # fmt: skip

    def notify(self, kind: str, told: dict[str, Any], **changes: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Headers and body of a push about a purchase; changes are to the token that Google signs."""
        data = {"version": "1.0", "packageName": changes.pop("package", PACKAGE), "eventTimeMillis": "1", kind: told}
        message = {"data": base64.b64encode(json.dumps(data).encode()).decode(), "messageId": "1"}
        at = int(time.time())
        claims = {
            "iss": "https://accounts.google.com", "aud": AUDIENCE, "email": PUSHER, "email_verified": True, "iat": at,
            "exp": at + 600, "sub": "1", **changes,
        }  # fmt: skip
        token = jwt.encode(claims, self._key, "RS256", headers={"kid": "k1"})
        return {"Authorization": f"Bearer {token}"}, {"message": message, "subscription": "projects/olo/subscriptions/play"}

    def close(self) -> None:
        """End it."""
        if self._server:
            self._server.close()


def _certificate(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stand-in")])
    at = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=30))
    )
    return built.sign(key, hashes.SHA256()).public_bytes(forms.Encoding.PEM).decode()
