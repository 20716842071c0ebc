"""The gift's messages and states: `gift` (one gift, once) and `gift_item` (one thing in the catalogue)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.balance import AccountRefused, EntryRecorded, Reason
from schemas.balance_cap import CapRoom
from schemas.balance_heard import paid_for
from schemas.balance_ledger import Ledger
from schemas.log.base import (
    MAX_COINS,
    AccountId,
    By,
    Coins,
    Fact,
    Fields,
    Id,
    Message,
    MessageName,
    OptionalId,
    Refused,
    Repeated,
    State,
    Time,
    Wake,
)
from schemas.log.entity import Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.user import Code, User_
from schemas.video_line import GiftAdmitted

GIFTS: Final = AccountId("@gifts")
Url = Annotated[str, Meta(max_length=1024), PLAIN]
Share = Annotated[int, Meta(ge=0, le=MAX_COINS, description="what the streamer gets of the price, whole coins")]


class GiftRefusal(StrEnum):
    """Why a gift was not given, in order of precedence."""

    SAME_USER = "same_user"
    GIFT_UNKNOWN = "gift_unknown"
    GIFT_INACTIVE = "gift_inactive"
    SHARE_ABOVE_PRICE = "share_above_price"
    SENDER_BANNED = "sender_banned"
    RECEIVER_UNKNOWN = "receiver_unknown"
    RECEIVER_BANNED = "receiver_banned"
    BLOCKED = "blocked"
    RECEIVER_BLOCKS = "receiver_blocks"
    INSUFFICIENT_COINS = "insufficient_coins"
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_FROZEN = "account_frozen"
    DAILY_CAP = "daily_cap"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"


# A sender is not told that the receiver has blocked the sender, or is banned: the refusal is for staff and analysts.
SENDER_IS_TOLD: Final[Mapping[StrEnum, StrEnum]] = {
    GiftRefusal.RECEIVER_BLOCKS: GiftRefusal.RECEIVER_UNKNOWN,
    GiftRefusal.RECEIVER_BANNED: GiftRefusal.RECEIVER_UNKNOWN,
}


# --- the catalogue ----------------------------------------------------------------------------------------------------------


class GiftItemFields(Fields):
    """What the catalogue says of an item."""

    price_coins: int
    share_coins: int
    name: Code = ""
    picture_url: Url = ""
    active: bool = True


class PutGiftItem(Message):
    """The catalogue's entry `item` is like this from now on."""

    item: Id
    price_coins: Coins
    share_coins: Share
    name: Code = ""
    picture_url: Url = ""
    active: bool = True
    by: By = ""


class PriceGift(Message):
    """A gift asks what it costs."""

    item: Id
    gift: Id


class _OfItem(Fact):
    item: Id


class GiftItemPut(_OfItem, GiftItemFields):
    """The catalogue's entry is like this."""

    by: By = ""


class GiftItemRefused(_OfItem, Refused):
    """The entry was not taken."""

    refusal: GiftRefusal


class GiftPriced(_OfItem):
    """What a gift costs, or why it cannot be given."""

    gift: Id
    price_coins: int = 0
    share_coins: int = 0
    refusal: GiftRefusal | None = None


class GiftItem(State, GiftItemFields):
    """One thing in the catalogue."""


# --- a gift -----------------------------------------------------------------------------------------------------------------


class SendGift(Message):
    """`sender` gives `receiver` an item, now and then during a call, with the coins of a ledger."""

    gift: Id
    sender: User_
    receiver: User_
    item: Id
    call: OptionalId = ""
    ledger: Ledger = Ledger.ORDINARY


class _OfGift(Fact):
    gift: Id
    sender: User_
    receiver: User_
    item: Id
    call: OptionalId = ""
    ledger: Ledger = Ledger.ORDINARY


class GiftSent(_OfGift):
    """Paid and credited: both are shown it."""

    price_coins: Coins
    share_coins: Share


def if_paid(key: str | Callable[[GiftSent], str]) -> Callable[[GiftSent], str]:
    """A key for those to whom a gift is worth something: what a tester gives costs nothing, and only the two phones show it."""
    keyed = key if callable(key) else attrgetter(key)
    return lambda sent: keyed(sent) if sent.ledger is Ledger.ORDINARY else ""


class GiftRefused(_OfGift, Refused):
    """Not given; nothing was paid."""

    changes_state: ClassVar[bool] = True
    told_as = SENDER_IS_TOLD
    refusal: GiftRefusal
    shortfall_coins: int = 0
    cap_room: CapRoom | None = None


class GiftRepeated(_OfGift, Repeated):
    """The same request again: its outcome. No refusal and no price: it is under way."""

    told_as = SENDER_IS_TOLD
    price_coins: int = 0
    share_coins: int = 0
    refusal: GiftRefusal | None = None
    shortfall_coins: int = 0
    cap_room: CapRoom | None = None


class Gift(State):
    """A gift under way or done. `admitted`: by the receiver's line; `asks_sender`: the sender's line has not answered yet.
    Forgotten at `forget_at`."""

    sender: User_
    receiver: User_
    item: Id
    asked: MessageName
    forget_at: Time
    call: OptionalId = ""
    ledger: Ledger = Ledger.ORDINARY
    admitted: bool = False
    asks_sender: bool = False
    price_coins: int = 0
    share_coins: int = 0
    refusal: GiftRefusal | None = None
    shortfall_coins: int = 0
    sent: bool = False
    cap_room: CapRoom | None = None

    @property
    def wake_at(self) -> datetime | None:
        """When it may be forgotten."""
        return self.forget_at


GiftInbox = SendGift | GiftAdmitted | GiftPriced | EntryRecorded | AccountRefused | Wake
GiftItemInbox = PutGiftItem | PriceGift | Wake

GIFT: Final = Entity(
    "gift",
    key="gift",
    flow=Flow.LIVE,
    state=Gift,
    commands=(SendGift,),
    facts=(GiftSent, GiftRefused, GiftRepeated),
    hears=(
        Hears(GiftAdmitted, "gift", "a gift may be sent"),
        Hears(GiftPriced, "gift", "a gift knows its price"),
        Hears(EntryRecorded, paid_for(Reason.GIFT), "a gift follows its coins"),
        Hears(AccountRefused, paid_for(Reason.GIFT), "a gift hears why not"),
    ),
    shown=(Shown(GiftSent, ("sender", "receiver"), "both phones show the gift"),),
)
GIFT_ITEM: Final = Entity(
    "gift_item",
    key="item",
    flow=Flow.LIVE,
    state=GiftItem,
    commands=(PutGiftItem, PriceGift),
    facts=(GiftItemPut, GiftItemRefused, GiftPriced),
    raw="a gift's fact carries its price and share",
)
