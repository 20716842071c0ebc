"""A gift, keyed by gift id, and a catalogue's item, keyed by item id.

A gift asks the receiver's line whether it may come and the catalogue what it costs, then the sender's account; the streamer's
share is credited in the decision that hears of the debit. Paid to, and shared from, the outside party `@gifts`.
Laws: a gift is paid at most once and credited exactly when it was paid; the same request again gets the same answer.
Refusals: `schemas.gift.GiftRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from msgspec.structs import replace

from schemas.balance import (
    AccountRefused,
    Credit,
    EntryKind,
    EntryRecorded,
    Reason,
    Refusal,
    Transfer,
    coins_account,
    earnings_account,
)
from schemas.gift import (
    GIFTS,
    Gift,
    GiftInbox,
    GiftItem,
    GiftItemInbox,
    GiftItemPut,
    GiftItemRefused,
    GiftPriced,
    GiftRefusal,
    GiftRefused,
    GiftRepeated,
    GiftSent,
    PriceGift,
    PutGiftItem,
    SendGift,
)
from schemas.log.base import Message, MessageId, UserId, Wake, derived_id
from schemas.video_line import AdmitGift, GiftAdmitted, LineRefusal

REMEMBERED_FOR: Final = timedelta(days=1)
OF_LINE: Final = {
    LineRefusal.UNKNOWN: GiftRefusal.RECEIVER_UNKNOWN,
    LineRefusal.BANNED: GiftRefusal.RECEIVER_BANNED,
    LineRefusal.BLOCKED: GiftRefusal.BLOCKED,
}
OF_ACCOUNT: Final = {
    Refusal.ACCOUNT_UNKNOWN: GiftRefusal.ACCOUNT_UNKNOWN,
    Refusal.ACCOUNT_FROZEN: GiftRefusal.ACCOUNT_FROZEN,
    Refusal.INSUFFICIENT_COINS: GiftRefusal.INSUFFICIENT_COINS,
}

Decision = tuple[Gift | None, Sequence[Message]]


def decide_gift(gift: Gift | None, message: GiftInbox) -> Decision:
    """Decide one message of a gift's inbox."""
    match message:
        case SendGift():
            return _begin(message) if gift is None else (gift, (_again(gift, message),))
        case _ if gift is None:
            return None, ()
        case Wake():
            return (None, ()) if gift.forget_at <= message.at else (gift, ())
        case _ if gift.sent or gift.refusal is not None:
            return gift, ()
        case GiftAdmitted():
            return _ready(replace(gift, admitted=True), message, OF_LINE.get(message.refusal) if message.refusal else None)
        case GiftPriced():
            priced = replace(gift, price_coins=message.price_coins, share_coins=message.share_coins)
            return _ready(priced, message, message.refusal)
        case EntryRecorded():
            return _paid(gift, message)
        case AccountRefused():
            short = replace(gift, shortfall_coins=message.shortfall_coins)
            return _refuse(short, message, message.ref, OF_ACCOUNT[message.refusal])


def _of(name: str, gift: Gift, message: Message, cause: str) -> dict[str, Any]:
    return {
        "id": derived_id(message.id, "gift"), "at": message.at, "cause": cause, "gift": name, "sender": gift.sender,
        "receiver": gift.receiver, "item": gift.item, "call": gift.call,
    }  # fmt: skip


def _begin(message: SendGift) -> Decision:
    gift = Gift(
        UserId(message.sender),
        UserId(message.receiver),
        message.item,
        MessageId(message.id),
        message.at + REMEMBERED_FOR,
        message.call,
    )
    if message.sender == message.receiver:
        return _refuse(gift, message, message.gift, GiftRefusal.SAME_USER)
    admit = AdmitGift(
        id=derived_id(message.id, 0), at=message.at, user=message.receiver, gift=message.gift, peer=message.sender
    )  # fmt: skip
    price = PriceGift(id=derived_id(message.id, 1), at=message.at, item=message.item, gift=message.gift)
    return gift, (admit, price)


def _again(gift: Gift, message: SendGift) -> Message:
    told = _of(message.gift, gift, message, message.id)
    if (message.sender, message.receiver, message.item, message.call) != (gift.sender, gift.receiver, gift.item, gift.call):
        return GiftRefused(**told, refusal=GiftRefusal.IDEMPOTENCY_KEY_REUSED)
    price = gift.price_coins if gift.sent else 0
    return GiftRepeated(
        **told, price_coins=price, share_coins=gift.share_coins, refusal=gift.refusal, shortfall_coins=gift.shortfall_coins
    )  # fmt: skip


def _ready(gift: Gift, message: GiftAdmitted | GiftPriced, refusal: GiftRefusal | None) -> Decision:
    """One of the two answers; with both the account is asked."""
    if refusal is not None:
        return _refuse(gift, message, message.gift, refusal)
    if not gift.admitted or not gift.price_coins:
        return gift, ()
    debit = Transfer(
        id=f"{message.gift}/debit",
        at=message.at,
        account=coins_account(gift.sender),
        to=GIFTS,
        coins=gift.price_coins,
        reason=Reason.GIFT,
        ref=message.gift,
    )
    return gift, (debit,)


def _paid(gift: Gift, entry: EntryRecorded) -> Decision:
    if entry.kind is not EntryKind.DEBIT:
        return gift, ()
    sent = GiftSent(
        **_of(entry.ref, gift, entry, gift.asked), price_coins=gift.price_coins, share_coins=gift.share_coins
    )  # fmt: skip
    told: list[Message] = [sent]
    if gift.share_coins:
        told.append(
            Credit(
                id=f"{entry.ref}/credit",
                at=entry.at,
                account=earnings_account(gift.receiver),
                counterparty=GIFTS,
                coins=gift.share_coins,
                reason=Reason.GIFT,
                ref=entry.ref,
            )
        )
    return replace(gift, sent=True), told


def _refuse(gift: Gift, message: Message, name: str, refusal: GiftRefusal) -> Decision:
    refused = GiftRefused(**_of(name, gift, message, gift.asked), refusal=refusal, shortfall_coins=gift.shortfall_coins)
    return replace(gift, refusal=refusal), (refused,)


# --- the catalogue ----------------------------------------------------------------------------------------------------------


def decide_gift_item(item: GiftItem | None, message: GiftItemInbox) -> tuple[GiftItem | None, Sequence[Message]]:
    """Decide one message of a catalogue item's inbox."""
    match message:
        case Wake():
            return item, ()
        case PutGiftItem():
            return _put(item, message)
        case PriceGift():
            refusal = GiftRefusal.GIFT_UNKNOWN if item is None else None if item.active else GiftRefusal.GIFT_INACTIVE
            priced = GiftPriced(
                id=derived_id(message.id, 0),
                at=message.at,
                cause=message.id,
                item=message.item,
                gift=message.gift,
                price_coins=item.price_coins if item else 0,
                share_coins=item.share_coins if item else 0,
                refusal=refusal,
            )
            return item, (priced,)


def _put(item: GiftItem | None, message: PutGiftItem) -> tuple[GiftItem | None, Sequence[Message]]:
    told: dict[str, Any] = {"id": derived_id(message.id, 0), "at": message.at, "cause": message.id, "item": message.item}
    if message.share_coins > message.price_coins:
        return item, (GiftItemRefused(**told, refusal=GiftRefusal.SHARE_ABOVE_PRICE),)
    after = GiftItem(message.price_coins, message.share_coins, message.name, message.picture_url, message.active)
    put = GiftItemPut(
        **told,
        price_coins=message.price_coins,
        share_coins=message.share_coins,
        name=message.name,
        picture_url=message.picture_url,
        active=message.active,
        by=message.by,
    )
    return after, (put,)
