"""A subscription, keyed by store and first transaction: what the store's words say of its latest period, a purchase for each
period that any word is of, and the tag that its user has while it lasts.

State: the latest period's words, and what the intent pinned (`schemas.subscription.Subscription`).
Laws: words in any order, any number of times, lead to the same standing; each period's coins come once, since the period is a
purchase under the store's own id, which follows refunds by itself; the tag is there while the store says that it lasts, and no
longer than SLACK behind what is paid for; what is given follows the product of the running period, which may be another than
that of the one before, and another user's where its intent is; a tester's subscription of the sandbox's ledger
gives no tag; every claim gets one answer.
Refusals: `schemas.payment.PaymentRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from schemas.balance_ledger import Ledger
from schemas.log.base import EPOCH, Message, UserId, Wake, derive, later, reply, same_fields
from schemas.outbox import CONSUME_EXPIRES, PLAY, EffectKind, OweEffect, acknowledge_id
from schemas.panel import PutTag, RemoveTag
from schemas.payment import (
    INTENT_KEPT_FOR,
    MAX_ASKED,
    IntentRead,
    KeepIntent,
    PaymentRefusal,
    ReadIntent,
    StoreAct,
    questions,
)
from schemas.purchase import Asked
from schemas.subscription import (
    GIVING,
    ClaimSubscription,
    Subscription,
    SubscriptionChanged,
    SubscriptionInbox,
    SubscriptionRefused,
    SubscriptionRepeated,
    SubscriptionStatus,
    heard,
    period_claim,
)

# What was told of it last.
SEEN: Final = {
    "seen": None, "seen_until": EPOCH, "seen_renews": True, "seen_transaction": "", "seen_next": "",
}  # fmt: skip
# What an intent has pinned, of a period whose intent has not, or says that there is nothing.
UNPINNED: Final = SEEN | {
    "user": "", "product": "", "version": 0, "tagged": False, "pinned_intent": "", "coins": 0, "bonus_coins": 0,
    "bonus_days": 0, "apple_id": "", "google_id": "", "freeze_above_debt_coins": None, "renewing": False, "tag": "",
}  # fmt: skip

Decision = tuple[Subscription | None, Sequence[Message]]


def decide_subscription(state: Subscription | None, message: SubscriptionInbox) -> Decision:
    """Decide one message of a subscription's inbox."""
    match message:
        case ClaimSubscription():
            return _begin(message) if state is None else _again(state, message)
        case _ if state is None:
            return None, ()
        case IntentRead():
            return _read(state, message) if _is_meant(state, message) else (state, ())
        case Wake():
            return _stand(state, message.key, message) if state.is_due(message.at) else (state, ())


def _begin(word: ClaimSubscription) -> Decision:
    asked = Asked(word.id, word.user)
    if not word.intent:
        return None, (_refused(word, word.name, asked, PaymentRefusal.INTENT_UNKNOWN),)
    begun = Subscription(**same_fields(word, Subscription) | {"user": ""}, asked=(asked,), reading=True)
    if not word.told_at.timestamp():
        begun = replace(begun, until=word.paid_until)
    return begun, (_ask(begun, word), period_claim(word))


def _again(state: Subscription, word: ClaimSubscription) -> Decision:
    asked = Asked(word.id, word.user)
    if any(one.id == word.id for one in state.asked):
        return state, ()
    if not word.intent:
        word = replace(word, intent=state.intent)
    changes: dict[str, Any] = heard(state, word)
    after, told = replace(state, **changes), list[Message]([period_claim(word)])
    if len(state.asked) >= MAX_ASKED:
        told.append(_refused(word, word.name, asked, PaymentRefusal.PURCHASE_IN_PROGRESS))
    else:
        after = replace(after, asked=(*state.asked, asked))
    if state.user and state.token != after.token:
        told.append(_acknowledge(after, word.name, word, f"{word.name}/{after.transaction}"))
    if _pinned_by(after) != _pinned_by(state) or not (after.product or after.reading):
        return replace(after, reading=True), [*told, _ask(after, word)]
    if after.reading:
        return after, told
    stands, more = _stand(after, word.name, word)
    return stands, [*told, *more]


def _ask(state: Subscription, word: ClaimSubscription) -> ReadIntent:
    return ReadIntent(**derive(word, "intent"), purchase=word.name, **questions(state, state.store_product))


def _pinned_by(state: Subscription) -> tuple[str, str, str]:
    """What decides whose the period is, and what it gives."""
    return state.intent, state.store_product, state.linked_intent


def _is_meant(state: Subscription, read: IntentRead) -> bool:
    """Whether the answer is of this period's intent and product: a later period may have come meanwhile."""
    meant = (read.signed or read.intent, read.store_product or state.store_product) == (state.intent, state.store_product)
    return meant and (state.reading or not state.product)


def _read(state: Subscription, read: IntentRead) -> Decision:
    """The period's intent says whose it is and what it gives; what the one before gave is over where it differs."""
    refusal, sold_as = read.refusal, read.apple_id if state.store.is_apple else read.google_id
    if refusal is None and (state.store_product != sold_as or not read.renewing):
        refusal = PaymentRefusal.PRODUCT_DIFFERS
    fields: dict[str, Any] = {"user": "", "tag": ""} if refusal else same_fields(read, Subscription)
    over = _over(state, read, fields["user"], fields["tag"])
    if refusal is not None:
        refused = [_refused(read, read.purchase, one, refusal, f"{number}") for number, one in enumerate(state.asked)]
        return replace(state, **UNPINNED, asked=(), reading=False), [*over, *refused]
    fields |= {"store_product": state.store_product, "intent": state.intent, "pinned_intent": read.intent, "reading": False}
    same_tag = (state.user, state.tag) == (read.user, read.tag)
    kept = {"tagged": state.tagged and same_tag} | (SEEN if state.user != read.user else {})
    after, told = _stand(replace(state, **fields | kept), read.purchase, read)
    return after, [*over, *told]


def _over(state: Subscription, read: IntentRead, user: str, tag: str) -> list[Message]:
    """What was given for the period before is taken where the new one does not give it; a user whose it is not any more hears
    that it is over."""
    told: list[Message] = []
    if state.tagged and (state.user, state.tag) != (user, tag):
        told.append(RemoveTag(**derive(read, "untag"), user=UserId(state.user), tag=state.tag, by=read.purchase))
    if state.seen in GIVING and state.user != user:
        over = {"name": read.purchase, "user": UserId(state.user), "status": SubscriptionStatus.EXPIRED, "until": read.at}
        told.append(SubscriptionChanged(**reply(read, "over"), **same_fields(state, SubscriptionChanged) | over))
    return told


def _stand(state: Subscription, name: str, message: Message) -> Decision:
    """Tell where it stands, give or take the tag, keep the intent for the next period, and answer who waits."""
    status = state.status_at(message.at)
    gives, told = status in GIVING, list[Message]()
    fields = same_fields(state, SubscriptionChanged) | {"name": name, "user": UserId(state.user), "status": status}
    after = replace(
        state, seen=status, seen_until=state.until, seen_renews=state.renews, seen_transaction=state.transaction,
        seen_next=state.next_store_product, tagged=gives and bool(state.tag) and state.ledger is Ledger.ORDINARY, asked=(),
    )  # fmt: skip
    changed = any(getattr(after, one) != getattr(state, one) for one in SEEN)
    first = next((one for one in state.asked if _may(state, one)), None) if changed else None
    if changed:
        told.append(SubscriptionChanged(**reply(message, "changed", to=first.id if first else ""), **fields))
    if after.tagged != state.tagged:
        kind = PutTag if after.tagged else RemoveTag
        told.append(kind(**derive(message, "tag"), user=UserId(state.user), tag=state.tag, by=name))
    if after.seen_transaction != state.seen_transaction:
        until = later(state.paid_until, INTENT_KEPT_FOR)
        told.append(KeepIntent(**derive(message, "keep"), intent=state.intent, until=until))
        if state.pinned_intent not in ("", state.intent):
            told.append(KeepIntent(**derive(message, "keep/product"), intent=state.pinned_intent, until=until))
    if state.seen is None and state.token:
        told.append(_acknowledge(state, name, message, name))
    for number, one in enumerate(one for one in state.asked if one is not first):
        if _may(state, one):
            told.append(SubscriptionRepeated(**reply(message, number, to=one.id), **fields))
        else:
            told.append(_refused(message, name, one, PaymentRefusal.PURCHASE_OF_ANOTHER, str(number)))
    return after, told


def _acknowledge(state: Subscription, name: str, message: Message, token_of: str) -> OweEffect:
    """Google gives back what nobody has acknowledged within three days: each of its tokens."""
    return OweEffect(
        **derive(message, "acknowledge"), effect=acknowledge_id(token_of), kind=EffectKind.ACKNOWLEDGE, provider=PLAY,
        subject=name, expires_at=later(message.at, CONSUME_EXPIRES), store_act=StoreAct(state.store_product, state.token),
    )  # fmt: skip


def _may(state: Subscription, asked: Asked) -> bool:
    return asked.user in ("", state.user)


def _refused(message: Message, name: str, asked: Asked, refusal: PaymentRefusal, ordinal: str = "0") -> SubscriptionRefused:
    return SubscriptionRefused(**reply(message, ordinal, to=asked.id), name=name, user=asked.user, refusal=refusal)
