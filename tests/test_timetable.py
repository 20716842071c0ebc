"""The timetable: each fire once, by policy; a daily job once a local date in every zone; bad jobs are told by name."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from infra import vendors
from infra.config import load
from infra.cron import plan_of
from infra.vendors import chores
from pipelines.timetable import decide_timetable
from schemas.gift import PutGiftItem
from schemas.log.base import LAST, Wake, now
from schemas.log.templates import TemplateError, commands, fill, sendable
from schemas.outbox import AttemptOutcome, EffectAccepted, EffectDue, EffectExpired, EffectKind, EffectRefused, OweEffect
from schemas.timetable import (
    MAX_QUEUE,
    Definition,
    FireEnded,
    FireOutcome,
    FireStarted,
    JobPaused,
    Overlap,
    PauseJob,
    PutJobOnTimetable,
    ResumeJob,
    RunJob,
    TakeJobOffTimetable,
    Timetable,
    TimetableRefusal,
    chore_id,
)
from schemas.timetable_plan import PLANNED, CatchUp, PlanWanted, Schedule
from tests.decisions import decisions_of

decide = decisions_of(decide_timetable)
T = datetime(2030, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MINUTELY = Schedule("* * * * *")
TEMPLATE = '{"item":"{date}","price_coins":10,"share_coins":4}'


def definition(**more: Any) -> Definition:
    work = {"chore": more["chore"]} if "chore" in more else {"command": "PutGiftItem", "template": TEMPLATE}
    return Definition(**({"schedule": MINUTELY} | work | more))


def put(at: datetime = T, **more: Any) -> PutJobOnTimetable:
    job = definition(**more)
    plan = plan_of(PlanWanted(0, job.schedule, at), at)
    return PutJobOnTimetable(id=f"put@{at}", at=at, job="j", definition=job, plan=plan, by="root")


def wake(state: Timetable, late_s: int = 0) -> Wake:
    assert state.wake_at is not None
    return Wake(id=f"j@{state.wake_at}", at=state.wake_at, key="j", late_s=late_s)


def planned(told: Any, now: datetime) -> EffectAccepted:
    """What the outbox answers to the wish for a plan."""
    (owed,) = [one for one in told if isinstance(one, OweEffect) and one.kind is EffectKind.PLAN]
    assert owed.wanted is not None
    return EffectAccepted(
        id=f"{owed.effect}/done", at=now, cause="x", effect=owed.effect, kind=owed.kind, provider=owed.provider,
        subject=owed.subject, attempt=1, plan=plan_of(owed.wanted, now),
    )  # fmt: skip


def ran(instant: datetime, at: datetime, kind: type[Any] = EffectAccepted, version: int = 1) -> Any:
    return kind(
        id=f"ran@{at}", at=at, cause="x", effect=chore_id("j", version, instant), kind=EffectKind.CHORE, provider="quality",
        subject="j", attempt=1,
    )  # fmt: skip


def ends(told: Any) -> list[tuple[FireOutcome, int]]:
    return [(one.outcome, one.fires) for one in told if isinstance(one, FireEnded)]


def test_only_a_job_that_is_there_is_paused_run_or_taken_off() -> None:
    for command in (TakeJobOffTimetable, PauseJob, ResumeJob, RunJob):
        message = command(id="c", at=T, job="j")
        gone, _ = decide(decide(None, put())[0], TakeJobOffTimetable(id="off", at=T, job="j"))
        for state in (None, gone):
            after, (fact,) = decide(state, message)
            assert (after, fact.refusal) == (state, TimetableRefusal.JOB_UNKNOWN)


def test_a_fire_sends_its_command_with_its_own_names_filled_in() -> None:
    state, (fact, *_) = decide(None, put())
    assert (fact.version, fact.by, state.wake_at) == (1, "root", T + MINUTE)
    after, told = decide(state, wake(state))
    command = next(one for one in told if isinstance(one, PutGiftItem))
    assert (command.id, command.item, command.by) == ("fire/j/1/2030-01-01T00:01:00Z", "2030-01-01", "timetable/j")
    assert ends(told) == [(FireOutcome.SENT, 1)]
    assert decide(after, wake(state)) == (after, ()), "the same wake again"
    assert after.wake_at == T + 2 * MINUTE


def test_a_template_that_gives_no_command_any_more_is_told_and_stops_nothing() -> None:
    wrongs: list[dict[str, Any]] = [
        {"command": "Gone"}, {"template": "{"}, {"template": "[" * 4_000}, {"template": '{"item":1}'}
    ]  # fmt: skip
    for wrong in wrongs:
        state, _ = decide(None, put(**wrong))
        after, told = decide(state, wake(state))
        assert ends(told) == [(FireOutcome.INVALID, 1)]
        assert after.wake_at == T + 2 * MINUTE


@pytest.mark.parametrize(
    ("catch_up", "window_s", "expected"),
    [
        (CatchUp.EACH, 86_400, [(FireOutcome.SENT, 1)] * 20),
        (CatchUp.EACH, 300, [(FireOutcome.MISSED, 14), *[(FireOutcome.SENT, 1)] * 6]),
        (CatchUp.ONE, 86_400, [(FireOutcome.MISSED, 19), (FireOutcome.SENT, 1)]),
        (CatchUp.NONE, 86_400, [(FireOutcome.MISSED, 19), (FireOutcome.SENT, 1)]),
    ],
)
def test_what_was_missed_is_caught_up_as_the_job_says(
    catch_up: CatchUp, window_s: int, expected: list[tuple[FireOutcome, int]]
) -> None:
    state, _ = decide(None, put(catch_up=catch_up, window_s=window_s))
    after, told = decide(state, wake(state, late_s=19 * 60))
    assert ends(told) == expected
    assert after.wake_at == T + 21 * MINUTE


@pytest.mark.parametrize("catch_up", CatchUp)
def test_an_outage_of_two_hours_leaves_out_no_instant(catch_up: CatchUp) -> None:
    """The planned instants are over long before the outage is: what is known only later is caught up as well."""
    state, _ = decide(None, put(catch_up=catch_up))
    now = T + timedelta(hours=2, seconds=40)
    state, told = decide(state, wake(state, late_s=int((now - T - MINUTE).total_seconds())))
    seen = list(told)
    while state.asked:
        state, told = decide(state, planned(told, now))
        seen += told
    counted = Counter[FireOutcome]()
    for outcome, fires in ends(seen):
        counted[outcome] += fires
    assert counted.total() == 120
    assert counted[FireOutcome.SENT] == {CatchUp.EACH: 120, CatchUp.ONE: 1, CatchUp.NONE: 0}[catch_up]
    assert state.wake_at == T + timedelta(minutes=121)


def test_what_is_older_than_the_window_is_counted_and_not_planned() -> None:
    plan = plan_of(PlanWanted(1, MINUTELY, T, window_s=600), T + timedelta(hours=2))
    assert (plan.passed, plan.passed_first, plan.passed_last) == (109, T + MINUTE, T + 109 * MINUTE)
    assert (plan.instants[0], len(plan.instants), plan.ended) == (T + 110 * MINUTE, PLANNED, False)


def test_a_version_that_was_replaced_or_taken_off_never_fires() -> None:
    old, told = decide(None, put())
    while not old.asked:
        old, told = decide(old, wake(old))
    answer = planned(told, T)
    new, _ = decide(old, put(T + timedelta(hours=1), schedule=Schedule(every_s=3_600, at=T)))
    assert new.version == 2
    gone, _ = decide(new, TakeJobOffTimetable(id="off", at=T + timedelta(hours=1), job="j"))
    for state in (new, gone):
        assert decide(state, answer) == (state, ())
        assert decide(state, Wake(id="w", at=old.instants[0], key="j")) == (state, ())
    again, (fact, *_) = decide(gone, put(T + timedelta(hours=3)))
    assert (again.version, fact.version) == (3, 3), "no version comes twice"


def test_what_was_due_when_a_newer_version_came_is_told() -> None:
    state, _ = decide(None, put())
    _, told = decide(state, put(T + 3 * MINUTE))
    assert ends(told) == [(FireOutcome.SUPERSEDED, 3)]


def test_a_paused_job_fires_only_what_staff_runs() -> None:
    state, _ = decide(None, put())
    late = wake(state)
    state, told = decide(state, PauseJob(id="p", at=T + MINUTE, job="j", by="root"))
    assert (type(told[0]), ends(told)) == (JobPaused, [(FireOutcome.SENT, 1)]), "it was due before"
    assert (state.wake_at, decide(state, late)) == (None, (state, ()))
    state, told = decide(state, RunJob(id="r", at=T + 5 * MINUTE, job="j", by="root"))
    assert ends(told) == [(FireOutcome.SENT, 1)]
    state, told = decide(state, ResumeJob(id="s", at=T + 10 * MINUTE, job="j", by="root"))
    assert (ends(told), state.wake_at) == ([], T + 11 * MINUTE)


@pytest.mark.parametrize(
    ("overlap", "second", "third"),
    [
        (Overlap.SKIP, [FireOutcome.SKIPPED], [FireOutcome.DONE]),
        (Overlap.QUEUE, [], [FireOutcome.DONE]),
        (Overlap.REPLACE, [FireOutcome.REPLACED], []),
    ],
)
def test_a_fire_while_another_one_runs(overlap: Overlap, second: list[FireOutcome], third: list[FireOutcome]) -> None:
    state, _ = decide(None, put(chore="quality", overlap=overlap))
    first = state.instants[0]
    state, _ = decide(state, wake(state))
    state, told = decide(state, wake(state))
    assert [outcome for outcome, _ in ends(told)] == second
    state, told = decide(state, ran(first, T + 3 * MINUTE))
    assert [outcome for outcome, _ in ends(told)] == third
    assert (state.run is None) == (overlap is Overlap.SKIP)
    assert sum(isinstance(one, FireStarted) for one in told) == (overlap is Overlap.QUEUE)


def test_a_queue_has_an_end_and_how_a_chore_ended_is_told() -> None:
    state, _ = decide(None, put(chore="quality", overlap=Overlap.QUEUE))
    first = state.instants[0]
    outcomes = []
    for n in range(MAX_QUEUE + 3):
        state, told = decide(state, RunJob(id=f"r{n}", at=T + timedelta(seconds=n), job="j"))
        outcomes += ends(told)
    assert outcomes == [(FireOutcome.QUEUE_FULL, 1)] * 2
    for kind, outcome in ((EffectRefused, FireOutcome.FAILED), (EffectExpired, FireOutcome.EXPIRED)):
        assert state.run
        state, told = decide(state, ran(state.run.instant, T + timedelta(seconds=50), kind))
        assert ends(told) == [(outcome, 1)]
    assert (first, len(state.history)) == (T + MINUTE, 4)


def test_a_plan_that_cannot_be_worked_out_pauses_the_job() -> None:
    state, told = decide(None, put())
    while not state.asked:
        state, told = decide(state, wake(state))
    accepted = planned(told, T)
    refused = EffectRefused(
        id="no", at=T + timedelta(hours=1), cause="x", effect=accepted.effect, kind=EffectKind.PLAN, provider="timetable",
        subject="j", attempt=1,
    )  # fmt: skip
    state, (fact,) = decide(state, refused)
    assert (type(fact), fact.by, state.paused) == (JobPaused, "timetable", True)
    state, told = decide(state, ResumeJob(id="s", at=T + timedelta(hours=2), job="j"))
    assert state.asked == T + timedelta(hours=2)


def test_a_job_that_fires_once_is_over_then() -> None:
    state, _ = decide(None, put(schedule=Schedule(at=T + MINUTE)))
    state, told = decide(state, wake(state))
    assert (ends(told), state.ended, state.wake_at, state.asked) == ([(FireOutcome.SENT, 1)], True, None, None)


# --- templates --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "template", "why"),
    [
        ("Gone", "{}", "no command"),
        ("RunJob", '{"job":"j"}', "no command"),
        ("GiftSent", "{}", "no command"),
        ("PutTracking", '{"user":"ann"}', "no command"),
        ("PutGiftItem", '{"item":"x","colour":1}', "no field colour"),
        ("PutGiftItem", '{"id":"mine"}', "filled in"),
        ("PutGiftItem", '{"by":"root"}', "filled in"),
        ("PutGiftItem", '{"item":"x","price_coins":-1,"share_coins":0}', "price_coins"),
        ("PutGiftItem", "[]", "PutGiftItem"),
        ("PlaceTransfer", '{"transfer":"t","payer":"@x","payee":"ann/earnings","coins":5,"reason":"gift"}', "not as gift"),
        ("PutGiftItem", '{"item":' + "[" * 3_900, "PutGiftItem"),
    ],
)
def test_a_template_that_gives_no_command_says_why(command: str, template: str, why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        fill(command, template, {}, id_="i", at=T, by="root")


def test_a_template_may_be_of_no_command_that_carries_what_is_personal_or_commands_jobs() -> None:
    left_out = commands().keys() - sendable().keys()
    assert {"PutTracking", "PutProfile", "RunJob", "PutJobOnTimetable"} <= left_out
    assert {"Transfer", "Credit"} <= left_out, "coins move past the four eyes' limit"
    assert {"SendGift", "OpenBill", "PlaceCall", "PlayClip", "JoinRoulette"} <= left_out, "so would the coins of users"
    assert {"PutGiftItem", "PlaceTransfer"} <= sendable().keys()


# --- chores -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "limit_s", "outcome", "said"),
    [
        (("topics", "--help"), 60, AttemptOutcome.ACCEPTED, "its facts"),
        (("laundry",), 60, AttemptOutcome.REFUSED, "laundry"),
        (("topics", "--help"), 0, AttemptOutcome.FAILED, "longer"),
    ],
)
def test_what_a_chore_comes_to(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], limit_s: int, outcome: AttemptOutcome, said: str
) -> None:
    monkeypatch.setitem(chores.CHORES, "tried", arguments)
    due = EffectDue(
        id="d", at=T, cause="c", effect="chore/j/1/x", kind=EffectKind.CHORE, provider="tried", subject="j", attempt=1,
        expires_at=now() + timedelta(seconds=limit_s),
    )  # fmt: skip
    found = chores.run(due, load(brokers="127.0.0.1:1"), httpx.Client(trust_env=False, verify=False))
    assert found.outcome is outcome
    assert said in found.detail


def test_a_plan_that_cannot_be_made_needs_a_person() -> None:
    wanted = PlanWanted(1, Schedule("0 3 * * *", "Europe/Atlantis"), T)
    for asked, outcome in (
        (wanted, AttemptOutcome.REFUSED),
        (None, AttemptOutcome.REFUSED),
        (replace(wanted, schedule=MINUTELY), AttemptOutcome.ACCEPTED),
    ):
        due = EffectDue(
            id="d", at=T, cause="c", effect="plan/j/1/x", kind=EffectKind.PLAN, provider="timetable", subject="j", attempt=1,
            expires_at=LAST, wanted=asked,
        )  # fmt: skip
        made = vendors.attempt(due, load(brokers="127.0.0.1:1"), httpx.Client(trust_env=False, verify=False))
        assert (made.outcome, bool(made.plan)) == (outcome, outcome is AttemptOutcome.ACCEPTED)
