"""What pages have for trying things out: in development, on this machine, and nowhere else."""

import uuid
from pathlib import Path

import pytest

from infra.config import Config, ConfigError, Environment, load
from infra.vendors.app_store import read_notification, read_transaction
from infra.vendors.stand_in_store import StandInStore, settings_for, store_of
from schemas.purchase import WHOLE, ClaimPurchase
from tests.test_pages import Served

INTENT = str(uuid.UUID(int=7))
SALE = {"intent": INTENT, "product": "app.c", "country": "DE", "currency": "EUR", "price_milliunits": 4_990}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """No pages: they are not asked for."""
    return tmp_path / "pages"


def sells(folder: Path) -> Config:
    """Settings of a platform in development that sells by a stand-in, as `olo up` makes them."""
    settings = settings_for(load(), folder)
    return load(**{name.removeprefix("OLO_").lower(): value for name, value in settings.items()})


@pytest.mark.parametrize(
    ("address", "body", "status"),
    [
        ("127.0.0.1", {"user": "ann"}, 200),
        ("::1", {"user": "root", "role": "admin"}, 200),
        ("192.0.2.7", {"user": "ann"}, 403),
        ("127.0.0.1", {"user": ""}, 422),
        ("127.0.0.1", {"user": "a b"}, 422),
        ("127.0.0.1", {"user": "ann", "role": "king"}, 422),
        ("127.0.0.1", {"user": "ann", "more": 1}, 422),
        ("127.0.0.1", {}, 422),
    ],
)
def test_who_gets_a_development_token(files: Path, address: str, body: dict[str, object], status: int) -> None:
    answer = Served(files, address=address).post("/development/tokens", json=body)
    assert answer.status_code == status
    assert ("token" in answer.json()) == (status == 200)


def test_production_makes_no_tokens(files: Path) -> None:
    config = load().model_copy(update={"env": Environment.PRODUCTION})
    assert Served(files, config).post("/development/tokens", json={"user": "ann"}).status_code == 404


def test_the_stand_in_sells_what_the_platform_credits_and_an_intent_once(files: Path, tmp_path: Path) -> None:
    """Again, and by a store that was opened anew: the same transaction. Taken back it is the same one, and newer."""
    config = sells(tmp_path / "store")
    claims = []
    for _ in range(2):
        answer = Served(files, config).post("/development/store/purchases", json=SALE)
        claims.append(read_transaction(config, answer.json()["signed_transaction"], "bob", "m"))
    first, second = claims
    assert isinstance(first, ClaimPurchase)
    assert isinstance(second, ClaimPurchase)
    assert first.purchase == second.purchase == "apple_sandbox:7"
    assert (first.intent, first.store_product, first.country, first.currency) == (INTENT, "app.c", "DE", "EUR")
    assert first.price_milliunits == 4_990
    told = Served(files, config).post("/development/store/refunds", json=answer.json()).json()
    refund = read_notification(config, told["signedPayload"], "m")
    assert isinstance(refund, ClaimPurchase)
    assert (refund.purchase, refund.revoked_parts) == ("apple_sandbox:7", WHOLE)
    assert refund.signed_at > second.signed_at


def test_what_is_sold_without_a_price_has_none(files: Path, tmp_path: Path) -> None:
    config = sells(tmp_path / "store")
    answer = Served(files, config).post("/development/store/purchases", json={"intent": INTENT, "product": "app.c"})
    claim = read_transaction(config, answer.json()["signed_transaction"], "bob", "m")
    assert (claim.price_milliunits, claim.currency, claim.country) == (0, "", "")


@pytest.mark.parametrize(
    ("route", "body", "address", "status"),
    [
        ("purchases", SALE, "192.0.2.7", 403),
        ("refunds", {"signed_transaction": "a.b.c"}, "192.0.2.7", 403),
        ("refunds", {"signed_transaction": "a.b.c"}, "127.0.0.1", 422),
        ("purchases", SALE | {"intent": "none"}, "127.0.0.1", 422),
        ("purchases", SALE | {"price_milliunits": -1}, "127.0.0.1", 422),
        ("purchases", SALE | {"country": "<b>"}, "127.0.0.1", 422),
        ("purchases", SALE | {"user": "ann"}, "127.0.0.1", 422),
    ],
)
def test_what_the_stand_in_refuses(tmp_path: Path, route: str, body: dict[str, object], address: str, status: int) -> None:
    served = Served(tmp_path / "pages", sells(tmp_path / "store"), address)
    assert served.post(f"/development/store/{route}", json=body).status_code == status


def test_of_another_stand_in_nothing_is_taken_back(files: Path, tmp_path: Path) -> None:
    forged = StandInStore(tmp_path / "another").sell("app.c", INTENT)
    served = Served(files, sells(tmp_path / "store"))
    assert served.post("/development/store/refunds", json={"signed_transaction": forged}).status_code == 422


def test_production_has_no_stand_in_and_trusts_none(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No route, even with its root; `olo up` makes none; and serving, flows and commands refuse to start with its root."""
    config = sells(tmp_path / "store")
    assert store_of(config) is not None
    production = config.model_copy(update={"env": Environment.PRODUCTION})
    for route, body in (("purchases", SALE), ("refunds", {"signed_transaction": "a.b.c"})):
        assert Served(files, production).post(f"/development/store/{route}", json=body).status_code == 404
    assert settings_for(production.model_copy(update={"apple_root_files": ""}), tmp_path / "new") == {}
    assert not (tmp_path / "new").exists()
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    safe = {"env": "production", "firebase_project": "olo-real"}
    load(**safe)
    copied = tmp_path / "apple.cer"
    copied.write_bytes(Path(config.apple_root_files).read_bytes())
    with pytest.raises(ConfigError, match="OLO_APPLE_ROOT_FILES: production refuses"):
        load(**safe, apple_root_files=f"{tmp_path / 'none.cer'},{copied}")


def test_a_platform_that_has_a_store_makes_no_stand_in(tmp_path: Path) -> None:
    """Its roots are its own business; and there is no stand-in to be asked."""
    config = load(apple_root_files=str(tmp_path / "AppleRootCA-G3.cer"))
    assert settings_for(config, tmp_path / "store") == {}
    assert store_of(config) is None
