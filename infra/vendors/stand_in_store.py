"""A stand-in for the App Store, for development and tests: it signs for real, with a root of its own, what people "buy".

It is a folder: `stand-in.json` has the key of its leaf and the chain up to its root, `root.cer` the root, which a platform
trusts that has it in `OLO_APPLE_ROOT_FILES`. `olo up` makes one in development where no root is set; production refuses to
start with such a root (`infra/config.py`), and there is no route to the stand-in there. Its certificates have the marks that
Apple's library looks for.
"""

import base64
import json
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jwt

from infra.config import STAND_IN, Config, Environment

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

BUNDLE: Final = "app.olo"
FILE: Final = "stand-in.json"
ROOT_FILE: Final = "root.cer"
LEAF_MARK: Final = "1.2.840.113635.100.6.11.1"
INTERMEDIATE_MARK: Final = "1.2.840.113635.100.6.2.1"
DER_NULL: Final = b"\x05\x00"
ALGORITHM: Final = "ES256"
# As long as a folder of somebody's who develops may be kept.
LIVES: Final = timedelta(days=3_650)
# What may be left of a UUID for a transaction's number, which Apple writes in digits.
NUMBERS: Final = 10**15


class StandInStore:
    """Sells at a bundle, in an environment (`Sandbox`, `Production`)."""

    def __init__(self, folder: Path, bundle: str = BUNDLE, environment: str = "Sandbox") -> None:
        self.bundle, self.environment = bundle, environment
        self.root_file = folder / ROOT_FILE
        if not (folder / FILE).is_file():
            _found(folder)
        known = json.loads((folder / FILE).read_text())
        self._key, self._chain = known["key"], known["chain"]

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
        at_ms = _now_ms()
        transaction = changes.pop("transactionId", str(uuid.uuid4().int % NUMBERS))
        payload = {
            "transactionId": transaction, "originalTransactionId": transaction, "bundleId": self.bundle, "productId": product,
            "type": "Consumable", "quantity": 1, "purchaseDate": at_ms, "signedDate": at_ms, "price": 4_990, "currency": "EUR",
            "storefront": "DEU", "appAccountToken": intent, "environment": self.environment, "inAppOwnershipType": "PURCHASED",
        } | changes  # fmt: skip
        return self.sign({name: value for name, value in payload.items() if value is not None})

    def take_back(self, signed: str) -> str:
        """A transaction of this store's, all of it taken back. Errors: ValueError, it is none."""
        sold = self._read(signed)
        at_ms = _now_ms()
        signed_ms = max(at_ms, int(sold["signedDate"]) + 1)
        return self.sign(sold | {"revocationDate": at_ms, "revocationReason": 0, "signedDate": signed_ms})

    def notify(self, kind: str, signed_transaction: str, **renewal: Any) -> dict[str, str]:
        """The body of a Server Notification about a transaction, with what Apple says of its renewal."""
        data = {"bundleId": self.bundle, "environment": self.environment, "signedTransactionInfo": signed_transaction}
        if renewal:
            told = {"environment": self.environment, "signedDate": _now_ms(), "autoRenewStatus": 1, **renewal}
            data["signedRenewalInfo"] = self.sign(told)
        payload = {
            "notificationType": kind, "notificationUUID": str(uuid.uuid4()), "version": "2.0", "signedDate": _now_ms(),
            "data": data,
        }  # fmt: skip
        return {"signedPayload": self.sign(payload)}

    def sign(self, payload: dict[str, Any]) -> str:
        """A payload as Apple signs it."""
        return jwt.encode(payload, self._key, ALGORITHM, headers={"x5c": self._chain})

    def _read(self, signed: str) -> dict[str, Any]:
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        key = load_pem_private_key(self._key.encode(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        try:
            found: dict[str, Any] = jwt.decode(signed, key.public_key(), [ALGORITHM])
        except jwt.InvalidTokenError as error:
            raise ValueError("the transaction is not of this store") from error
        return found


def store_of(config: Config) -> StandInStore | None:
    """The stand-in whose root a platform trusts, in development; None: it trusts no such store."""
    if config.env is not Environment.DEVELOPMENT:
        return None
    folders = [Path(file).parent for file in config.apple_root_files.split(",") if Path(file).name == ROOT_FILE]
    folder = next((one for one in folders if (one / FILE).is_file()), None)
    return None if folder is None else StandInStore(folder, config.bundle_ios, config.apple_environment.capitalize())


def settings_for(config: Config, folder: Path) -> dict[str, str]:
    """What a platform in development needs to sell by a stand-in; nothing where it has a store's root, or in production."""
    if config.env is not Environment.DEVELOPMENT or config.apple_root_files:
        return {}
    return StandInStore(folder, config.bundle_ios or BUNDLE).settings


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000)


def _found(folder: Path) -> None:
    """Make the store's keys and certificates; the file of the key comes last, so that a folder is whole or is made anew."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec

    root_key, middle_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = _certificate("Root", root_key.public_key(), None, root_key)
    middle = _certificate("Intermediate", middle_key.public_key(), root, root_key, INTERMEDIATE_MARK)
    leaf = _certificate("Leaf", key.public_key(), middle, middle_key, LEAF_MARK, is_authority=False)
    der = forms.Encoding.DER
    chain = [base64.b64encode(one.public_bytes(der)).decode() for one in (leaf, middle, root)]
    pem = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()).decode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ROOT_FILE).write_bytes(root.public_bytes(der))
    made = folder / f"{FILE}.new"
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(json.dumps({"key": pem, "chain": chain}))
    made.rename(folder / FILE)


def _certificate(
    name: str,
    public: "ec.EllipticCurvePublicKey",
    issuer: "x509.Certificate | None",
    signer: "ec.EllipticCurvePrivateKey",
    mark: str = "",
    *,
    is_authority: bool = True,
) -> "x509.Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{STAND_IN} {name}")])
    now = datetime.now(UTC)
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
    usage = dict.fromkeys(others, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIVES)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=is_authority, crl_sign=is_authority, **usage), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if mark:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(mark), DER_NULL), critical=False)
    return builder.sign(signer, hashes.SHA256())
