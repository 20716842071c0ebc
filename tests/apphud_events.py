"""What Apphud posts, for tests."""

from typing import Any


def event(id_: str = "ev1", name: str = "non_renewing_purchase", transaction: str = "7", **more: Any) -> dict[str, Any]:
    """What Apphud posts."""
    receipt = {"transaction_id": transaction, "price": 4.99, "price_usd": 5.4, "currency": "EUR"} | more.pop("receipt", {})
    told = {"id": id_, "name": name, "created_at": "2029-12-31T23:00:00.000Z", "store": "app_store", **more}
    return {
        "app": {"uid": "a", "bundle_id": "app.olo"},
        "event": told | {"properties": {"product_id": "coins.100"}, "receipt": receipt},
        "user": {"uid": "u", "user_id": "bob", "subscriptions": [{"environment": "production"}]},
    }  # fmt: skip
