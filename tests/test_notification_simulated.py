"""Notifications in simulated schedules: all laws hold, and planted bugs are found."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from msgspec.structs import replace

from pipelines.notification import decide_notification
from pipelines.runtime.core import Decider
from pipelines.runtime.simulator import run, schedule_of, search, tell
from schemas.chat import ChatRead
from schemas.log.base import Message, Wake
from schemas.notification import NOTIFICATION, AckNotification, NotificationInbox
from schemas.notification_state import Notifications
from schemas.push import PushTokenDead
from tests.lab.simulated_notifications import SETUP, laws_of_log

SEEDS = settings().max_examples // 2

Decision = tuple[Notifications | None, Sequence[Message]]


def test_all_laws_hold_over_many_schedules() -> None:
    failure = search(SETUP, range(SEEDS))
    assert failure is None, tell(failure)


def pushes_in_quiet_hours(state: Notifications | None, message: NotificationInbox) -> Decision:
    """Whoever sleeps is woken."""
    if state is None or state.quiet is None or isinstance(message, AckNotification):
        return decide_notification(state, message)
    after, told = decide_notification(replace(state, quiet=None), message)
    return (replace(after, quiet=state.quiet) if after else after), told


def forgets_to_cancel(state: Notifications | None, message: NotificationInbox) -> Decision:
    """What was acknowledged is pushed all the same."""
    after, told = decide_notification(state, message)
    if isinstance(message, AckNotification) and state and after:
        due = {one.notification: one.due_at for one in state.occurrences}
        after = replace(
            after, occurrences=tuple(replace(one, due_at=due.get(one.notification)) for one in after.occurrences)
        )  # fmt: skip
    return after, told


def keeps_dead_tokens(state: Notifications | None, message: NotificationInbox) -> Decision:
    """A vendor's word on a token counts for nothing."""
    return (state, ()) if isinstance(message, PushTokenDead) else decide_notification(state, message)


def reads_too_much(state: Notifications | None, message: NotificationInbox) -> Decision:
    """A read mark reads what came behind it, too."""
    return decide_notification(state, replace(message, seq=message.seq + 1) if isinstance(message, ChatRead) else message)


def wakes_twice(state: Notifications | None, message: NotificationInbox) -> Decision:
    """What was pushed is due once more."""
    after, told = decide_notification(state, message)
    if isinstance(message, Wake) and after and state:
        after = replace(after, occurrences=tuple(
            replace(one, due_at=message.at) if one.pushed_at == message.at and one.seq % 2 else one for one in after.occurrences
        ))  # fmt: skip
        again, more = decide_notification(after, message)
        return again, (*told, *more)
    return after, told


@pytest.mark.parametrize("bug", [pushes_in_quiet_hours, forgets_to_cancel, keeps_dead_tokens, reads_too_much, wakes_twice])
def test_a_planted_bug_is_found(bug: Callable[[Any, Any], Decision]) -> None:
    deciders = [Decider(NOTIFICATION, bug) if one.entity is NOTIFICATION else one for one in SETUP.deciders]
    setup = SETUP._replace(deciders=deciders, laws=laws_of_log)
    assert any(run(setup, schedule_of(seed, setup.workload, setup.drift_s)) for seed in range(60))
