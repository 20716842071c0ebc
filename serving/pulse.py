"""What happens now, for the panel: `GET /v1/admin/now`, one stream of all numbers. Words: docs/pulse.md.

`snapshot` comes first and has everything with the last five minutes; `numbers` has what changed, at most twice a second. A slow
reader gets another snapshot. A client that loses the stream opens it again.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse

from serving.pulse_board import Board, follower
from serving.runtime.commands import views_of
from serving.runtime.problems import responses
from serving.runtime.staff import MoneyLook
from serving.runtime.stream import RETRY

router = APIRouter(tags=["staff"])

STREAM_S: Final = 1_800.0
PING_S: Final = 15.0
PING: Final = b": still here\n\n"
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


def prepare(app: FastAPI) -> None:
    """One board for all panels."""
    app.state.board = Board(follower(app.state.config))


@router.get("/v1/admin/now", response_class=StreamingResponse, responses={**STREAM, **responses(401, 403, 503)})
async def follow_now(caller: MoneyLook, request: Request) -> StreamingResponse:
    """What happens now: `snapshot` has all numbers with their last minutes, then `numbers` those that changed. Each has a
    `name`, a `value` (null: nothing came of which it could be one) and an `as_of`: the moment for which it stands."""
    views_of(request)
    board: Board = request.app.state.board
    lifetime = min(STREAM_S, caller.expires_at - time.time())
    return StreamingResponse(_events(board, lifetime), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(board: Board, lifetime_s: float) -> AsyncIterator[bytes]:
    watcher = board.open()
    try:
        yield RETRY
        until = time.monotonic() + lifetime_s
        while (left := until - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(PING_S, left)):
                    event = await watcher.events.get()
                yield board.snapshot() if event is None else event
            except TimeoutError:
                yield PING
    finally:
        board.close(watcher)
