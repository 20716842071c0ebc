"""The timetable, keyed by job. State: `schemas.timetable.Timetable`.

Laws: an instant is decided once, and in order: its fire starts and ends, or is told as not made; of a version that was replaced
or taken off nothing fires any more; a job that is paused fires nothing but what staff runs; one chore of a job runs at a time,
and each that started ends. Instants come from outside (`Plan`), so a replay never works them out again.

The moment of a decision is what a host's clock said when it wrote the message: a command's, a report's, or a wake's with its
delay. `_advance` settles all instants up to it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from schemas.log.base import LAST, Message, Wake, derive, in_calendar, later, reply
from schemas.log.templates import TemplateError, fill
from schemas.outbox import EffectAccepted, EffectExpired, EffectKind, EffectRefused, OweEffect
from schemas.timetable import (
    FIRE,
    HISTORY,
    MAX_QUEUE,
    ON_TIME_S,
    Due,
    FireEnded,
    FireOrdered,
    FireOutcome,
    FireStarted,
    JobOffTimetable,
    JobOnTimetable,
    JobPaused,
    JobPlanned,
    JobResumed,
    Overlap,
    Past,
    PauseJob,
    PutJobOnTimetable,
    ResumeJob,
    Run,
    RunJob,
    TakeJobOffTimetable,
    Timetable,
    TimetableInbox,
    TimetableRefusal,
    TimetableRefused,
    chore_id,
    names_of,
    plan_id,
)
from schemas.timetable_plan import PLANNED, CatchUp, Plan, PlanWanted

Decision = tuple[Timetable | None, Sequence[Message]]
Answer = EffectAccepted | EffectRefused | EffectExpired

BY_ITSELF: Final = "timetable"
ON_TIME: Final = timedelta(seconds=ON_TIME_S)
ENDS: Final = {
    EffectAccepted: FireOutcome.DONE, EffectRefused: FireOutcome.FAILED, EffectExpired: FireOutcome.EXPIRED,
}  # fmt: skip


def decide_timetable(state: Timetable | None, message: TimetableInbox) -> Decision:
    """Decide one message of a job's inbox."""
    match message:
        case PutJobOnTimetable():
            return _Turn(message.job, state or Timetable(0), message).put(message)
        case Wake():
            if state is None or state.paused or not state.instants or message.at < state.instants[0]:
                return state, ()
            return _Turn(message.key, state, message, later(message.at, timedelta(seconds=message.late_s))).go_on()
        case EffectAccepted() | EffectRefused() | EffectExpired():
            return (state, ()) if state is None else _Turn(message.subject, state, message).answered(message)
    if state is None or state.definition is None:
        return state, (TimetableRefused(**reply(message), job=message.job, refusal=TimetableRefusal.JOB_UNKNOWN),)
    turn = _Turn(message.job, state, message)
    match message:
        case TakeJobOffTimetable():
            return turn.take_off(message)
        case PauseJob():
            return turn.pause(message)
        case ResumeJob():
            return turn.resume(message)
        case RunJob():
            return turn.run(message)


class _Turn:
    """One decision on a job: the state as it becomes, and what is told on the way."""

    def __init__(self, job: str, state: Timetable, message: Message, now: datetime | None = None) -> None:
        self.job = job
        self.state = state
        self.message = message
        self.now = in_calendar(message.at if now is None else now)
        self.told: list[Message] = []

    def _end(self) -> Decision:
        """Ask for the next instants, if they are wanted."""
        state = self.state
        definition = state.definition
        if definition and not (state.ended or state.paused or state.asked or len(state.instants) > PLANNED // 2):
            after = state.planned_to or self.now
            self.state = replace(state, asked=after)
            wanted = PlanWanted(
                version=state.version, schedule=definition.schedule, after=after,
                window_s=ON_TIME_S if definition.catch_up is CatchUp.NONE else max(definition.window_s, ON_TIME_S),
            )  # fmt: skip
            self.told.append(
                OweEffect(
                    **derive(self.message, "plan"), effect=plan_id(self.job, state.version, after), kind=EffectKind.PLAN,
                    provider=BY_ITSELF, subject=self.job, expires_at=LAST, wanted=wanted,
                )
            )  # fmt: skip
        return self.state, self.told

    # --- staff ----------------------------------------------------------------------------------------------------------

    def put(self, message: PutJobOnTimetable) -> Decision:
        """A new version, beside which no older one fires."""
        self._supersede()
        version = self.state.version + 1
        self._tell_first(
            JobOnTimetable(
                **reply(message, "job"), job=self.job, definition=message.definition, version=version, zones=message.plan.zones,
                by=message.by,
            )
        )  # fmt: skip
        self.state = Timetable(
            version=version, definition=message.definition, paused=message.definition.paused, run=self.state.run,
            history=self.state.history, by=message.by, planned_to=in_calendar(message.plan.after),
        )  # fmt: skip
        self._take(message.plan)
        return self.go_on()

    def take_off(self, message: TakeJobOffTimetable) -> Decision:
        """Only the version stays, and the chore that runs."""
        self._supersede()
        self._tell_first(JobOffTimetable(**reply(message, "job"), job=self.job, version=self.state.version, by=message.by))
        self.state = Timetable(version=self.state.version, run=self.state.run, history=self.state.history, by=message.by)
        return self._end()

    def pause(self, message: PauseJob) -> Decision:
        """What was due before is settled first."""
        self.told.append(JobPaused(**reply(message), job=self.job, version=self.state.version, by=message.by))
        if not self.state.paused:
            self._advance()
        self.state = replace(self.state, paused=True)
        return self._end()

    def resume(self, message: ResumeJob) -> Decision:
        """What was due in between is not caught up: it was not to be made."""
        self.told.append(JobResumed(**reply(message), job=self.job, version=self.state.version, by=message.by))
        state = self.state
        if state.paused:
            self.state = replace(
                state, paused=False, asked=None, owed=None, instants=tuple(one for one in state.instants if one > self.now),
                planned_to=max(state.planned_to or self.now, self.now),
            )  # fmt: skip
            self._start_next()
        return self._end()

    def run(self, message: RunJob) -> Decision:
        """Fire now. Its instant is the command's time, which no schedule has: those are whole seconds. The same command again
        is the same fire."""
        state, instant = self.state, self.now.replace(microsecond=self.now.microsecond or 1)
        ordered = FireOrdered(**reply(message), job=self.job, version=state.version, instant=instant, by=message.by)
        self.told.append(ordered)
        known = (state.run, *state.queue, *state.history)
        if not any(one is not None and one.manual and one.instant == instant for one in known):
            self._fire(Due(instant, manual=True, by=message.by))
        return self._end()

    # --- time -----------------------------------------------------------------------------------------------------------

    def go_on(self) -> Decision:
        """Settle what is due, and plan ahead."""
        if not self.state.paused:
            self._advance()
        return self._end()

    def _advance(self) -> None:
        """Settle every instant up to now: it fires, or is told as missed."""
        state, definition = self.state, self.state.definition
        assert definition is not None
        due = ((state.owed,) if state.owed else ()) + tuple(one for one in state.instants if one <= self.now)
        rest = tuple(one for one in state.instants if one > self.now)
        if not due:
            return
        late = [one for one in due if self.now - one > ON_TIME or one == state.owed]
        self.state = replace(state, instants=rest, owed=None)
        match definition.catch_up:
            case CatchUp.ONE if late:
                self._catch_up_one(due, known=bool(rest) or state.ended, window_s=definition.window_s)
                return
            case CatchUp.EACH:
                window = timedelta(seconds=max(definition.window_s, ON_TIME_S))
                missed = [one for one in late if self.now - one > window]
            case _:
                missed = late
        self._pass_over(FireOutcome.MISSED, missed)
        for one in due:
            if one not in missed:
                self._fire(Due(one))

    def _catch_up_one(self, due: Sequence[datetime], *, known: bool, window_s: int) -> None:
        """The newest of them fires; while it is not `known` whether there are newer ones, it waits for the plan."""
        *older, newest = due
        if known and (self.now - newest).total_seconds() > max(window_s, ON_TIME_S):
            self._pass_over(FireOutcome.MISSED, due)
            return
        self._pass_over(FireOutcome.MISSED, older)
        if known:
            self._fire(Due(newest))
        else:
            self.state = replace(self.state, owed=newest)

    def _take(self, plan: Plan) -> None:
        """The next instants of this version."""
        state = self.state
        begin = state.planned_to or in_calendar(plan.after)
        if plan.passed:
            first, last = plan.passed_first or begin, plan.passed_last or begin
            self._tell_end(first, FireOutcome.MISSED, last=last, fires=plan.passed)
        wanted = sorted({*state.instants, *(in_calendar(one) for one in plan.instants if one > begin)})
        instants = tuple(wanted[:PLANNED])
        self.state = replace(
            state, instants=instants, ended=plan.ended and wanted == [*instants], asked=None, zones=plan.zones,
            planned_to=max([*instants[-1:], in_calendar(plan.passed_last or begin), begin]),
        )  # fmt: skip
        planned = tuple(one for one in instants if one > begin)
        self.told.append(
            JobPlanned(
                **reply(self.message, len(self.told)), job=self.job, version=state.version, instants=planned,
                zones=plan.zones,
            )
        )  # fmt: skip

    # --- what comes back ------------------------------------------------------------------------------------------------

    def answered(self, message: Answer) -> Decision:
        """An effect of this job has ended: its plan, or its chore."""
        return self._planned(message) if message.kind is EffectKind.PLAN else self._ran(message)

    def _planned(self, message: Answer) -> Decision:
        state = self.state
        if not state.asked or message.effect != plan_id(self.job, state.version, state.asked):
            return state, ()
        if isinstance(message, EffectAccepted) and message.plan is not None and message.plan.version == state.version:
            self._take(message.plan)
            return self.go_on()
        # It cannot be worked out any more, such as of a zone that the data has no more: a person has to look.
        self.state = replace(state, asked=None, paused=True)
        self.told.append(JobPaused(**reply(message), job=self.job, version=state.version, by=BY_ITSELF))
        return self._end()

    def _ran(self, message: Answer) -> Decision:
        run = self.state.run
        if run is None or message.effect != chore_id(self.job, run.version, run.instant):
            return self.state, ()
        self._end_run(run, ENDS[type(message)])
        self._start_next()
        return self._end()

    def _start_next(self) -> None:
        """What waited longest begins, unless the job is paused."""
        if self.state.queue and self.state.run is None and not self.state.paused:
            first, *others = self.state.queue
            self.state = replace(self.state, queue=tuple(others))
            self._start(first)

    # --- fires ----------------------------------------------------------------------------------------------------------

    def _fire(self, due: Due) -> None:
        """Begin a fire, unless another one is in its way."""
        state, definition = self.state, self.state.definition
        assert definition is not None
        if state.run is None or definition.command:
            self._start(due)
        elif definition.overlap is Overlap.SKIP:
            self._tell_end(due.instant, FireOutcome.SKIPPED, manual=due.manual)
        elif definition.overlap is Overlap.REPLACE:
            self._end_run(state.run, FireOutcome.REPLACED)
            self._start(due)
        elif len(state.queue) >= MAX_QUEUE:
            self._tell_end(due.instant, FireOutcome.QUEUE_FULL, manual=due.manual)
        else:
            self.state = replace(state, queue=(*state.queue, due))

    def _start(self, due: Due) -> None:
        version, definition = self.state.version, self.state.definition
        assert definition is not None
        started = FireStarted(
            **reply(self.message, len(self.told)), job=self.job, version=version, instant=due.instant,
            command=definition.command, chore=definition.chore, manual=due.manual, by=due.by,
        )  # fmt: skip
        if definition.command:
            names = names_of(self.job, version, due.instant)
            try:
                command = fill(
                    definition.command, definition.template, names, id_=f"fire/{names[FIRE]}", at=self.now,
                    by=f"{BY_ITSELF}/{self.job}",
                )  # fmt: skip
            except TemplateError:
                self._tell_end(due.instant, FireOutcome.INVALID, manual=due.manual)
                return
            self.told += [started, command]
            self._tell_end(due.instant, FireOutcome.SENT, manual=due.manual)
            return
        self.told.append(started)
        self.state = replace(self.state, run=Run(version, due.instant, self.now, due.manual))
        self.told.append(
            OweEffect(
                **derive(self.message, len(self.told)), effect=chore_id(self.job, version, due.instant),
                kind=EffectKind.CHORE, provider=definition.chore, subject=self.job,
                expires_at=later(self.now, timedelta(seconds=definition.limit_s)),
            )
        )  # fmt: skip

    def _end_run(self, run: Run, outcome: FireOutcome) -> None:
        took = max(0.0, (self.now - run.started_at).total_seconds())
        self.state = replace(self.state, run=None)
        self._tell_end(run.instant, outcome, manual=run.manual, version=run.version, duration_s=took)

    def _pass_over(self, outcome: FireOutcome, instants: Sequence[datetime]) -> None:
        if instants:
            self._tell_end(instants[0], outcome, last=instants[-1], fires=len(instants))

    def _supersede(self) -> None:
        """Of the version that goes, whatever is due or waits is told as not made."""
        state = self.state
        for due in state.queue:
            self._tell_end(due.instant, FireOutcome.SUPERSEDED, manual=due.manual)
        gone = [] if state.paused else [one for one in (state.owed, *state.instants) if one and one <= self.now]
        self._pass_over(FireOutcome.SUPERSEDED, gone)

    def _tell_first(self, fact: Message) -> None:
        """What answers a command stands in front of all that follows from it."""
        self.told.insert(0, fact)

    def _tell_end(
        self, instant: datetime, outcome: FireOutcome, *, manual: bool = False, last: datetime | None = None, fires: int = 1,
        version: int = 0, duration_s: float = 0.0,
    ) -> None:  # fmt: skip
        version = version or self.state.version
        ended = FireEnded(
            **reply(self.message, len(self.told)), job=self.job, version=version, instant=instant, last=last or instant,
            outcome=outcome, fires=fires, duration_s=duration_s, manual=manual,
        )  # fmt: skip
        self.told.append(ended)
        past = Past(version, instant, outcome, duration_s, manual)
        self.state = replace(self.state, history=(*self.state.history, past)[-HISTORY:])
