"""Acts at the command line: noted in front, answered behind, whatever comes of them."""

import os
import pwd
from typing import Any

import pytest

from infra import acts
from infra.config import load
from infra.errors import UsageError
from schemas.mission_control import AnswerAct, NoteAct


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the log was told, in order."""
    found: list[Any] = []
    monkeypatch.setattr("infra.acts.tell", lambda _config, _entity, _key, command: found.append(command))
    monkeypatch.setattr("infra.acts.user_here", lambda: "ann b/c")
    return found


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(None, 200, ""), (UsageError("it is none"), 422, "refused"), (RuntimeError("the broker"), 500, "failed")],
)
def test_an_act_is_noted_first_and_answered_whatever_comes(
    told: list[Any], error: Exception | None, status: int, code: str
) -> None:
    def do() -> None:
        with acts.noted(load(), "dead-letters redrive", "gift.inbox/0/17", " ticket 4711 ", ("bob", "b@example.com")):
            assert [type(one) for one in told] == [NoteAct], "nothing is done of which the log does not know"
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            do()
    else:
        do()
    note, answer = told
    assert (note.staff, note.operation, note.permission) == ("os:ann_b_c", "olo dead-letters redrive", acts.COMMAND_LINE)
    assert (note.thing, note.why, note.subjects, note.roles) == ("gift.inbox/0/17", "ticket 4711", ("bob",), ())
    assert (type(answer), answer.act, answer.status, answer.code) == (AnswerAct, note.act, status, code)


@pytest.mark.parametrize("why", ["x" * 257, "a\nb"])
def test_a_reason_that_is_none_does_nothing(told: list[Any], why: str) -> None:
    with pytest.raises(UsageError, match="a reason has"), acts.noted(load(), "purge", why=why):
        told.append("done")
    assert told == []


def test_who_it_was_says_the_operating_system_and_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "finance")
    name = pwd.getpwuid(os.getuid()).pw_name
    assert acts.who() == f"os:{name}" != "os:finance"
    monkeypatch.setattr("infra.machine.os.getuid", lambda: 2**31 - 7)
    assert acts.who() == f"os:uid-{2**31 - 7}", "a container's user has no name"
