"""Reconciliations: a store's history held against our purchases, a run at a time; the difference is empty, or a list in which
each difference has a name and a cure.

The comparison is `schemas.reconciliation_rules`, who asks the stores is `infra.reconciling`; what they found is told here, so
that it is on the log.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import Fact, Fields, Id, Message, OptionalId, State, Time, Wake, later
from schemas.log.entity import Entity, Flow
from schemas.payment import Currency, StoreProduct
from schemas.purchase import Store
from schemas.user import Code

# Of more differences in a run the rest is counted only; they are found again by the next run.
MAX_DIFFERENCES: Final = 100
# For the panel; the tables keep all.
RUN_KEPT_FOR: Final = timedelta(days=90)


class StoreDifference(StrEnum):
    """What a store and we do not agree on. `missing`: the store says so, and we have not heard of it. `apphud_*`: what Apphud
    says and nobody else does; `apphud_silent`: of a purchase of ours it has said nothing."""

    PURCHASE_MISSING = "purchase_missing"
    REFUND_MISSING = "refund_missing"
    REVERSAL_MISSING = "reversal_missing"
    REFUND_DOUBLED = "refund_doubled"
    PURCHASE_UNKNOWN = "purchase_unknown"
    PRODUCT_FOREIGN = "product_foreign"
    PRICE_CHANGED = "price_changed"
    COINS_WAIT = "coins_wait"
    WORD_UNREADABLE = "word_unreadable"
    APPHUD_ALONE = "apphud_alone"
    APPHUD_REFUND_ALONE = "apphud_refund_alone"
    APPHUD_PRICE_DIFFERS = "apphud_price_differs"
    APPHUD_USER_DIFFERS = "apphud_user_differs"
    APPHUD_SILENT = "apphud_silent"


class Cure(StrEnum):
    """What mends a difference. `send_word` mends by itself: the purchase is told what the store has signed, as its webhook
    would have; all others take a person."""

    SEND_WORD = "send_word"
    ASK_BUYER = "ask_buyer"
    ASK_STORE = "ask_store"
    PUT_PRODUCT = "put_product"
    PUT_PRICE = "put_price"
    LOOK_AT_ACCOUNT = "look_at_account"
    LOOK_AT_SETTINGS = "look_at_settings"
    LOOK_AT_APPHUD = "look_at_apphud"


class DifferenceFields(Fields):
    """A difference, and its cure. `theirs` and `ours`: parts of 100,000 that were taken back, thousandths of the currency's
    unit, or coins, as the difference is of; `code`: why a store's word could not be read."""

    difference: StoreDifference
    cure: Cure
    purchase: OptionalId = ""
    store_product: StoreProduct = ""
    theirs: int = 0
    ours: int = 0
    currency: Currency = ""
    code: Code = ""


class Difference(State, DifferenceFields):
    """A difference of a run."""


class RunFields(Fields):
    """What was held against what: a store's history of a span, `told` transactions of it, `known` purchases of ours.
    `left_off`: differences above the limit, which stand nowhere."""

    store: Store
    since: Time
    until: Time
    told: int = 0
    known: int = 0
    left_off: int = 0


Differences = Annotated[tuple[Difference, ...], Meta(max_length=MAX_DIFFERENCES)]


class RecordReconciliation(Message, RunFields):
    """A run has found this."""

    run: Id
    differences: Differences = ()


class ReconciliationRecorded(Fact, RunFields):
    """A run; `differences`: how many it found, of which `cured` were mended by the store's own word."""

    run: Id
    differences: int = 0
    cured: int = 0


class DifferenceFound(Fact, DifferenceFields):
    """A difference of a run."""

    run: Id
    store: Store


class Reconciliation(State, RunFields):
    """A run, until it is forgotten."""

    differences: Differences = ()

    @property
    def wake_at(self) -> datetime | None:
        """When it is forgotten."""
        return later(self.until, RUN_KEPT_FOR)


ReconciliationInbox = RecordReconciliation | Wake

RECONCILIATION: Final = Entity(
    "reconciliation",
    key="run",
    flow=Flow.GROWTH,
    state=Reconciliation,
    commands=(RecordReconciliation,),
    facts=(ReconciliationRecorded, DifferenceFound),
)
