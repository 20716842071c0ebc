"""Roulette: `POST /v1/roulette` waits for a partner, `DELETE` does not wait any more; the match's call comes on the feed."""

from typing import Final

from fastapi import APIRouter, Request

from schemas.log.base import UserId, new_id, now
from schemas.video_line import JoinRoulette, LeaveRoulette, LineRefusal, RouletteJoined, RouletteLeft
from serving.runtime.commands import commands_of, views_of
from serving.runtime.gate import Acting
from serving.runtime.lookups import tags_of
from serving.runtime.problems import responses
from serving.runtime.refusals import Refusals

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


@router.post("/v1/roulette", status_code=202, responses=responses(401, 403, 404, 409, 503))
async def join(caller: Acting, request: Request) -> dict[str, str]:
    """Wait for a partner: 202 says that you do. The match's call comes on the feed."""
    tags = tags_of(views_of(request), caller.user)
    command = JoinRoulette(id=new_id(), at=now(), user=UserId(caller.user), tags=tags)
    await commands_of(request).ask(command, RouletteJoined)
    return {"status": "waiting"}


@router.delete("/v1/roulette", status_code=204, responses=responses(401, 403, 404, 409, 503))
async def leave(caller: Acting, request: Request) -> None:
    """Do not wait any more."""
    command = LeaveRoulette(id=new_id(), at=now(), user=UserId(caller.user))
    await commands_of(request).ask(command, RouletteLeft, urgent=True)
