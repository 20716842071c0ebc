"""Price classes: `PUT`, `GET /v1/admin/price-classes/{user}` for staff, `PUT`, `GET /v1/price-class` for a streamer."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from schemas.log.base import UserId, new_id, now
from schemas.price_class import (
    MAX_CLASSES,
    PRICE_CLASS,
    ApprovePriceClasses,
    PickPriceClass,
    PriceClasses,
    PriceClassesApproved,
    PriceClassPicked,
    PriceClassRefusal,
)
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, views_of
from serving.runtime.fields import ID_PATTERN, UserInPath
from serving.runtime.gate import ActingStreamer
from serving.runtime.problems import responses
from serving.runtime.refusals import USER_ERASED, Refusals
from serving.runtime.staff import MoneyChange, MoneyLook

router = APIRouter(tags=["billing"])

REFUSED: Final[Refusals] = {
    PriceClassRefusal.STREAMER_ERASED: USER_ERASED,
    PriceClassRefusal.CLASS_NOT_APPROVED: (409, "this class is not approved for you; GET /v1/price-class has those that are"),
}
ClassName = Annotated[str, Field(min_length=1, max_length=64, pattern=ID_PATTERN, examples=["gold"])]
PickedClass = Annotated[str, Field(max_length=64, pattern=f"({ID_PATTERN})|^$", examples=["gold"])]


class PriceClassesBody(RequestBody):
    """The classes from which a streamer may pick."""

    classes: Annotated[list[ClassName], Field(max_length=MAX_CLASSES)]


class PriceClassBody(RequestBody):
    """The class that your calls are of; empty: of none."""

    price_class: PickedClass


class PriceClassesAnswer(BaseModel):
    """What is approved, and what of it is picked."""

    user: str
    classes: list[str]
    price_class: str


@router.put(
    "/v1/admin/price-classes/{user}", response_model=PriceClassesAnswer, responses=responses(400, 401, 403, 422, 503)
)  # fmt: skip
async def put_price_classes(user: UserInPath, body: PriceClassesBody, caller: MoneyChange, request: Request) -> Any:
    """Approve these classes, and no others. A class that was picked and is not among them any more is not picked any more;
    calls that run keep their tariff."""
    command = ApprovePriceClasses(id=new_id(), at=now(), user=UserId(user), classes=tuple(body.classes), by=caller.user)
    return _answer(await commands_of(request).ask(command, PriceClassesApproved))


@router.get("/v1/admin/price-classes/{user}", response_model=PriceClassesAnswer, responses=responses(401, 403, 422, 503))
async def read_price_classes(user: UserInPath, _: MoneyLook, request: Request) -> Any:
    """A streamer's classes."""
    return _of(user, request)


@router.put("/v1/price-class", response_model=PriceClassesAnswer, responses=responses(400, 401, 403, 404, 409, 422, 503))
async def put_price_class(body: PriceClassBody, caller: ActingStreamer, request: Request) -> Any:
    """Pick a class, for calls that are placed from now on."""
    command = PickPriceClass(id=new_id(), at=now(), user=UserId(caller.user), price_class=body.price_class)
    return _answer(await commands_of(request).ask(command, PriceClassPicked))


@router.get("/v1/price-class", response_model=PriceClassesAnswer, responses=responses(401, 403, 503))
async def read_price_class(caller: SignedIn, request: Request) -> Any:
    """Which classes you may pick, and which one you have picked."""
    return _of(caller.user, request)


def _of(user: str, request: Request) -> PriceClassesAnswer:
    found: PriceClasses = views_of(request).of(PRICE_CLASS).get(user) or PriceClasses()
    return PriceClassesAnswer(user=user, classes=list(found.classes), price_class=found.price_class)


def _answer(fact: PriceClassesApproved | PriceClassPicked) -> PriceClassesAnswer:
    return PriceClassesAnswer(user=fact.user, classes=list(fact.classes), price_class=fact.price_class)
