"""What somebody has subscribed to at the stores: `GET /v1/subscriptions`, and for staff `GET
/v1/admin/accounts/{user}/subscriptions`."""

from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel

from schemas.log.base import now
from schemas.purchase import Store
from schemas.subscription import SUBSCRIPTION, Subscription, SubscriptionStatus
from serving.runtime.auth import SignedIn
from serving.runtime.commands import views_of
from serving.runtime.fields import UserInPath
from serving.runtime.problems import responses
from serving.runtime.staff import MoneyLook
from serving.view_store.indexes import SUBSCRIPTIONS_OF

router = APIRouter(tags=["payments"])
# Nobody has so many; of more the first by name are told.
MOST: Final = 100


class SubscriptionAnswer(BaseModel):
    """A subscription as the store says that it stands. `product` and `coins`: of the running period. With the renewal it is
    changed to `next_product`, or, where that is none of ours, to what the store calls `next_store_product`; `replaced`: another
    subscription has taken its place."""

    subscription: str
    store: Store
    product: str
    version: int
    coins: int
    status: SubscriptionStatus
    until: datetime
    renews: bool
    next_product: str = ""
    next_store_product: str = ""
    replaced: bool = False


class SubscriptionsAnswer(BaseModel):
    """All that somebody has subscribed to, what is over, too."""

    subscriptions: list[SubscriptionAnswer]


@router.get("/v1/subscriptions", response_model=SubscriptionsAnswer, responses=responses(401, 403, 503))
async def list_subscriptions(caller: SignedIn, request: Request) -> Any:
    """What you have subscribed to, and what it will be changed to."""
    return _all(request, caller.user)


@router.get(
    "/v1/admin/accounts/{user}/subscriptions", response_model=SubscriptionsAnswer, responses=responses(401, 403, 404, 422, 503)
)
async def list_account_subscriptions(user: UserInPath, _: MoneyLook, request: Request) -> Any:
    """Likewise, of any user."""
    return _all(request, user)


def _all(request: Request, user: str) -> SubscriptionsAnswer:
    views = views_of(request)
    found = [(name, views.of(SUBSCRIPTION).get(name)) for name in views.rows(SUBSCRIPTIONS_OF, user, MOST)]
    return SubscriptionsAnswer(subscriptions=[_shown(name, state) for name, state in found if state is not None])


def _shown(name: str, state: Subscription) -> SubscriptionAnswer:
    return SubscriptionAnswer(
        subscription=name, store=state.store, product=state.product, version=state.version, coins=state.coins,
        status=state.seen or state.status_at(now()), until=state.seen_until, renews=state.seen_renews,
        next_product=state.next_product if state.seen_next else "", next_store_product=state.seen_next, replaced=state.replaced,
    )  # fmt: skip
