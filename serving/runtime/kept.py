"""Notices of the outside world that nothing is decided of, or that cannot be read: kept as dead letters, for a person."""

import time

from fastapi import Request

from schemas.log.base import now
from schemas.log.dead_letters import DeadCause, DeadLetter
from serving.runtime.commands import commands_of


async def keep_notice(request: Request, source: str, body: bytes, error: str) -> str:
    """Put a notification aside; `source`: whose. The dead letter's id. Errors: Problem 503."""
    offset = time.time_ns() // 1_000
    letter = DeadLetter(
        id=f"{source}/0/{offset}", at=now(), cause=DeadCause.WEBHOOK_INVALID, error=error[:500], topic=source, partition=0,
        offset=offset, key=b"", value=body,
    )  # fmt: skip
    await commands_of(request).bury(letter)
    return letter.id
