"""What the App Store signs: read as it is, and each spoilt one a named error."""

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.config import Config, load
from infra.vendors.app_store import ForgedError, missing_settings, read_notification, read_transaction
from schemas.purchase import WHOLE, AskUsage, ClaimPurchase, Store
from tests.lab.city.app_store import AppStore

INTENT = str(uuid.uuid4())
HOUR_AHEAD = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> AppStore:
    return AppStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> AppStore:
    return AppStore(tmp_path_factory.mktemp("another"))


def config_of(store: AppStore, **more: str) -> Config:
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in store.settings.items()} | more)


def test_a_transaction_is_read_as_it_is(store: AppStore) -> None:
    claim = read_transaction(config_of(store), store.sell("p1", INTENT.upper(), transactionId="77", quantity=3), "bob", "m")
    assert claim == ClaimPurchase(
        id="m", at=claim.at, purchase="apple_sandbox:77", user="bob", store=Store.APPLE_SANDBOX, intent=INTENT,
        store_product="p1", purchased_at=claim.purchased_at, quantity=3, price_milliunits=4_990, currency="EUR", country="DE",
        signed_at=claim.purchased_at,
    )  # fmt: skip


def test_no_token_is_no_intent_and_no_price_is_none(store: AppStore) -> None:
    claim = read_transaction(config_of(store), store.sell("p1", None, price=None, currency=None, quantity=None), "bob", "m")
    assert (claim.intent, claim.price_milliunits, claim.currency, claim.quantity) == ("", 0, "", 1)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bundleId": "com.example.other"}, "transaction_of_another_app"),
        ({"environment": "Production"}, "transaction_of_another_environment"),
        ({"type": "Non-Consumable"}, "transaction_unsuitable"),
        ({"revocationDate": 1, "revocationPercentage": 100_001}, "transaction_unreadable"),
        ({"purchaseDate": HOUR_AHEAD}, "transaction_time_impossible"),
        ({"purchaseDate": None}, "transaction_time_impossible"),
        ({"purchaseDate": "soon"}, "transaction_unreadable"),
        ({"transactionId": "a/b"}, "transaction_unreadable"),
        ({"productId": "é"}, "transaction_unreadable"),
        ({"quantity": -1}, "transaction_unreadable"),
        ({"quantity": "many"}, "transaction_unreadable"),
        ({"price": 2**60}, "transaction_unreadable"),
        ({"currency": "euro"}, "transaction_unreadable"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_each_bad_field_by_name(store: AppStore, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(ForgedError) as caught:
        read_transaction(config_of(store), store.sell("p1", INTENT, **changes), "bob", "m")
    assert caught.value.code == code


def tampered(signed: str) -> str:
    head, body, signature = signed.split(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=="))
    payload["quantity"] = 10
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("="), signature])


@pytest.mark.parametrize("spoil", [tampered, lambda signed: signed[:-8] + "AAAAAAAA", lambda _: "a.b.c", lambda _: "x"])
def test_what_was_changed_is_not_apples(store: AppStore, spoil: Callable[[str], str]) -> None:
    with pytest.raises(ForgedError) as caught:
        read_transaction(config_of(store), spoil(store.sell("p1", INTENT)), "bob", "m")
    assert caught.value.code == "signature_invalid"


def test_another_root_is_not_apples(store: AppStore, another: AppStore) -> None:
    with pytest.raises(ForgedError) as caught:
        read_transaction(config_of(store), another.sell("p1", INTENT), "bob", "m")
    assert caught.value.code == "signature_invalid"


def test_a_sandboxs_purchase_is_none_in_production(store: AppStore) -> None:
    production = config_of(store, apple_environment="production", app_id_ios="id77")
    with pytest.raises(ForgedError) as caught:
        read_transaction(production, store.sell("p1", INTENT), "bob", "m")
    assert caught.value.code == "transaction_of_another_environment"


def test_a_notification_of_a_purchase_claims_it_and_others_only_tell_their_kind(store: AppStore, another: AppStore) -> None:
    sold, config = store.sell("p1", INTENT), config_of(store)
    claim = read_notification(config, store.notify("ONE_TIME_CHARGE", sold)["signedPayload"], "m")
    assert isinstance(claim, ClaimPurchase)
    assert (claim.user, claim.intent) == ("", INTENT)
    asked = read_notification(config, store.notify("CONSUMPTION_REQUEST", sold)["signedPayload"], "m")
    assert isinstance(asked, AskUsage)
    assert asked.purchase == claim.purchase
    assert timedelta(hours=11) < asked.until - asked.at <= timedelta(hours=12)
    assert read_notification(config, store.notify("PRICE_INCREASE", sold)["signedPayload"], "m") == "PRICE_INCREASE"
    back = read_notification(config, store.notify("REFUND", store.sell("p1", INTENT, revocationDate=1))["signedPayload"], "m")
    assert isinstance(back, ClaimPurchase)
    assert back.revoked_parts == WHOLE
    for signed in (
        another.notify("ONE_TIME_CHARGE", sold)["signedPayload"],
        store.notify("ONE_TIME_CHARGE", another.sell("p1", INTENT))["signedPayload"],
        store.notify("REFUND", sold)["signedPayload"],
    ):
        with pytest.raises(ForgedError):
            read_notification(config, signed, "m")


def test_what_is_not_set_is_named(store: AppStore, tmp_path: Path) -> None:
    assert missing_settings(config_of(store)) == []
    assert missing_settings(load(home=str(tmp_path))) == ["OLO_APPLE_ROOT_FILES", "OLO_BUNDLE_IOS", "OLO_APP_ID_IOS"]
