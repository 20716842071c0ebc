"""Four eyes, where staff's commands leave serving: what moves more coins than OLO_FOUR_EYES_COINS is not sent by one alone, and
what its sender gains by is not sent by them at all, however little it is."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.log.base import Message
from schemas.mission_control_approval import FOUR_EYES, needs_approval
from serving.runtime.problems import Problem

# What a template says of itself when it is sent.
ENVELOPE: Final = frozenset({"type", "id", "at", "by"})
Eyes = Callable[[Any, str], Problem | None]


def four_eyes(limit_coins: int) -> Eyes:
    """Why a command may not be sent for this member of staff alone; None: it may."""

    def problem_of(command: Any, maker: str) -> Problem | None:
        rule = FOUR_EYES.get(type(command))
        if rule is not None and maker in rule.beneficiaries(command):
            return Problem(403, "own_benefit", "you gain by it; somebody else has to do it")
        if not needs_approval(command, limit_coins):
            return None
        detail = f"more than {limit_coins} coins take a second person: POST this command and template to /v1/admin/approvals"
        return Problem(403, "approval_needed", detail, command=type(command).__name__, template=template_of(command))

    return problem_of


def template_of(command: Message) -> dict[str, Any]:
    """The command as a template."""
    fields: dict[str, Any] = msgspec.to_builtins(command)
    return {name: value for name, value in fields.items() if name not in ENVELOPE}
