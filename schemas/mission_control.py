"""What staff did: every request of theirs is an *act*, an entity of its own, `staff_act`.

An act is noted before anything of it is done (`NoteAct`: serving goes on when the log has it), and answered when its request
was (`AnswerAct`). Of what was asked only that is kept which says nothing about a person; texts stand there as their SHA-256.
Where whoever serves dies between the two, the act says after UNANSWERED_AFTER that its outcome is unknown.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import Fact, Fields, Id, Message, MessageName, State, Time, Wake, later
from schemas.log.entity import Entity, Flow
from schemas.log.personal import PLAIN
from schemas.user import Code, Role, User_

# A request is answered within seconds; a stream within minutes.
UNANSWERED_AFTER: Final = timedelta(minutes=15)
# An act on more people than these names the first ones; their own facts tell of each.
MAX_SUBJECTS: Final = 20
# What was asked is a body of some lines; of a longer one stands its length and SHA-256.
MAX_ASKED: Final = 2_000
MAX_COMMANDS: Final = 16
MAX_WHY: Final = 256
# The code of an act of which nobody knows the outcome.
UNKNOWN: Final = "unknown"

Why = Annotated[str, Meta(max_length=MAX_WHY, description="staff's reason"), PLAIN]
Asked = Annotated[str, Meta(max_length=MAX_ASKED, description="JSON; texts as their SHA-256"), PLAIN]
Commands = Annotated[tuple[MessageName, ...], Meta(max_length=MAX_COMMANDS)]


class ActName(Fields):
    """Which act."""

    act: Id


class ActFields(Fields):
    """Who (`staff`, under these `roles`) asked for what: the operation of the API's document, and the permission that it takes;
    about whom (`subjects`) and what (`thing`, ids of the path); why; and the rest of what was asked."""

    staff: User_
    roles: Annotated[tuple[Role, ...], Meta(max_length=len(Role))]
    operation: Code
    permission: Code
    subjects: Annotated[tuple[User_, ...], Meta(max_length=MAX_SUBJECTS)] = ()
    thing: Annotated[str, Meta(max_length=256), PLAIN] = ""
    why: Why = ""
    asked: Asked = ""


class OutcomeFields(Fields):
    """What came of it: the answer's HTTP status and, of an error, its code. `commands`: the ids of what was sent to be decided;
    the facts whose `cause` they are say what was changed, from what to what."""

    status: Annotated[int, Meta(ge=0, le=999)]
    code: Code = ""
    commands: Commands = ()


class NoteAct(Message, ActName, ActFields):
    """Staff asks for something. It is written before anything of it is done."""


class AnswerAct(Message, ActName, OutcomeFields):
    """The act's request was answered."""


class StaffActed(Fact, ActName, ActFields):
    """Staff asked for something, at `at`."""


class StaffAnswered(Fact, ActName, ActFields, OutcomeFields):
    """What came of the act that began at `acted_at`. Status 0, code `unknown`: nobody has said."""

    acted_at: Time


class StaffAct(State, ActFields, kw_only=True):
    """An act whose outcome is still to come."""

    acted_at: Time

    @property
    def wake_at(self) -> datetime | None:
        """When nobody will say any more what came of it."""
        return later(self.acted_at, UNANSWERED_AFTER)


StaffActInbox = NoteAct | AnswerAct | Wake

STAFF_ACT: Final = Entity(
    "staff_act",
    key="act",
    flow=Flow.GROWTH,
    state=StaffAct,
    commands=(NoteAct, AnswerAct),
    facts=(StaffActed, StaffAnswered),
)
