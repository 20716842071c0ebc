"""Presence by an open stream: who reads the feed is online, and is there in the call that the user is in.

One timer a process beats for all its streams: a stream counts as a session of its phone (`serving.runtime.devices`), whichever
process it is open at; for a call only if the call is on that phone. So a phone that holds its stream open need not beat by
itself; one that loses it is offline, or out of its call, when the beats are missed (`OFFLINE_AFTER`, `PEER_LOST_AFTER`).
"""

import asyncio
from collections.abc import Iterable
from itertools import chain
from typing import Final

from schemas.log.base import UserId, new_id, now
from schemas.user import BEAT_EVERY_S, USER, Beat, OpenSession, mark_of
from schemas.video import CALL, CALL_BEAT_EVERY_S, BeatCall, CallStatus
from schemas.video_line import LINE
from serving.runtime.commands import Commands, request_id
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

    def opened(self, user: str, device: str) -> None:
        """A stream was opened: the user is online at once."""
        task = asyncio.get_running_loop().create_task(self._commands.note(*self._session(user, device)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Beat until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(CALL_BEAT_EVERY_S)
            turn += 1
            phones = self._views.hub.phones()
            beats: list[OpenSession | Beat | BeatCall] = []
            for user, devices in phones:
                beats += call_beats(self._views, user, map(mark_of, chain.from_iterable(devices)))
            if turn % EVERY == 0:
                own = ((user, device) for user, devices in phones for device in dict.fromkeys(names[0] for names in devices))
                beats += [beat for user, device in own for beat in self._session(user, device)]
            await self._commands.note(*beats)

    def _session(self, user: str, device: str) -> list[OpenSession | Beat | BeatCall]:
        known = self._views.of(USER).get(user)
        if known is None or known.banned or known.erased_at is not None:
            return []
        session = next((one.session for one in known.sessions if one.device == device), "")
        if session:
            return [Beat(id=new_id(), at=now(), user=UserId(user), session=session)]
        session = request_id(user, f"feed {device}")
        return [OpenSession(id=new_id(), at=now(), user=UserId(user), session=session, device=device)]


def call_beats(views: Views, user: str, marks: Iterable[str]) -> list[BeatCall]:
    """The beat of a user who talks on one of the phones with these marks (`mark_of`); none for one who does not."""
    line = views.of(LINE).get(user)
    if line is None or not line.call:
        return []
    call = views.of(CALL).get(line.call)
    if call is None or call.status is not CallStatus.CONNECTED:
        return []
    device = call.device_of(user)
    if device and device not in marks:
        return []
    return [BeatCall(id=new_id(), at=now(), call=line.call, by=UserId(user), device=device)]
