"""What Apphud tells, keyed by purchase. State: `schemas.apphud.Apphud`.

Laws: an event counts once; what stands does not depend on the order in which events come; no coins move. Nothing is refused.
"""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from schemas.apphud import (
    MAX_SEEN,
    Apphud,
    ApphudEventRecorded,
    ApphudEventRepeated,
    ApphudInbox,
    ApphudKind,
    RecordApphudEvent,
)
from schemas.log.base import Message, Wake, reply, same_fields


def decide_apphud(known: Apphud | None, message: ApphudInbox) -> tuple[Apphud | None, Sequence[Message]]:
    """Decide one message about a transaction."""
    if isinstance(message, Wake):
        return (None if known is not None and known.is_due(message.at) else known), ()
    if known is not None and message.event in known.seen:
        return known, (ApphudEventRepeated(**reply(message), purchase=message.purchase, event=message.event),)
    recorded = ApphudEventRecorded(**reply(message), **same_fields(message, ApphudEventRecorded))
    return _after(known or Apphud(message.store, message.at), message), (recorded,)


def _after(known: Apphud, message: RecordApphudEvent) -> Apphud:
    at = message.happened_at
    bought = _latest(known.bought_at, at) if message.kind is ApphudKind.BOUGHT else known.bought_at
    refunded = _latest(known.refunded_at, at) if message.kind is ApphudKind.REFUNDED else known.refunded_at
    after = replace(
        known, heard_at=message.at, bought_at=bought, refunded_at=refunded, seen=(*known.seen, message.event)[-MAX_SEEN:]
    )  # fmt: skip
    # What it cost, and who bought it, is said when it is bought; of two events of a moment by the one of the greater id.
    if message.kind is not ApphudKind.BOUGHT or (at, message.event) < (known.said_at or at, known.said_by):
        return after
    return replace(
        after, said_at=at, said_by=message.event, store_product=message.store_product, user=message.user,
        price_milliunits=message.price_milliunits, currency=message.currency,
    )  # fmt: skip


def _latest(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
