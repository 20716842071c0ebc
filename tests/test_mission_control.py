"""What staff did: each act is told once and has one outcome, and says nothing about a person but who it is."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipelines.mission_control import decide_staff_act
from schemas.log.base import Wake
from schemas.mission_control import UNANSWERED_AFTER, AnswerAct, NoteAct, StaffActed, StaffAnswered
from schemas.user import Role
from tests.decisions import decisions_of
from tests.long_lists import long_lists
from tests.people import BOB

decide = decisions_of(decide_staff_act)
T = datetime(2030, 1, 1, tzinfo=UTC)
NOTE = NoteAct(
    id="n", at=T, act="a", staff=BOB, roles=(Role.ADMIN,), operation="banUser", permission="people.change", why="a ticket"
)
ANSWER = AnswerAct(id="d", at=T + timedelta(seconds=1), act="a", status=404, code="user_unknown", commands=("c",))
EARLY = Wake(id="w", at=T + UNANSWERED_AFTER - timedelta(seconds=1), key="a")
LATE = Wake(id="w", at=T + UNANSWERED_AFTER, key="a")


def test_an_act_is_told_when_it_begins_and_with_its_outcome() -> None:
    act, (acted,) = decide(None, NOTE)
    assert (acted.staff, acted.operation, acted.why, acted.at) == (BOB, "banUser", "a ticket", T)
    after, (answered,) = decide(act, ANSWER)
    assert after is None
    assert (answered.staff, answered.acted_at, answered.status, answered.code) == (BOB, T, 404, "user_unknown")
    assert answered.commands == ("c",)


def test_an_act_that_nobody_answered_says_so() -> None:
    act, _ = decide(None, NOTE)
    assert decide(act, EARLY) == (act, ())
    after, (answered,) = decide(act, LATE)
    assert (after, answered.status, answered.code, answered.act, answered.staff) == (None, 0, "unknown", "a", BOB)
    assert decide(None, ANSWER) == (None, ())


@given(long_lists(st.sampled_from((NOTE, ANSWER, EARLY, LATE)), 12))
def test_an_act_that_was_told_is_open_or_has_had_one_outcome(messages: list[NoteAct | AnswerAct | Wake]) -> None:
    state, open_acts = None, 0
    for message in messages:
        state, told = decide(state, message)
        open_acts += sum((type(one) is StaffActed) - (type(one) is StaffAnswered) for one in told)
        assert open_acts == (state is not None)
