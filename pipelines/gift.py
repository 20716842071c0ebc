"""A gift, keyed by gift id, and a catalogue's item, keyed by item id.

A gift asks both lines whether it may come and the catalogue what it costs, then the sender's account; the streamer's
share is credited in the decision that hears of the debit. Paid to, and shared from, the outside party `@gifts`, or with a
tester's coins `@gifts_sandbox`: the receiver's account in that ledger is opened by the first such gift.
Laws: who is banned, or has not signed up, gives nothing and is given nothing; a gift is paid at most once and credited exactly
when it was paid, in the ledger in which it was paid; the same request again gets the same answer.
Refusals: `schemas.gift.GiftRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from schemas.balance import (
    AccountRefused,
    Credit,
    EntryKind,
    EntryRecorded,
    OpenAccount,
    Reason,
    Refusal,
    Transfer,
)
from schemas.balance_ledger import EARNINGS, Ledger, account_in, party_in
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
from schemas.log.base import REMEMBERED_FOR, Message, MessageId, Wake, derive, later, reply, same_fields
from schemas.video_line import AdmitGift, GiftAdmitted, LineRefusal

OF_SENDER: Final = {
    LineRefusal.UNKNOWN: GiftRefusal.ACCOUNT_UNKNOWN,
    LineRefusal.BANNED: GiftRefusal.SENDER_BANNED,
    LineRefusal.BLOCKED: GiftRefusal.BLOCKED,
}
OF_RECEIVER: Final = {
    LineRefusal.UNKNOWN: GiftRefusal.RECEIVER_UNKNOWN,
    LineRefusal.NO_TALKER: GiftRefusal.RECEIVER_UNKNOWN,
    LineRefusal.BANNED: GiftRefusal.RECEIVER_BANNED,
    LineRefusal.BLOCKED: GiftRefusal.RECEIVER_BLOCKS,
}
OF_ACCOUNT: Final = {
    Refusal.ACCOUNT_UNKNOWN: GiftRefusal.ACCOUNT_UNKNOWN,
    Refusal.ACCOUNT_FROZEN: GiftRefusal.ACCOUNT_FROZEN,
    Refusal.INSUFFICIENT_COINS: GiftRefusal.INSUFFICIENT_COINS,
    Refusal.DAILY_CAP: GiftRefusal.DAILY_CAP,
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
            return (None if gift.is_due(message.at) else gift), ()
        case _ if gift.sent or gift.refusal is not None:
            return gift, ()
        case GiftAdmitted() if message.user == gift.sender:
            refusal = OF_SENDER.get(message.refusal) if message.refusal else None
            return _ready(replace(gift, asks_sender=False), message, refusal)
        case GiftAdmitted():
            return _ready(replace(gift, admitted=True), message, OF_RECEIVER.get(message.refusal) if message.refusal else None)
        case GiftPriced():
            priced = replace(gift, price_coins=message.price_coins, share_coins=message.share_coins)
            return _ready(priced, message, message.refusal)
        case EntryRecorded():
            return _paid(gift, message)
        case AccountRefused() if message.refusal is Refusal.ACCOUNT_UNKNOWN and gift.ledger is Ledger.SANDBOX:
            never = replace(gift, shortfall_coins=gift.price_coins)  # a tester who has bought nothing yet
            return _refuse(never, message, message.ref, GiftRefusal.INSUFFICIENT_COINS)
        case AccountRefused():
            short = replace(gift, shortfall_coins=message.shortfall_coins, cap_room=message.cap_room)
            return _refuse(short, message, message.ref, OF_ACCOUNT.get(message.refusal, GiftRefusal.ACCOUNT_UNKNOWN))


def _begin(message: SendGift) -> Decision:
    asked, forget_at = MessageId(message.id), later(message.at, REMEMBERED_FOR)
    gift = Gift(**same_fields(message, Gift), asked=asked, forget_at=forget_at, asks_sender=True)
    if message.sender == message.receiver:
        return _refuse(gift, message, message.gift, GiftRefusal.SAME_USER)
    admit = AdmitGift(**derive(message, 0), user=message.receiver, gift=message.gift, peer=message.sender)
    price = PriceGift(**derive(message, 1), item=message.item, gift=message.gift)
    own = AdmitGift(**derive(message, 2), user=message.sender, gift=message.gift, peer=message.receiver)
    return gift, (admit, price, own)


def _again(gift: Gift, message: SendGift) -> Message:
    asked = (message.sender, message.receiver, message.item, message.call, message.ledger)
    if asked != (gift.sender, gift.receiver, gift.item, gift.call, gift.ledger):
        refused = replace(gift, refusal=GiftRefusal.IDEMPOTENCY_KEY_REUSED, shortfall_coins=0, cap_room=None)
        return GiftRefused(**reply(message, "gift"), gift=message.gift, **same_fields(refused, GiftRefused))
    shown = gift if gift.sent else replace(gift, price_coins=0)
    return GiftRepeated(**reply(message, "gift"), gift=message.gift, **same_fields(shown, GiftRepeated))


def _ready(gift: Gift, message: GiftAdmitted | GiftPriced, refusal: GiftRefusal | None) -> Decision:
    """One of the three answers; with all of them the account is asked."""
    if refusal is not None:
        return _refuse(gift, message, message.gift, refusal)
    if not gift.admitted or gift.asks_sender or not gift.price_coins:
        return gift, ()
    debit = Transfer(
        id=f"{message.gift}/debit", at=message.at, account=account_in(gift.ledger, gift.sender),
        to=party_in(gift.ledger, GIFTS), coins=gift.price_coins, reason=Reason.GIFT, ref=message.gift,
    )  # fmt: skip
    return gift, (debit,)


def _paid(gift: Gift, entry: EntryRecorded) -> Decision:
    if entry.kind is not EntryKind.DEBIT:
        return gift, ()
    messages: list[Message] = [GiftSent(**reply(entry, "gift", to=gift.asked), gift=entry.ref, **same_fields(gift, GiftSent))]
    if gift.share_coins:
        account = account_in(gift.ledger, gift.receiver, EARNINGS)
        if gift.ledger is Ledger.SANDBOX:  # signing up opens none of a tester's
            messages.append(OpenAccount(id=f"{entry.ref}/open", at=entry.at, account=account))
        share = Credit(
            id=f"{entry.ref}/credit", at=entry.at, account=account, counterparty=party_in(gift.ledger, GIFTS),
            coins=gift.share_coins, reason=Reason.GIFT, ref=entry.ref,
        )  # fmt: skip
        messages.append(share)
    return replace(gift, sent=True), messages


def _refuse(gift: Gift, message: Message, name: str, refusal: GiftRefusal) -> Decision:
    after = replace(gift, refusal=refusal)
    return after, (GiftRefused(**reply(message, "gift", to=gift.asked), gift=name, **same_fields(after, GiftRefused)),)


# --- the catalogue ----------------------------------------------------------------------------------------------------------


def decide_gift_item(item: GiftItem | None, message: GiftItemInbox) -> tuple[GiftItem | None, Sequence[Message]]:
    """Decide one message of a catalogue item's inbox."""
    match message:
        case Wake():
            return item, ()
        case PutGiftItem():
            return _put(item, message)
        case PriceGift():
            return item, (_priced(item, message),)


def _priced(item: GiftItem | None, message: PriceGift) -> GiftPriced:
    if item is None:
        return GiftPriced(**reply(message), item=message.item, gift=message.gift, refusal=GiftRefusal.GIFT_UNKNOWN)
    return GiftPriced(
        **reply(message), item=message.item, gift=message.gift, price_coins=item.price_coins, share_coins=item.share_coins,
        refusal=None if item.active else GiftRefusal.GIFT_INACTIVE,
    )  # fmt: skip


def _put(item: GiftItem | None, message: PutGiftItem) -> tuple[GiftItem | None, Sequence[Message]]:
    if message.share_coins > message.price_coins:
        return item, (GiftItemRefused(**reply(message), item=message.item, refusal=GiftRefusal.SHARE_ABOVE_PRICE),)
    put = GiftItemPut(**reply(message), **same_fields(message, GiftItemPut))
    return GiftItem(**same_fields(message, GiftItem)), (put,)
