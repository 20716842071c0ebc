"""Acts of staff, keyed by act. State: `schemas.mission_control.StaffAct`, from the request to its answer.

Laws: an act is told once (`StaffActed`), and has one outcome (`StaffAnswered`): its answer, or, where none came in time, that
it is unknown. An answer of an act that is over, or was never noted, changes nothing.
"""

from collections.abc import Sequence
from typing import Any

from schemas.log.base import Message, Wake, reply, same_fields
from schemas.mission_control import UNKNOWN, AnswerAct, NoteAct, StaffAct, StaffActed, StaffActInbox, StaffAnswered

Decision = tuple[StaffAct | None, Sequence[Message]]


def decide_staff_act(act: StaffAct | None, message: StaffActInbox) -> Decision:
    """Decide one message of an act's inbox."""
    match message:
        case NoteAct() if act is None:
            acted = StaffActed(**reply(message), **same_fields(message, StaffActed))
            return StaffAct(**same_fields(message, StaffAct), acted_at=message.at), (acted,)
        case AnswerAct() if act is not None:
            return _over(act, message, same_fields(message, StaffAnswered))
        case Wake() if act is not None and act.is_due(message.at):
            return _over(act, message, {"act": message.key, "status": 0, "code": UNKNOWN})
    return act, ()


def _over(act: StaffAct, message: Message, outcome: dict[str, Any]) -> Decision:
    return None, (StaffAnswered(**reply(message), **same_fields(act, StaffAnswered) | outcome),)
