"""A subscription, keyed by store and first transaction: what the store's words say of its latest period, a purchase for each
period that any word is of, and the tag that its user has while it lasts.

State: the latest period's words, and what the intent pinned (`schemas.subscription.Subscription`).
Laws: words in any order, any number of times, lead to the same standing; each period's coins come once, since the period is a
purchase under the store's own id, which follows refunds by itself; the tag is there while the store says that it lasts, and no
longer than SLACK behind what is paid for; every claim gets one answer.
Refusals: `schemas.payment.PaymentRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from schemas.log.base import Message, UserId, Wake, derive, later, reply, same_fields
from schemas.outbox import CONSUME_EXPIRES, PLAY, EffectKind, OweEffect, acknowledge_id
from schemas.panel import PutTag, RemoveTag
from schemas.payment import INTENT_KEPT_FOR, MAX_ASKED, IntentRead, KeepIntent, PaymentRefusal, ReadIntent, StoreAct
from schemas.purchase import Asked
from schemas.subscription import (
    GIVING,
    ClaimSubscription,
    Subscription,
    SubscriptionChanged,
    SubscriptionInbox,
    SubscriptionRefused,
    SubscriptionRepeated,
    heard,
    period_claim,
)

# What was told of it last.
SEEN: Final = ("seen", "seen_until", "seen_renews", "seen_transaction")

Decision = tuple[Subscription | None, Sequence[Message]]


def decide_subscription(state: Subscription | None, message: SubscriptionInbox) -> Decision:
    """Decide one message of a subscription's inbox."""
    match message:
        case ClaimSubscription():
            return _begin(message) if state is None else _again(state, message)
        case _ if state is None:
            return None, ()
        case IntentRead():
            return (state, ()) if state.user else _pinned(state, message)
        case Wake():
            return _stand(state, message.key, message) if state.is_due(message.at) else (state, ())


def _begin(word: ClaimSubscription) -> Decision:
    asked = Asked(word.id, word.user)
    if not word.intent:
        return None, (_refused(word, word.name, asked, PaymentRefusal.INTENT_UNKNOWN),)
    begun = Subscription(**same_fields(word, Subscription) | {"user": ""}, asked=(asked,))
    if not word.told_at.timestamp():
        begun = replace(begun, until=word.paid_until)
    read = ReadIntent(**derive(word, "intent"), intent=word.intent, purchase=word.name, country=word.country)
    return begun, (read, period_claim(word))


def _again(state: Subscription, word: ClaimSubscription) -> Decision:
    asked = Asked(word.id, word.user)
    if any(one.id == word.id for one in state.asked):
        return state, ()
    if word.store_product != state.store_product:
        return state, (_refused(word, word.name, asked, PaymentRefusal.PRODUCT_DIFFERS),)
    changes: dict[str, Any] = heard(state, word)
    after, claim = replace(state, **changes), period_claim(word)
    if len(state.asked) >= MAX_ASKED:
        return after, (claim, _refused(word, word.name, asked, PaymentRefusal.PURCHASE_IN_PROGRESS))
    waiting = replace(after, asked=(*state.asked, asked))
    if not waiting.user:
        return waiting, (claim,)
    stands, told = _stand(waiting, word.name, word)
    return stands, (claim, *told)


def _pinned(state: Subscription, read: IntentRead) -> Decision:
    refusal, sold_as = read.refusal, read.apple_id if state.store.is_apple else read.google_id
    if refusal is None and (state.store_product != sold_as or not read.renewing):
        refusal = PaymentRefusal.PRODUCT_DIFFERS
    if refusal is not None:
        return None, [_refused(read, read.purchase, one, refusal, f"{number}") for number, one in enumerate(state.asked)]
    return _stand(replace(state, **same_fields(read, Subscription)), read.purchase, read)


def _stand(state: Subscription, name: str, message: Message) -> Decision:
    """Tell where it stands, give or take the tag, keep the intent for the next period, and answer who waits."""
    status = state.status_at(message.at)
    gives, told = status in GIVING, list[Message]()
    fields = same_fields(state, SubscriptionChanged) | {"name": name, "user": UserId(state.user), "status": status}
    after = replace(
        state, seen=status, seen_until=state.until, seen_renews=state.renews, seen_transaction=state.transaction,
        tagged=gives and bool(state.tag), asked=(),
    )  # fmt: skip
    changed = any(
        getattr(after, one) != getattr(state, one) for one in ("seen", "seen_until", "seen_renews", "seen_transaction")
    )
    first = next((one for one in state.asked if _may(state, one)), None) if changed else None
    if changed:
        told.append(SubscriptionChanged(**reply(message, "changed", to=first.id if first else ""), **fields))
    if after.tagged != state.tagged:
        kind = PutTag if after.tagged else RemoveTag
        told.append(kind(**derive(message, "tag"), user=UserId(state.user), tag=state.tag, by=name))
    if after.seen_transaction != state.seen_transaction:
        until = later(state.paid_until, INTENT_KEPT_FOR)
        told.append(KeepIntent(**derive(message, "keep"), intent=state.intent, until=until))
    if state.seen is None and state.token:
        told.append(_acknowledge(state, name, message))
    for number, one in enumerate(one for one in state.asked if one is not first):
        if _may(state, one):
            told.append(SubscriptionRepeated(**reply(message, number, to=one.id), **fields))
        else:
            told.append(_refused(message, name, one, PaymentRefusal.PURCHASE_OF_ANOTHER, str(number)))
    return after, told


def _acknowledge(state: Subscription, name: str, message: Message) -> OweEffect:
    """Google gives back what nobody has acknowledged within three days."""
    return OweEffect(
        **derive(message, "acknowledge"), effect=acknowledge_id(name), kind=EffectKind.ACKNOWLEDGE, provider=PLAY, subject=name,
        expires_at=later(message.at, CONSUME_EXPIRES), store_act=StoreAct(state.store_product, state.token),
    )  # fmt: skip


def _may(state: Subscription, asked: Asked) -> bool:
    return asked.user in ("", state.user)


def _refused(message: Message, name: str, asked: Asked, refusal: PaymentRefusal, ordinal: str = "0") -> SubscriptionRefused:
    return SubscriptionRefused(**reply(message, ordinal, to=asked.id), name=name, user=asked.user, refusal=refusal)
