"""The stand-in for the App Store as tests use it: with the periods of subscriptions, too. What a test spoils is spoilt by the
caller: another stand-in's root, another bundle, a field."""

from datetime import UTC, datetime, timedelta
from typing import Any

from infra.vendors.stand_in_store import StandInStore


class AppStore(StandInStore):
    """Sells at a bundle, in an environment."""

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
