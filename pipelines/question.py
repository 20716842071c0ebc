"""Questions in SQL, keyed by name. State: `schemas.question.Question`. Law: a run is told once, and changes nothing.

Refusals: `question_unknown`.
"""

from collections.abc import Sequence

from schemas.log.base import Message, Wake, reply, same_fields
from schemas.question import (
    NoteRun,
    PutQuestion,
    Question,
    QuestionInbox,
    QuestionPut,
    QuestionRefusal,
    QuestionRefused,
    QuestionRemoved,
    QuestionRun,
)


def decide_question(state: Question | None, message: QuestionInbox) -> tuple[Question | None, Sequence[Message]]:
    """Decide one message about a question."""
    match message:
        case Wake():
            return state, ()
        case NoteRun():
            return state, (QuestionRun(**reply(message), **same_fields(message, QuestionRun)),)
        case PutQuestion():
            after = Question(sql=message.sql, title=message.title, by=message.by, saved_at=message.at)
            return after, (QuestionPut(**reply(message), **same_fields(message, QuestionPut)),)
    if state is None:
        unknown = QuestionRefusal.QUESTION_UNKNOWN
        return None, (QuestionRefused(**reply(message), question=message.question, refusal=unknown),)
    return None, (QuestionRemoved(**reply(message), question=message.question, by=message.by),)
