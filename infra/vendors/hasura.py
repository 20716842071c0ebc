"""Hasura, where an old back end's rows come from: event triggers (versions 1 and 2), JSON POSTs, at least once, in no order.

A delivery is authenticated by a header that the trigger sends, `X-Olo-Secret` or `Authorization: Bearer`, whose value is
OLO_HASURA_WEBHOOK_SECRET; Hasura does not sign. `id` is the event's, the same in each repeat. Whatever is answered but 2xx
comes again. What a delivery says is read by `infra.migration_mapping`.
"""

import hmac
from collections.abc import Mapping
from typing import Final

SOURCE: Final = "webhooks.hasura"


def genuine(secret: str, headers: Mapping[str, str]) -> bool:
    """Whether a delivery carries the secret."""
    given = headers.get("x-olo-secret") or headers.get("authorization", "").removeprefix("Bearer ")
    return bool(secret) and hmac.compare_digest(given.encode(errors="replace"), secret.encode())
