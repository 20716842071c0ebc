"""Roulette: `POST /v1/roulette` waits for a partner, `DELETE` does not wait any more; the match's call comes on the feed."""

from typing import Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from schemas.balance import coins_account
from schemas.billing_rules import CallKind, Traits
from schemas.log.base import UserId, new_id, now
from schemas.user import Role
from schemas.video import CallRefusal
from schemas.video_line import JoinRoulette, LeaveRoulette, LineRefusal, RouletteJoined, RouletteLeft
from serving.runtime.commands import commands_of, views_of
from serving.runtime.devices import Device
from serving.runtime.gate import Acting
from serving.runtime.lookups import country_of, price_class_of, role_of, tags_of, tariff_of
from serving.runtime.problems import responses
from serving.runtime.refusals import SHORTFALL, Refusals, cap_fields, refusal_of

router = APIRouter(tags=["calls"])

REFUSED: Final[Refusals] = {
    LineRefusal.UNKNOWN: (404, "you have not signed up; POST /v1/users does that"),
    LineRefusal.NO_TALKER: (403, "only users and streamers wait for roulette"),
    LineRefusal.BANNED: (403, "you are banned"),
    LineRefusal.OFFLINE: (409, "you are offline; open a session or the feed first"),
    LineRefusal.BUSY: (409, "you are in a call"),
    LineRefusal.WAITING: (409, "you are waiting already"),
    LineRefusal.NOT_WAITING: (409, "you are not waiting"),
}


class RouletteAnswer(BaseModel):
    """You wait for a partner."""

    status: Literal["waiting"] = "waiting"


@router.post("/v1/roulette", status_code=202, responses=responses(401, 402, 403, 404, 409, 422, 503))
async def join_roulette(caller: Acting, device: Device, request: Request) -> RouletteAnswer:
    """Wait for a partner: 202 says that you do. The match's call comes on the feed. Who could not pay its beginning is told so
    at once: 402."""
    views = views_of(request)
    tags = tags_of(views, caller.user)
    if role_of(views, caller.user, caller.role) is Role.USER:
        _can_pay(
            caller.user, Traits(CallKind.ROULETTE, Role.USER, Role.STREAMER, country_of(views, caller.user), tags), request
        )
    command = JoinRoulette(
        id=new_id(),
        at=now(),
        user=UserId(caller.user),
        tags=tags,
        device=device,
        price_class=price_class_of(views, caller.user),
    )
    await commands_of(request).ask(command, RouletteJoined)
    return RouletteAnswer()


@router.delete("/v1/roulette", status_code=204, responses=responses(401, 403, 404, 409, 503))
async def leave_roulette(caller: Acting, request: Request) -> None:
    """Do not wait any more."""
    command = LeaveRoulette(id=new_id(), at=now(), user=UserId(caller.user))
    await commands_of(request).ask(command, RouletteLeft, urgent=True)


def _can_pay(user: str, traits: Traits, request: Request) -> None:
    """Errors: Problem 402 or 409, when the user's coins, or a daily cap, do not pay a call's first checkpoint."""
    views = views_of(request)
    tariff, balance = tariff_of(views, traits), views.balance(coins_account(user))
    first = tariff.payer.at(0) if tariff else None
    if first is None or balance is None or first.after_s:
        return
    room = balance.cap.room_at(now(), balance.held_coins) if balance.cap else None
    if room is not None and first.coins > room.left_coins:
        problem = refusal_of(request, CallRefusal.DAILY_CAP)
        problem.more |= cap_fields(room)
        raise problem
    shortfall_coins = first.coins - (balance.balance_coins - balance.held_coins)
    if shortfall_coins > 0:
        problem = refusal_of(request, CallRefusal.INSUFFICIENT_COINS)
        problem.more[SHORTFALL] = shortfall_coins
        raise problem
