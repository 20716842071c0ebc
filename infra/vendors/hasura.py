"""Hasura, where an old back end's rows come from: event triggers (versions 1 and 2), JSON POSTs, at least once, in no order.

A delivery is authenticated by a header that the trigger sends, `X-Olo-Secret` or `Authorization: Bearer`, whose value is
OLO_HASURA_WEBHOOK_SECRET; Hasura does not sign. `id` is the event's, the same in each repeat. Whatever is answered but 2xx
comes again. What a delivery says is read by `infra.migration_mapping`.
"""

from collections.abc import Mapping
from typing import Final

from infra.vendors.webhook import carries, token_in

SOURCE: Final = "webhooks.hasura"


def genuine(secret: str, headers: Mapping[str, str]) -> bool:
    """Whether a delivery carries the secret."""
    return carries(secret, token_in(headers, "x-olo-secret"))
