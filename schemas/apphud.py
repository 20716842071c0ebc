"""What Apphud tells of transactions, keyed by the purchase's name; it is recorded and compared, and credits nothing.

Apphud sends each event once, signs nothing, and knows of stores what their SDK or their own notifications have told it. So its
word moves no coins: the daily reconcile holds it against our purchases, and asks the store where the two differ.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.log.base import Fact, Fields, Id, Message, OptionalId, State, Time, Wake, later
from schemas.log.entity import Entity, Flow
from schemas.payment import Currency, PurchaseName, StoreProduct
from schemas.purchase import Store
from schemas.user import Code, OptionalUser

# A reconcile looks back a month.
KEPT_FOR: Final = timedelta(days=60)
MAX_SEEN: Final = 16


class ApphudKind(StrEnum):
    """What an event says of a transaction; all that is neither bought nor taken back says nothing. Members are only ever
    added."""

    BOUGHT = "bought"
    REFUNDED = "refunded"
    OTHER = "other"


class ApphudFields(Fields):
    """Of which transaction, by Apphud's event `event`, called `event_name`; `user`: whom Apphud names, if it is an id of ours.
    `price_milliunits`: thousandths of the currency's unit; without a currency the price is not known."""

    purchase: PurchaseName
    event: Id
    event_name: Code
    kind: ApphudKind
    store: Store
    happened_at: Time
    store_product: StoreProduct = ""
    user: OptionalUser = ""
    price_milliunits: int = 0
    currency: Currency = ""


class RecordApphudEvent(Message, ApphudFields):
    """Apphud tells of a transaction."""


class ApphudEventRecorded(Fact, ApphudFields):
    """An event, the first time that it came."""


class ApphudEventRepeated(Fact):
    """The same event again."""

    changes_state: ClassVar[bool] = False
    purchase: PurchaseName
    event: Id


class Apphud(State):
    """What Apphud has told of a transaction: that it was bought, that it was taken back; product, user and price as the latest
    event says that tells of a purchase, `said_by`, of `said_at`."""

    store: Store
    heard_at: Time
    bought_at: Time | None = None
    refunded_at: Time | None = None
    said_at: Time | None = None
    said_by: OptionalId = ""
    store_product: StoreProduct = ""
    user: OptionalUser = ""
    price_milliunits: int = 0
    currency: Currency = ""
    seen: Annotated[tuple[Id, ...], Meta(max_length=MAX_SEEN)] = ()

    @property
    def wake_at(self) -> datetime | None:
        """When it is forgotten."""
        return later(self.heard_at, KEPT_FOR)


ApphudInbox = RecordApphudEvent | Wake

APPHUD: Final = Entity(
    "apphud",
    key="purchase",
    flow=Flow.GROWTH,
    state=Apphud,
    commands=(RecordApphudEvent,),
    facts=(ApphudEventRecorded, ApphudEventRepeated),
)
