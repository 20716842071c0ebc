"""Presence by an open stream: who reads the feed is online, and is there in the call that the user is in.

One timer a process beats for all its streams: a stream counts as the session "feed-<user>", whichever process it is open at. So
a phone that holds its stream open need not beat by itself; one that loses it is offline, or out of its call, when the beats are
missed (`OFFLINE_AFTER`, `PEER_LOST_AFTER`).
"""

import asyncio
from typing import Final

from schemas.log.base import UserId, new_id, now
from schemas.user import BEAT_EVERY_S, USER, Beat, OpenSession
from schemas.video import CALL, CALL_BEAT_EVERY_S, BeatCall, CallStatus
from schemas.video_line import LINE
from serving.runtime.commands import Commands
from serving.runtime.views import Views

# Session beats come every second time.
EVERY: Final = BEAT_EVERY_S // CALL_BEAT_EVERY_S


class Presence:
    """Beats for the users whose streams are open in this process."""

    def __init__(self, views: Views, commands: Commands) -> None:
        self._views = views
        self._commands = commands
        self._tasks: set[asyncio.Task[None]] = set()
        views.hub.opened = self.opened

    def opened(self, user: str) -> None:
        """A stream was opened: the user is online at once."""
        task = asyncio.get_running_loop().create_task(self._commands.note(*self._session(user)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Beat until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(CALL_BEAT_EVERY_S)
            turn += 1
            users = self._views.hub.users()
            beats = [beat for user in users for beat in self._call(user)]
            if turn % EVERY == 0:
                beats += [beat for user in users for beat in self._session(user)]
            await self._commands.note(*beats)

    def _session(self, user: str) -> list[OpenSession | Beat | BeatCall]:
        known = self._views.of(USER).get(user)
        if known is None or known.banned:
            return []
        session = f"feed-{user}"
        if any(one.session == session for one in known.sessions):
            return [Beat(id=new_id(), at=now(), user=UserId(user), session=session)]
        return [OpenSession(id=new_id(), at=now(), user=UserId(user), session=session, device="feed")]

    def _call(self, user: str) -> list[OpenSession | Beat | BeatCall]:
        return list(call_beats(self._views, user))


def call_beats(views: Views, user: str) -> list[BeatCall]:
    """The beat of a user who talks; none for one who does not."""
    line = views.of(LINE).get(user)
    if line is None or not line.call:
        return []
    call = views.of(CALL).get(line.call)
    if call is None or call.status is not CallStatus.CONNECTED:
        return []
    return [BeatCall(id=new_id(), at=now(), call=line.call, by=UserId(user))]
