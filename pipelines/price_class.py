"""Price classes, keyed by streamer. State: `schemas.price_class.PriceClasses`.

Laws: what is picked is approved, or empty. Refusals: `schemas.price_class.PriceClassRefusal`, in order of precedence.
"""

from collections.abc import Sequence

from schemas.log.base import Message, Wake, reply, same_fields
from schemas.price_class import (
    ApprovePriceClasses,
    PickPriceClass,
    PriceClasses,
    PriceClassesApproved,
    PriceClassInbox,
    PriceClassPicked,
    PriceClassRefusal,
    PriceClassRefused,
)
from schemas.user import UserErased

Decision = tuple[PriceClasses | None, Sequence[Message]]


def decide_price_class(state: PriceClasses | None, message: PriceClassInbox) -> Decision:
    """Decide one message about a streamer's classes."""
    match message:
        case UserErased():
            return PriceClasses(erased_at=message.at), ()
        case Wake():
            return (None if state is not None and state.is_due(message.at) else state), ()
    known = state or PriceClasses()
    if known.erased_at is not None:
        return _refused(state, message, PriceClassRefusal.STREAMER_ERASED)
    if isinstance(message, ApprovePriceClasses):
        classes = tuple(sorted(set(message.classes)))
        after = PriceClasses(classes=classes, price_class=known.price_class if known.price_class in classes else "")
        told = PriceClassesApproved(
            **reply(message), user=message.user, by=message.by, **same_fields(after, PriceClassesApproved)
        )
        return after, (told,)
    if message.price_class and message.price_class not in known.classes:
        return _refused(state, message, PriceClassRefusal.CLASS_NOT_APPROVED)
    after = PriceClasses(classes=known.classes, price_class=message.price_class)
    return after, (PriceClassPicked(**reply(message), user=message.user, **same_fields(after, PriceClassPicked)),)


def _refused(state: PriceClasses | None, message: ApprovePriceClasses | PickPriceClass, refusal: PriceClassRefusal) -> Decision:
    return state, (PriceClassRefused(**reply(message), user=message.user, refusal=refusal),)
