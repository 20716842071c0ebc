"""What pages need for trying things out, in development and from this machine alone; production has none of these routes.

`POST /development/tokens` lets a page sign in as anybody, as `olo token` does. `POST /development/store/purchases` and
`.../refunds` are the stand-in for the App Store (`infra/vendors/stand_in_store.py`): it signs that something was bought, or
taken back, and the page brings that to the public API, as a phone and Apple do. They are there where the platform trusts its
root.
"""

from typing import Annotated, Any, Final
from uuid import UUID

import pycountry
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from infra import tokens
from infra.config import Config, Environment, is_loopback
from infra.vendors.stand_in_store import NUMBERS, StandInStore, store_of
from schemas.payment import MAX_MILLIUNITS
from schemas.user import Role, is_user_id
from serving.runtime.auth import USER_ID_TAKEN
from serving.runtime.problems import Problem

# As long as a day of trying things out.
TOKEN_S: Final = 86_400


class TokenBody(BaseModel, extra="forbid"):
    """Who the page wants to be."""

    user: Annotated[str, Field(max_length=128)]
    role: Role = Role.USER


class TokenAnswer(BaseModel):
    """An unsigned Firebase ID token, as the Firebase emulator makes them."""

    token: str


class SaleBody(BaseModel, extra="forbid"):
    """What is bought under which intent, where and for how much; of an intent there is one transaction, however often it is
    asked for. No currency: the price is nobody's business."""

    intent: UUID
    product: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
    country: Annotated[str, Field(pattern="^([A-Z]{2})?$")] = ""
    currency: Annotated[str, Field(pattern="^([A-Z]{3})?$")] = ""
    price_milliunits: Annotated[int, Field(ge=0, le=MAX_MILLIUNITS)] = 0


class SignedBody(BaseModel, extra="forbid"):
    """A transaction of the stand-in's."""

    signed_transaction: Annotated[str, Field(max_length=32_768)]


class SignedAnswer(SignedBody):
    """What StoreKit would give the phone."""


class NotificationAnswer(BaseModel):
    """What Apple would send to `POST /v1/webhooks/apple`."""

    signedPayload: str  # noqa: N815 - as Apple spells it


def install(app: FastAPI, config: Config) -> None:
    """Add these routes, in development."""
    if config.env is not Environment.DEVELOPMENT:
        return
    _add_tokens(app, config)
    if store := store_of(config):
        _add_store(app, store)


def _only_here(request: Request, instead: str) -> None:
    if not is_loopback(request.client.host if request.client else ""):
        raise Problem(403, "forbidden", f"that is for pages on Olo's own machine; elsewhere {instead}")


def _add_tokens(app: FastAPI, config: Config) -> None:
    @app.post("/development/tokens", response_model=TokenAnswer, include_in_schema=False)
    async def make_token(body: TokenBody, request: Request) -> Any:
        """A token for whoever the page wants to be."""
        _only_here(request, "use `olo token`")
        if not is_user_id(body.user):
            raise Problem(422, "invalid_request", USER_ID_TAKEN)
        return TokenAnswer(token=tokens.token(config.firebase_project, body.user, body.role, lives_s=TOKEN_S))


def _add_store(app: FastAPI, store: StandInStore) -> None:
    elsewhere = "use the App Store's sandbox"

    @app.post("/development/store/purchases", response_model=SignedAnswer, include_in_schema=False)
    async def sell(body: SaleBody, request: Request) -> Any:
        """Something is bought."""
        _only_here(request, elsewhere)
        country = pycountry.countries.get(alpha_2=body.country) if body.country else None
        price = {"price": body.price_milliunits if body.currency else None, "currency": body.currency or None}
        front = {"storefront": country.alpha_3 if country else None, "transactionId": str(body.intent.int % NUMBERS)}
        return SignedAnswer(signed_transaction=store.sell(body.product, str(body.intent), **price, **front))

    @app.post("/development/store/refunds", response_model=NotificationAnswer, include_in_schema=False)
    async def refund(body: SignedBody, request: Request) -> Any:
        """What was bought is taken back, all of it."""
        _only_here(request, elsewhere)
        try:
            taken_back = store.take_back(body.signed_transaction)
        except ValueError as error:
            raise Problem(422, "signature_invalid", "the transaction is not of this stand-in for a store") from error
        return store.notify("REFUND", taken_back)
