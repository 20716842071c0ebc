"""A purchase, keyed by store and transaction: it asks the intent that the store has signed into the transaction whose it is,
and drives that user's account to what the store's latest word says: a credit from the store's outside party, or a clawback.

State: what the store signed, what the intent pinned, what is credited (`schemas.purchase.Purchase`).
Laws: words of the store in any order, any number of times, lead to the same coins, those of the word that was signed last (of
two signed at once, the one that takes back more); they are those of the pinned version times the quantity, and nobody but the
intent's user gets them, whoever brought the transaction, in the ledger of the first word; what lapsed of a bonus is not taken
back, and no more than was credited; the ledger is asked for one movement at a time; every claim by a phone gets one answer; a
purchase whose store is told that it was consumed owes that once, behind its first credit, and raises one alarm where that is
not taken in time.
Refusals: `schemas.payment.PaymentRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from schemas.balance import (
    AccountRefused,
    Clawback,
    Credit,
    EntryKind,
    EntryRecorded,
    LotsRead,
    OpenAccount,
    ReadLots,
    Reason,
)
from schemas.balance_ledger import Ledger, account_in
from schemas.balance_lots import Lot
from schemas.log.base import Message, TransferId, UserId, Wake, derive, later, reply, same_fields
from schemas.outbox import APP_STORE, CONSUME_EXPIRES, PLAY, EffectKind, OweEffect, StoreActTaken, consume_id, tell_usage_id
from schemas.payment import MAX_ASKED, IntentRead, PaymentRefusal, ReadIntent, StoreAct, questions
from schemas.purchase import (
    ALARM_AFTER,
    BONUS,
    MAX_ASKS,
    MAX_QUANTITY,
    WHOLE,
    Asked,
    AskUsage,
    ClaimPurchase,
    Purchase,
    PurchaseConsumed,
    PurchaseCredited,
    PurchaseInbox,
    PurchaseRefunded,
    PurchaseRefused,
    PurchaseRepeated,
    PurchaseRestored,
    PurchaseUnconsumed,
    UsageAsk,
    UsageStated,
    UsageWithheld,
    bonus_lot,
    price_check,
    store_account,
    used_coins,
)

RETRY: timedelta = timedelta(hours=1)

Decision = tuple[Purchase | None, Sequence[Message]]


def decide_purchase(purchase: Purchase | None, message: PurchaseInbox) -> Decision:
    """Decide one message of a purchase's inbox."""
    match message:
        case ClaimPurchase():
            return _begin(message) if purchase is None else _again(purchase, message)
        case AskUsage():
            return _asked_usage(purchase, message)
        case _ if purchase is None:
            return None, ()
        case Wake():
            return _wake(purchase, message) if purchase.is_due(message.at) else (purchase, ())
        case IntentRead():
            return (purchase, ()) if purchase.user else _told(purchase, message)
        case EntryRecorded(kind=EntryKind.LAPSE):
            lapsed = replace(purchase, lapsed_coins=purchase.lapsed_coins - message.coins)
            return _drive(lapsed, message, message.ref.removesuffix(BONUS))
        case EntryRecorded():
            return _moved(purchase, message)
        case AccountRefused():
            return _refused_by_account(purchase, message)
        case LotsRead():
            return _state_usage(purchase, message)
        case StoreActTaken():
            return _consumed(purchase, message)


def _begin(message: ClaimPurchase) -> Decision:
    asked = Asked(message.id, message.user)
    if not 1 <= message.quantity <= MAX_QUANTITY:
        return None, (_refused(message, message.purchase, asked, PaymentRefusal.QUANTITY_IMPOSSIBLE),)
    if not message.intent:
        return None, (_refused(message, message.purchase, asked, PaymentRefusal.INTENT_UNKNOWN),)
    begun = Purchase(**same_fields(message, Purchase) | {"user": ""}, asked=(asked,))
    changeable = message.store_product if message.subscription else ""
    about = questions(message, changeable)
    return begun, (ReadIntent(**derive(message, "intent"), purchase=message.purchase, **about),)


def _again(purchase: Purchase, message: ClaimPurchase) -> Decision:
    """One more word of the store's, or the same again."""
    heard, asked = _hear(purchase, message), Asked(message.id, message.user)
    if any(one.id == message.id for one in heard.asked):
        return heard, ()
    if len(heard.asked) >= MAX_ASKED:
        return heard, (_refused(message, message.purchase, asked, PaymentRefusal.PURCHASE_IN_PROGRESS),)
    waiting = replace(heard, asked=(*heard.asked, asked))
    return _drive(waiting, message, message.purchase) if waiting.user else (waiting, ())


def _hear(purchase: Purchase, word: ClaimPurchase) -> Purchase:
    newer = (word.signed_at, word.revoked_parts / word.parts) > (purchase.signed_at, purchase.revoked_parts / purchase.parts)
    if not newer:
        return purchase
    return replace(purchase, signed_at=word.signed_at, revoked_parts=word.revoked_parts, parts=word.parts)


def _told(purchase: Purchase, read: IntentRead) -> Decision:
    """The intent says whose it is and what it gives."""
    if read.refusal is not None:
        return None, _refuse_all(purchase, read, read.purchase, read.refusal)
    sold_as = read.apple_id if purchase.store.is_apple else read.google_id
    if purchase.store_product != sold_as or bool(purchase.subscription) != read.renewing:
        return None, _refuse_all(purchase, read, read.purchase, PaymentRefusal.PRODUCT_DIFFERS)
    check = price_check(read.prices, purchase.currency, purchase.price_milliunits, purchase.quantity)
    if check is None:
        return None, _refuse_all(purchase, read, read.purchase, PaymentRefusal.CURRENCY_DIFFERS)
    bonus_coins = read.bonus_coins * purchase.quantity
    fields = same_fields(read, Purchase) | {"coins": read.coins * purchase.quantity + bonus_coins, "bonus_coins": bonus_coins}
    fields |= {"intent": purchase.intent, "store_product": purchase.store_product, "price_check": check}
    known = replace(purchase, **fields)
    after, told = _drive(known, read, read.purchase)
    if known.due_coins or after is None:
        return after, told
    fields = _change(known) | {"coins": 0, "net_coins": 0}
    return after, (*told, PurchaseRefunded(**reply(read, "refund"), purchase=read.purchase, **fields))


def _drive(purchase: Purchase, message: Message, name: str) -> Decision:
    """Ask the ledger for what is missing to what the store's latest word says; when nothing is, answer all who wait."""
    if purchase.moving_coins:
        return purchase, ()
    missing = purchase.due_coins - purchase.net_coins
    if not missing:
        answers = [_answer(purchase, name, message, one, f"purchase/{n}") for n, one in enumerate(purchase.asked)]
        return replace(purchase, asked=()), answers
    account, store = account_in(purchase.ledger, purchase.user), store_account(purchase.store)
    moving, lots = replace(purchase, moving_coins=missing), (name, bonus_lot(name))
    if missing < 0:
        back = Clawback(
            **derive(message, "clawback"), account=account, counterparty=store, coins=-missing, reason=Reason.REFUND, ref=name,
            lots=lots, freeze_above_coins=purchase.freeze_above_debt_coins,
        )  # fmt: skip
        return moving, (back,)
    reason = Reason.REFUND if purchase.credited else Reason.PURCHASE
    credit = Credit(
        **derive(message, "credit"), account=account, counterparty=store, coins=missing, reason=reason, ref=name,
        lots=_lots(purchase, name, message, missing),
    )  # fmt: skip
    if purchase.ledger is Ledger.ORDINARY:
        return moving, (credit,)
    return moving, (OpenAccount(**derive(message, "open"), account=account), credit)  # signing up opens none of a tester's


def _lots(purchase: Purchase, name: str, message: Message, coins: int) -> tuple[Lot, ...]:
    """What is credited keeps the purchase's name; the bonus may expire. What comes back behind a refund does not."""
    bonus = min(purchase.bonus_coins, coins) if purchase.bonus_days and not purchase.credited else 0
    lots = (Lot(name, coins - bonus),) if coins > bonus else ()
    if not bonus:
        return lots
    return *lots, Lot(bonus_lot(name), bonus, later(message.at, timedelta(days=purchase.bonus_days)))


def _moved(purchase: Purchase, entry: EntryRecorded) -> Decision:
    """The ledger did what it was asked for."""
    moved = purchase.moving_coins
    if entry.kind is not (EntryKind.CREDIT if moved > 0 else EntryKind.CLAWBACK) or not moved:
        return purchase, ()
    net = purchase.net_coins + moved
    after = replace(purchase, credited=True, returned_coins=purchase.coins - net, moving_coins=0, retry_at=None)
    fields = _change(after) | {"purchase": entry.ref, "coins": abs(moved), "net_coins": net}
    if moved < 0:
        fact: Message = PurchaseRefunded(**reply(entry, "refund"), owed_coins=entry.debt_change_coins, **fields)
    elif purchase.credited:
        fact = PurchaseRestored(**reply(entry, "restored"), **fields)
    else:
        after, fact = _credited(after, entry, moved)
    driven, told = _drive(after, entry, entry.ref)
    if not purchase.credited and purchase.token:
        driven = replace(driven, consume_by=later(entry.at, ALARM_AFTER)) if driven else None
        told = (*told, _consume(purchase, entry))
    return driven, (fact, *told)


def _change(purchase: Purchase) -> dict[str, Any]:
    """What a change tells of its purchase. Google counts in what was bought, facts in parts of all of it, as Apple does."""
    return same_fields(purchase, PurchaseRefunded) | {"revoked_parts": purchase.revoked_parts * WHOLE // purchase.parts}


def _credited(purchase: Purchase, entry: EntryRecorded, coins: int) -> tuple[Purchase, PurchaseCredited]:
    """The first claim that may hear so is told that the coins were credited, later ones that they had been."""
    first = next((one for one in purchase.asked if _may(purchase, one)), None)
    fields = same_fields(purchase, PurchaseCredited) | {"coins": coins}
    fact = PurchaseCredited(**reply(entry, "credited", to=first.id if first else ""), purchase=entry.ref, **fields)
    return replace(purchase, asked=tuple(one for one in purchase.asked if one is not first)), fact


def _consume(purchase: Purchase, entry: EntryRecorded) -> OweEffect:
    """The coins are there; now the store is told, until it has taken it."""
    return OweEffect(
        **derive(entry, "consume"), effect=consume_id(entry.ref), kind=EffectKind.CONSUME, provider=PLAY, subject=entry.ref,
        expires_at=later(entry.at, CONSUME_EXPIRES), store_act=StoreAct(purchase.store_product, purchase.token),
    )  # fmt: skip


def _consumed(purchase: Purchase, message: StoreActTaken) -> Decision:
    if purchase.consumed:
        return purchase, ()
    fields = same_fields(purchase, PurchaseConsumed)
    fact = PurchaseConsumed(**reply(message), purchase=message.purchase, **fields)
    return replace(purchase, consumed=True, consume_by=None), (fact,)


def _asked_usage(purchase: Purchase | None, message: AskUsage) -> Decision:
    """The store is told what of it was used, once the account has said what is left; or why not, we say only here."""
    withheld = _withheld(purchase, message)
    if withheld is not None or purchase is None:
        user = "" if purchase is None else purchase.user
        said = UsageStated(**reply(message), purchase=message.purchase, ask=message.ask, user=user, withheld=withheld)
        return purchase, (said,)
    if any(one.ask == message.ask for one in purchase.asks):
        return purchase, ()
    name = message.purchase
    read = ReadLots(
        **derive(message, "lots"), account=account_in(purchase.ledger, purchase.user), request=TransferId(name), purchase=name
    )
    return replace(purchase, asks=(*purchase.asks, UsageAsk(message.ask, message.until, message.token))), (read,)


def _withheld(purchase: Purchase | None, message: AskUsage) -> UsageWithheld | None:
    if purchase is None or not purchase.user:
        return UsageWithheld.PURCHASE_UNKNOWN
    if purchase.store.is_apple and not purchase.usage_consent:
        return UsageWithheld.NO_CONSENT
    if purchase.kept_coins <= 0:
        return UsageWithheld.TAKEN_BACK
    full = len(purchase.asks) >= MAX_ASKS and all(one.ask != message.ask for one in purchase.asks)
    return UsageWithheld.TOO_MANY if full else None


def _state_usage(purchase: Purchase, message: LotsRead) -> Decision:
    told: list[Message] = []
    name, net = message.purchase, purchase.net_coins
    used = used_coins(purchase, name, message.lots)
    withheld = UsageWithheld.ERASED if message.closed else None if purchase.kept_coins > 0 else UsageWithheld.TAKEN_BACK
    for number, one in enumerate(purchase.asks):
        fields: dict[str, Any] = {"coins": net, "used_coins": used or 0, "exact": used is not None}
        said = {"withheld": withheld} if withheld else fields
        told.append(UsageStated(**reply(message, number), purchase=name, ask=one.ask, user=purchase.user, **said))
        if withheld is None:
            parts = None if used is None else min(WHOLE, used * WHOLE // net)
            owed = OweEffect(
                **derive(message, f"usage/{number}"), effect=tell_usage_id(name, one.ask), kind=EffectKind.TELL_USAGE,
                provider=APP_STORE if purchase.store.is_apple else PLAY, subject=name, expires_at=one.until,
                store_act=StoreAct(purchase.store_product, one.token, parts),
            )  # fmt: skip
            told.append(owed)
    return replace(purchase, asks=()), told


def _wake(purchase: Purchase, message: Wake) -> Decision:
    """Time to ask the account again, or to say that the store has not taken yet that it was consumed."""
    told: list[Message] = []
    if purchase.consume_by is not None and purchase.consume_by <= message.at:
        if purchase.kept_coins > 0:
            fields = same_fields(purchase, PurchaseUnconsumed)
            told.append(PurchaseUnconsumed(**reply(message, "unconsumed"), purchase=message.key, **fields))
        purchase = replace(purchase, consume_by=None)
    if purchase.retry_at is None or purchase.retry_at > message.at:
        return purchase, told
    after, more = _drive(replace(purchase, retry_at=None), message, message.key)
    return after, (*told, *more)


def _may(purchase: Purchase, asked: Asked) -> bool:
    return asked.user in ("", purchase.user)


def _answer(purchase: Purchase, name: str, message: Message, asked: Asked, ordinal: str) -> Message:
    """What is said to one more claim when all is as the store says."""
    if not _may(purchase, asked):
        return _refused(message, name, asked, PaymentRefusal.PURCHASE_OF_ANOTHER, ordinal)
    if purchase.kept_coins <= 0:
        return _refused(message, name, asked, PaymentRefusal.TRANSACTION_REVOKED, ordinal)
    return PurchaseRepeated(
        **reply(message, ordinal, to=asked.id), purchase=name, user=UserId(purchase.user), product=purchase.product,
        coins=purchase.net_coins, ledger=purchase.ledger,
    )  # fmt: skip


def _refused_by_account(purchase: Purchase, message: AccountRefused) -> Decision:
    """The account cannot take the coins now: who asked hears so, and it is asked again later."""
    if not purchase.moving_coins:
        return purchase, ()
    refused = _refuse_all(purchase, message, message.ref, PaymentRefusal.ACCOUNT_REFUSES)
    return replace(purchase, asked=(), moving_coins=0, retry_at=later(message.at, RETRY)), refused


def _refuse_all(purchase: Purchase, message: Message, name: str, refusal: PaymentRefusal) -> list[Message]:
    asked = enumerate(purchase.asked)
    return [_refused(message, name, one, refusal, f"purchase/{number}") for number, one in asked]


def _refused(message: Message, name: str, asked: Asked, refusal: PaymentRefusal, ordinal: str = "0") -> PurchaseRefused:
    return PurchaseRefused(**reply(message, ordinal, to=asked.id), purchase=name, user=asked.user, refusal=refusal)
