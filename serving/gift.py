"""Gifts: the catalogue (`PUT /v1/admin/gifts/{id}`, `GET /v1/gifts`), and `POST /v1/gifts`, which gives one, once."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from schemas.gift import GIFT_ITEM, GiftItemRefused, GiftRefusal, GiftRefused, GiftRepeated, GiftSent, PutGiftItem, SendGift
from schemas.log.base import MAX_COINS, UserId, new_id, now
from schemas.user import USER_ID_PATTERN
from serving.runtime.auth import Admin, SignedIn
from serving.runtime.commands import IdempotencyKey, commands_of, request_id, views_of
from serving.runtime.problems import Problem, responses
from serving.video import Name

router = APIRouter(tags=["gifts"])

REFUSED: Final = {
    GiftRefusal.SAME_USER: (409, "you cannot give yourself a gift"),
    GiftRefusal.GIFT_UNKNOWN: (404, "the catalogue has no such gift; see GET /v1/gifts"),
    GiftRefusal.GIFT_INACTIVE: (409, "this gift is not offered at the moment"),
    GiftRefusal.SHARE_ABOVE_PRICE: (422, "share_coins is above price_coins: each gift would lose coins"),
    GiftRefusal.RECEIVER_UNKNOWN: (404, "there is no such user"),
    GiftRefusal.RECEIVER_BANNED: (409, "the receiver is banned"),
    GiftRefusal.BLOCKED: (409, "one of you has blocked the other"),
    GiftRefusal.INSUFFICIENT_COINS: (402, "you have too few coins for this gift"),
    GiftRefusal.ACCOUNT_UNKNOWN: (404, "you have not signed up; POST /v1/users does that"),
    GiftRefusal.ACCOUNT_FROZEN: (409, "your account is frozen"),
    GiftRefusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used for another gift; use a new one"),
}


class ItemBody(BaseModel):
    """A thing in the catalogue: its price, and the streamer's share of it."""

    model_config = ConfigDict(extra="forbid")
    price_coins: Annotated[int, Field(strict=True, gt=0, le=MAX_COINS)]
    share_coins: Annotated[int, Field(strict=True, ge=0, le=MAX_COINS)]
    name: Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f]*$")] = ""
    picture_url: Annotated[str, Field(max_length=1024, pattern=r"^(https?://[^\s\x00-\x1f]+)?$")] = ""
    active: bool = True


class ItemAnswer(ItemBody):
    """A thing in the catalogue."""

    gift: str


class GiftBody(BaseModel):
    """Who gets what, now and then during a call."""

    model_config = ConfigDict(extra="forbid")
    to: Annotated[str, Field(pattern=USER_ID_PATTERN, examples=["sue"])]
    gift: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$", examples=["rose"])]
    call: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.:-]*$")] = ""


class GiftAnswer(BaseModel):
    """A gift that was given, or is on its way (`pending`)."""

    id: str
    to: str
    gift: str
    status: str
    price_coins: int = 0
    share_coins: int = 0


@router.put("/v1/admin/gifts/{item}", response_model=ItemAnswer, responses=responses(400, 401, 403, 422, 503))
async def put(item: Name, body: ItemBody, caller: Admin, request: Request) -> Any:
    """Put a thing into the catalogue, or change it; `active` false takes it out."""
    command = PutGiftItem(id=new_id(), at=now(), item=item, by=caller.user, **body.model_dump())
    fact = await commands_of(request).ask(command)
    if isinstance(fact, GiftItemRefused):
        raise _problem(fact.refusal)
    return ItemAnswer(gift=item, **body.model_dump())


@router.get("/v1/gifts", response_model=list[ItemAnswer], responses=responses(401, 403, 503))
async def catalogue(_: SignedIn, request: Request) -> Any:
    """What can be given."""
    return [
        ItemAnswer(
            gift=name, price_coins=item.price_coins, share_coins=item.share_coins, name=item.name,
            picture_url=item.picture_url,
        )
        for name, item in views_of(request).of(GIFT_ITEM).items()
        if item.active
    ]  # fmt: skip


@router.post(
    "/v1/gifts", status_code=201, response_model=GiftAnswer,
    responses={202: {"model": GiftAnswer}, **responses(400, 401, 402, 403, 404, 409, 422, 503)},
)  # fmt: skip
async def give(body: GiftBody, caller: SignedIn, key: IdempotencyKey, request: Request, response: Response) -> Any:
    """Give a gift: paid once, credited once, shown to both."""
    gift = request_id(caller.user, f"gift {key}")
    command = SendGift(
        id=new_id(), at=now(), gift=gift, sender=UserId(caller.user), receiver=UserId(body.to), item=body.gift, call=body.call
    )
    fact = await commands_of(request).ask(command)
    answer = GiftAnswer(id=gift, to=body.to, gift=body.gift, status="pending")
    match fact:
        case GiftRefused() | GiftRepeated() if fact.refusal is not None:
            raise _problem(fact.refusal, fact.shortfall_coins)
        case GiftSent() | GiftRepeated() if fact.price_coins:
            answer.status, answer.price_coins, answer.share_coins = "sent", fact.price_coins, fact.share_coins
        case _:
            response.status_code = 202
    return answer


def _problem(refusal: GiftRefusal, shortfall_coins: int = 0) -> Problem:
    status, detail = REFUSED[refusal]
    more: dict[str, Any] = {"shortfall_coins": shortfall_coins} if shortfall_coins else {}
    return Problem(status, refusal, detail, **more)
