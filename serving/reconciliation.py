"""`GET /v1/admin/reconciliations`: what the last runs found in which stores' history was held against our purchases."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from schemas.purchase import Store
from schemas.reconciliation import RECONCILIATION, Cure, Reconciliation, StoreDifference
from serving.runtime.commands import views_of
from serving.runtime.problems import responses
from serving.runtime.staff import MoneyLook

router = APIRouter(tags=["payments"])
CURES: Final = {
    Cure.SEND_WORD: "done: the purchase was told what the store has signed; the next run finds nothing more",
    Cure.ASK_BUYER: "no word of the store's says whose it is: ask the buyer, and grant the coins by hand",
    Cure.ASK_STORE: "hold the store's financial report against it, and ask the store",
    Cure.PUT_PRODUCT: "put the product with this store's id; whoever has bought it is granted the coins by hand",
    Cure.PUT_PRICE: "put the product's price as it is at the store, or mend it there",
    Cure.LOOK_AT_ACCOUNT: "the buyer's account does not take the coins; it is asked again each hour",
    Cure.LOOK_AT_APPHUD: "no coins hang on it: Apphud sends each event once; look there whether it knows, and sends to us",
    Cure.LOOK_AT_SETTINGS: "it is of another app or environment: look at OLO_APPLE_..., OLO_PLAY_... and the store's console",
}


class DifferenceAnswer(BaseModel):
    """A difference, and what mends it. `theirs`, `ours`: parts of 100,000 that were taken back, thousandths of the currency's
    unit, or coins."""

    difference: StoreDifference
    cure: Cure
    to_do: str
    purchase: str
    store_product: str
    theirs: int
    ours: int
    currency: str
    code: str


class ReconciliationAnswer(BaseModel):
    """A run: of which span, how many transactions the store told of, how many of ours were held against them."""

    run: str
    store: Store
    since: datetime
    until: datetime
    told: int
    known: int
    left_off: int
    differences: list[DifferenceAnswer]


@router.get(
    "/v1/admin/reconciliations", response_model=list[ReconciliationAnswer], responses=responses(401, 403, 422, 503)
)  # fmt: skip
async def list_reconciliations(
    _: MoneyLook, request: Request, store: Store | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> Any:
    """The last runs, the newest first, for 90 days; what they found stands in the tables `reconciliations` and
    `store_differences` for good."""
    found: list[tuple[str, Reconciliation]] = [
        (run, one) for run, one in views_of(request).of(RECONCILIATION).items() if store in (None, one.store)
    ]
    found.sort(key=lambda one: one[1].until, reverse=True)
    return [_shown(run, one) for run, one in found[:limit]]


def _shown(run: str, one: Reconciliation) -> ReconciliationAnswer:
    differences = [
        DifferenceAnswer(**msgspec.structs.asdict(difference), to_do=CURES[difference.cure]) for difference in one.differences
    ]
    return ReconciliationAnswer(
        run=run, store=one.store, since=one.since, until=one.until, told=one.told, known=one.known,
        left_off=one.left_off, differences=differences,
    )  # fmt: skip
