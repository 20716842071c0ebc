"""A stand-in for the App Store that signs for real: a root, an intermediate and a leaf of its own, with the marks that Apple's
library looks for. What a test spoils is spoilt by the caller: another stand-in's root, another bundle, a field."""

import base64
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

BUNDLE: Final = "app.olo"
LEAF_MARK: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.11.1")
INTERMEDIATE_MARK: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")
DER_NULL: Final = b"\x05\x00"

Key = ec.EllipticCurvePrivateKey


class AppStore:
    """Sells at a bundle, in an environment."""

    def __init__(self, folder: Path, bundle: str = BUNDLE, environment: str = "Sandbox") -> None:
        self.bundle, self.environment = bundle, environment
        root_key, middle_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        root = _certificate("Root", root_key.public_key(), None, root_key)
        middle = _certificate("Intermediate", middle_key.public_key(), root, root_key, INTERMEDIATE_MARK)
        leaf = _certificate("Leaf", self._key.public_key(), middle, middle_key, LEAF_MARK, is_authority=False)
        self._chain = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in (leaf, middle, root)]
        folder.mkdir(parents=True, exist_ok=True)
        self.root_file = folder / "root.cer"
        self.root_file.write_bytes(root.public_bytes(Encoding.DER))

    @property
    def settings(self) -> dict[str, str]:
        """The platform's settings that trust this store."""
        return {
            "OLO_APPLE_ROOT_FILES": str(self.root_file),
            "OLO_APPLE_ENVIRONMENT": self.environment.lower(),
            "OLO_APPLE_ONLINE_CHECKS": "false",
            "OLO_BUNDLE_IOS": self.bundle,
        }

    def sell(self, product: str, intent: str | None, **changes: Any) -> str:
        """A signed transaction, as StoreKit gives it to a phone. A change to None leaves a field out."""
        at_ms = int(datetime.now(UTC).timestamp() * 1_000)
        transaction = changes.pop("transactionId", str(uuid.uuid4().int % 10**15))
        payload = {
            "transactionId": transaction, "originalTransactionId": transaction, "bundleId": self.bundle, "productId": product,
            "type": "Consumable", "quantity": 1, "purchaseDate": at_ms, "signedDate": at_ms, "price": 4_990, "currency": "EUR",
            "storefront": "DEU", "appAccountToken": intent, "environment": self.environment, "inAppOwnershipType": "PURCHASED",
        } | changes  # fmt: skip
        return self.sign({name: value for name, value in payload.items() if value is not None})

    def renew(self, product: str, intent: str | None, original: str, number: int, **changes: Any) -> str:
        """A period of a subscription as it is signed: `number` counts from 1, and each is `days` (30) long; the first begins
        now."""
        days = changes.pop("days", 30)
        begins = datetime.now(UTC) + timedelta(days=days * (number - 1))
        fields = {
            "type": "Auto-Renewable Subscription", "transactionId": f"{original}{number}", "originalTransactionId": original,
            "expiresDate": int((begins + timedelta(days=days)).timestamp() * 1_000),
        }  # fmt: skip
        return self.sell(product, intent, **fields | changes)

    def notify(self, kind: str, signed_transaction: str, **renewal: Any) -> dict[str, str]:
        """The body of a Server Notification about a transaction, with what Apple says of its renewal."""
        data = {"bundleId": self.bundle, "environment": self.environment, "signedTransactionInfo": signed_transaction}
        at_ms = int(datetime.now(UTC).timestamp() * 1_000)
        if renewal:
            told = {"environment": self.environment, "signedDate": at_ms, "autoRenewStatus": 1, **renewal}
            data["signedRenewalInfo"] = self.sign(told)
        payload = {
            "notificationType": kind, "notificationUUID": str(uuid.uuid4()), "version": "2.0", "signedDate": at_ms,
            "data": data,
        }  # fmt: skip
        return {"signedPayload": self.sign(payload)}

    def sign(self, payload: dict[str, Any]) -> str:
        """A payload as Apple signs it."""
        return jwt.encode(payload, self._key, "ES256", headers={"x5c": self._chain})


def _certificate(
    name: str,
    public: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    signer: Key,
    mark: x509.ObjectIdentifier | None = None,
    *,
    is_authority: bool = True,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Stand-in {name}")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only",
        ), False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if mark is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(mark, DER_NULL), critical=False)
    return builder.sign(signer, hashes.SHA256())
