"""Notices of the outside world that nothing is decided of, or that cannot be read: kept as dead letters, for a person."""

import time

from fastapi import Request

from schemas.log.base import now
from schemas.log.dead_letters import DeadCause, DeadLetter
from serving.runtime.commands import commands_of
from serving.runtime.problems import Problem


async def refused_and_kept(request: Request, source: str, body: bytes, problem: Problem) -> Problem:
    """The answer to a notification that cannot be taken, once it is among the dead letters. Errors: Problem 503."""
    letter = await keep_notice(request, source, body, f"{problem.code}: {problem.detail}")
    return Problem(problem.status, problem.code, f"{problem.detail}; it is kept as the dead letter {letter}")


async def keep_notice(request: Request, source: str, body: bytes, error: str, kind: str = "") -> str:
    """Put a notification aside; `source`: whose, `kind`: of what, where that could be read. The dead letter's id. Errors:
    Problem 503."""
    offset = time.time_ns() // 1_000
    letter = DeadLetter(
        id=f"{source}/0/{offset}", at=now(), cause=DeadCause.WEBHOOK_INVALID, error=error[:500], topic=source, partition=0,
        offset=offset, key=b"", value=body, kind=kind,
    )  # fmt: skip
    await commands_of(request).bury(letter)
    return letter.id
