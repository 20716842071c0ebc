"""Gifts: the catalogue (`PUT /v1/admin/gifts/{id}`, `GET /v1/gifts`), `POST /v1/gifts`, which gives one, once, and
`GET /v1/gifts/{id}`, which tells what became of it."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from schemas.balance_ledger import Ledger
from schemas.gift import (
    GIFT,
    GIFT_ITEM,
    SENDER_IS_TOLD,
    Gift,
    GiftItem,
    GiftItemPut,
    GiftRefusal,
    GiftRepeated,
    GiftSent,
    PutGiftItem,
    SendGift,
)
from schemas.log.base import MAX_COINS, UserId, new_id, now
from schemas.mission_control_roles import Permission
from schemas.user import USER_ID_PATTERN
from serving.body import RequestBody
from serving.runtime.auth import SignedIn
from serving.runtime.commands import commands_of, request_id, views_of
from serving.runtime.fields import IdempotencyKey, IdInPath, ItemId, OptionalWebUrl, Word
from serving.runtime.gate import Acting, Looking
from serving.runtime.later import Later, NotDecided, accepted
from serving.runtime.problems import Problem, responses
from serving.runtime.refusals import Refusals
from serving.runtime.staff import MoneyChange, look_as_staff

router = APIRouter(tags=["gifts"])

REFUSED: Final[Refusals] = {
    GiftRefusal.SAME_USER: (409, "you cannot give yourself a gift"),
    GiftRefusal.GIFT_UNKNOWN: (404, "the catalogue has no such gift; see GET /v1/gifts"),
    GiftRefusal.GIFT_INACTIVE: (409, "this gift is not offered at the moment"),
    GiftRefusal.SHARE_ABOVE_PRICE: (422, "share_coins is above price_coins: each gift would lose coins"),
    GiftRefusal.SENDER_BANNED: (403, "you are banned"),
    GiftRefusal.RECEIVER_UNKNOWN: (404, "there is no such user"),
    GiftRefusal.BLOCKED: (409, "you have blocked this user"),
    GiftRefusal.INSUFFICIENT_COINS: (402, "you have too few coins for this gift"),
    GiftRefusal.DAILY_CAP: (409, "your daily cap leaves too little for this gift; see GET /v1/spending-cap"),
    GiftRefusal.ACCOUNT_UNKNOWN: (404, "you have not signed up; POST /v1/users does that"),
    GiftRefusal.ACCOUNT_FROZEN: (409, "your account is frozen"),
    GiftRefusal.IDEMPOTENCY_KEY_REUSED: (409, "this Idempotency-Key was used for another gift; use a new one"),
}


class GiftItemBody(RequestBody):
    """A thing in the catalogue: its price, and the streamer's share of it."""

    price_coins: Annotated[int, Field(strict=True, gt=0, le=MAX_COINS)]
    share_coins: Annotated[int, Field(strict=True, ge=0, le=MAX_COINS)]
    name: Word = ""
    picture_url: OptionalWebUrl = ""
    active: bool = True


class GiftItemAnswer(GiftItemBody):
    """A thing in the catalogue."""

    gift: str


class GiftBody(RequestBody):
    """Who gets what, now and then during a call."""

    to: Annotated[str, Field(pattern=USER_ID_PATTERN, examples=["sue"])]
    gift: Annotated[ItemId, Field(examples=["rose"])]
    call: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_.:-]*$")] = ""
    ledger: Annotated[Ledger, Field(description="with which coins: `sandbox`, those of test purchases")] = Ledger.ORDINARY


class GiftAnswer(BaseModel):
    """A gift: `sent`, on its way (`pending`), or `refused`, with the stable code of the refusal."""

    id: str
    to: str
    gift: str
    status: str
    price_coins: int = 0
    share_coins: int = 0
    refusal: str | None = None
    ledger: Ledger = Field(
        Ledger.ORDINARY, description="`sandbox`: given with coins of test purchases, which are worth no money"
    )


@router.put("/v1/admin/gifts/{item}", response_model=GiftItemAnswer, responses=responses(400, 401, 403, 422, 503))
async def put_gift_item(item: IdInPath, body: GiftItemBody, caller: MoneyChange, request: Request) -> Any:
    """Put a thing into the catalogue, or change it; `active` false takes it out."""
    command = PutGiftItem(id=new_id(), at=now(), item=item, by=caller.user, **body.model_dump())
    await commands_of(request).ask(command, GiftItemPut)
    return GiftItemAnswer(gift=item, **body.model_dump())


@router.get("/v1/gifts", response_model=list[GiftItemAnswer], responses=responses(401, 403, 503))
async def list_gift_items(_: Looking, request: Request) -> Any:
    """What can be given."""
    return [_item(name, item) for name, item in views_of(request).of(GIFT_ITEM).items() if item.active]


def _item(name: str, item: GiftItem) -> GiftItemAnswer:
    """As it stands: a job or an approval has put it, perhaps, and one that no body may say hides none of the others."""
    return GiftItemAnswer.model_construct(
        gift=name, price_coins=item.price_coins, share_coins=item.share_coins, name=item.name, picture_url=item.picture_url
    )


@router.post(
    "/v1/gifts", status_code=201, response_model=GiftAnswer,
    responses={**accepted(GiftAnswer), **responses(400, 401, 402, 403, 404, 409, 422, 503)},
)  # fmt: skip
async def send_gift(body: GiftBody, caller: Acting, key: IdempotencyKey, request: Request, response: Response) -> Any:
    """Give a gift: paid once, credited once, shown to both."""
    gift = request_id(caller.user, f"gift {key}")
    command = SendGift(
        id=new_id(), at=now(), gift=gift, sender=UserId(caller.user), receiver=UserId(body.to), item=body.gift, call=body.call,
        ledger=body.ledger,
    )  # fmt: skip
    later = Later(f"/v1/gifts/{gift}", GiftAnswer(id=gift, to=body.to, gift=body.gift, status="pending", ledger=body.ledger))
    fact = await commands_of(request).ask(command, GiftSent, GiftRepeated, later=later)
    if not fact.price_coins:  # the same request again, while the first one is under way
        raise NotDecided(later)
    response.headers["Location"] = later.location
    return GiftAnswer(
        id=gift, to=body.to, gift=body.gift, status="sent", price_coins=fact.price_coins, share_coins=fact.share_coins,
        ledger=body.ledger,
    )  # fmt: skip


@router.get("/v1/gifts/{gift}", response_model=GiftAnswer, responses=responses(401, 403, 404, 422, 503))
async def read_gift(gift: IdInPath, caller: SignedIn, request: Request) -> Any:
    """What became of a gift, for a day after it was given: for both sides, and staff."""
    state: Gift | None = views_of(request).of(GIFT).get(gift)
    own = state is not None and caller.user in (state.sender, state.receiver)
    if state is None or not (own or await look_as_staff(request, caller, Permission.MONEY_LOOK, state.sender, state.receiver)):
        raise Problem(404, "gift_not_found", f"no gift {gift} was given to you or by you, or it was more than a day ago")
    status = "sent" if state.sent else "pending" if state.refusal is None else "refused"
    coins = {"price_coins": state.price_coins, "share_coins": state.share_coins} if state.sent else {}
    refusal = state.refusal if not own or state.refusal is None else SENDER_IS_TOLD.get(state.refusal, state.refusal)
    return GiftAnswer(id=gift, to=state.receiver, gift=state.item, status=status, refusal=refusal, ledger=state.ledger, **coins)
