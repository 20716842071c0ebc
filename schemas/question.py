"""Questions in SQL that staff asks the warehouse: saved ones, by name, and each run of any, which is a fact before it begins.

What staff writes in a question stands in the log and in the warehouse, as its reasons do: a person in it is named by their id.
"""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import By, Fact, Fields, Id, Message, Refused, State, Time, Wake
from schemas.log.entity import Entity, Flow
from schemas.log.personal import PLAIN
from schemas.user import Code

MAX_SQL: Final = 10_000
Sql = Annotated[str, Meta(min_length=1, max_length=MAX_SQL), PLAIN]
Title = Annotated[str, Meta(max_length=200), PLAIN]


class QuestionRefusal(StrEnum):
    """Why a command was refused."""

    QUESTION_UNKNOWN = "question_unknown"


class QuestionFields(Fields):
    """What is asked, and what it is called."""

    sql: Sql
    title: Title = ""


class PutQuestion(Message, QuestionFields):
    """Save the question under this name, whatever stood there."""

    question: Id
    by: By = ""


class RemoveQuestion(Message):
    """Take it away."""

    question: Id
    by: By = ""


class RunFields(Fields):
    """What the warehouse is asked, in which `form` the answer is wanted, and by whom. `question`: a saved one, or a name for
    this run."""

    question: Id
    sql: Sql
    form: Code
    by: By = ""


class NoteRun(Message, RunFields):
    """Somebody asks the warehouse."""


class QuestionPut(Fact, QuestionFields):
    """It is saved."""

    question: Id
    by: By = ""


class QuestionRemoved(Fact):
    """It is not there any more."""

    question: Id
    by: By = ""


class QuestionRun(Fact, RunFields):
    """The warehouse is asked this."""


class QuestionRefused(Refused):
    """Nothing was changed."""

    question: Id
    refusal: QuestionRefusal


class Question(State, QuestionFields, kw_only=True):
    """A saved question: by whom, and when."""

    by: By
    saved_at: Time


QuestionInbox = PutQuestion | RemoveQuestion | NoteRun | Wake

QUESTION: Final = Entity(
    "question",
    key="question",
    flow=Flow.GROWTH,
    state=Question,
    commands=(PutQuestion, RemoveQuestion, NoteRun),
    facts=(QuestionPut, QuestionRemoved, QuestionRun, QuestionRefused),
)
