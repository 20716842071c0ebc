"""What happens now, for the panel: `GET /v1/admin/now`, one stream of all numbers. Words: docs/pulse.md.

`snapshot` comes first and has everything with the last five minutes; `numbers` has what changed, at most twice a second. A slow
reader gets another snapshot. A client that loses the stream opens it again.
"""

import asyncio
import time
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope

from serving.pulse_board import Board, follower
from serving.runtime.commands import views_of
from serving.runtime.feed import Send, send_now
from serving.runtime.problems import responses
from serving.runtime.staff import MoneyLook
from serving.runtime.stream import HEADERS

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
async def follow_now(caller: MoneyLook, request: Request) -> Response:
    """What happens now: `snapshot` has all numbers with their last minutes, then `numbers` those that changed. Each has a
    `name`, a `value` (null: nothing came of which it could be one) and an `as_of`: the moment for which it stands."""
    views_of(request)
    return Now(request.app.state.board, min(STREAM_S, caller.expires_at - time.time()))


class Now(Response):
    """The board's events, which the board writes itself: no task wakes for them, since twenty panels would be twenty."""

    def __init__(self, board: Board, lifetime_s: float) -> None:
        super().__init__()
        self._board = board
        self._lifetime_s = lifetime_s

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Begin the answer, and stay until the client goes or the time is over."""
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        try:
            async with asyncio.timeout(max(0.0, self._lifetime_s)) as timeout:
                watcher = self._board.open(send, lambda: timeout.reschedule(0))
                try:
                    while not await _gone(receive):
                        send_now(send, PING)
                finally:
                    self._board.close(watcher)
        except TimeoutError:
            send_now(send, b"", last=True)


async def _gone(receive: Receive) -> bool:
    """Whether the client goes before the next ping is due."""
    try:
        async with asyncio.timeout(PING_S):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
