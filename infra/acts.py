"""Acts at the command line, as the audit has them: who (the operating system's user, as `os:<name>`), what, of whom, why.

As with staff's requests nothing is done of which the log does not know: an act is noted first, and what came of it behind it.
Its operation is the command (`olo dead-letters redrive`), its permission COMMAND_LINE; status 200: done, 422: refused, with one
line to whoever asked; 500: it failed, and may have been done.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from infra.config import Config
from infra.entities import tell
from infra.errors import UsageError
from infra.machine import user_here
from schemas.log.base import UserId, new_id, now
from schemas.mission_control import MAX_SUBJECTS, MAX_WHY, STAFF_ACT, AnswerAct, NoteAct
from schemas.user import is_user_id

COMMAND_LINE: Final = "command_line"
Reason = Annotated[str, typer.Option(help="why; it is kept with your name")]


def who() -> UserId:
    """Whoever is at the command line, as an id that no account of the operating system can make into somebody else's."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", user_here())[:64]
    return UserId(f"os:{name or 'unknown'}")


@contextmanager
def noted(config: Config, command: str, thing: str = "", why: str = "", subjects: Sequence[str] = ()) -> Iterator[None]:
    """Note an act around what does it. Errors: UsageError for a reason that is none, KafkaException, TimeoutError."""
    why = why.strip()
    if len(why) > MAX_WHY or re.search(r"[\x00-\x1f]", why):
        raise UsageError(f"a reason has at most {MAX_WHY} characters, and no control characters")
    act = new_id()
    about = tuple(UserId(one) for one in subjects if is_user_id(one))[:MAX_SUBJECTS]
    note = NoteAct(
        id=new_id(), at=now(), act=act, staff=who(), roles=(), operation=f"olo {command}", permission=COMMAND_LINE,
        subjects=about, thing=thing[:256], why=why,
    )  # fmt: skip
    tell(config, STAFF_ACT, act, note)
    status, code = 500, "failed"
    try:
        yield
        status, code = 200, ""
    except UsageError:
        status, code = 422, "refused"
        raise
    finally:
        tell(config, STAFF_ACT, act, AnswerAct(id=new_id(), at=now(), act=act, status=status, code=code))
