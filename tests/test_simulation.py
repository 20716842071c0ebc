"""Simulated schedules: all laws hold; planted bugs are found, with their seed and a shrunk schedule."""

from collections.abc import Sequence

import pytest
from hypothesis import settings
from msgspec.structs import replace

from pipelines import balance, billing_bill, video_call, video_pool
from pipelines.profile import decide_profile
from pipelines.runtime.core import Decider, Written
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step, run, schedule_of, search, tell
from schemas.balance import ACCOUNT, Account, AccountInbox, Credit
from schemas.billing import BILL, Bill, BillInbox
from schemas.log import positions
from schemas.log.base import Message
from schemas.profile import PROFILE, Profile, ProfileInbox
from schemas.user import UserErased
from schemas.video import BeatCall, Call, OpenRoom
from schemas.video_length import with_beat
from schemas.video_line import LINE, JoinRoulette
from tests.lab import simulated_calls, simulated_growth
from tests.lab.simulated_money import DECIDERS, SETUP, output_of, workload
from tests.people import ANN

# By the profile's examples: 300 of money, 30 in `make quick`, and 50 and 15 of whole calls and of growth. `make simulate` plays
# 2,000 of each, and 200 in CI, from the same first one on.
SEEDS = settings().max_examples * 3
CALL_SEEDS = max(15, settings().max_examples // 2)
POOL_SEEDS = settings().max_examples // 2


def test_all_laws_hold_over_many_schedules() -> None:
    failure = search(SETUP, range(SEEDS))
    assert failure is None, tell(failure)


def test_whole_calls_hold_all_laws_over_many_schedules() -> None:
    failure = search(simulated_calls.SETUP, range(CALL_SEEDS))
    assert failure is None, tell(failure)


def test_a_pool_with_room_for_one_of_each_side_holds_all_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_pool, "MAX_WAITING", 1)
    setup = simulated_calls.SETUP._replace(laws=lambda log: simulated_calls.laws(log, pool_room=1))
    failure = search(setup, range(POOL_SEEDS))
    assert failure is None, tell(failure)


def test_growth_holds_all_laws_over_many_schedules() -> None:
    failure = search(simulated_growth.SETUP, range(CALL_SEEDS))
    assert failure is None, tell(failure)


def test_growth_whose_positions_or_states_go_astray_is_caught() -> None:
    for log in (PositionsApart, ForgetsMembers):
        setup = simulated_growth.SETUP._replace(log=log)
        assert any(run(setup, schedule_of(seed, setup.workload, setup.drift_s)) for seed in range(30)), log


def test_a_bill_that_forgets_what_was_paid_beyond_the_end_is_caught() -> None:
    def forgetful(bill: Bill | None, message: BillInbox) -> tuple[Bill | None, list[Message]]:
        after, told = billing_bill.decide_bill(bill, message)
        return after, [m for m in told if "/refund/" not in m.id]

    deciders = [Decider(BILL, forgetful) if d.entity is BILL else d for d in simulated_calls.SETUP.deciders]
    setup = simulated_calls.SETUP._replace(deciders=deciders)
    assert any(run(setup, schedule_of(seed, setup.workload, setup.drift_s)) for seed in range(40))


def test_a_call_that_any_phone_of_the_users_keeps_alive_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def any_phone(call: Call, message: BeatCall | OpenRoom) -> Call:
        return with_beat(replace(call, caller_device="", callee_device=""), message)

    monkeypatch.setattr(video_call, "with_beat", any_phone)
    setup = simulated_calls.SETUP
    broken = (line for seed in range(60) for line in run(setup, schedule_of(seed, setup.workload, setup.drift_s)))
    assert any("the rule says" in line for line in broken)


def test_a_name_that_outlives_its_user_is_caught() -> None:
    def faithful(profile: Profile | None, message: ProfileInbox) -> tuple[Profile | None, Sequence[Message]]:
        return decide_profile(profile, message) if not isinstance(message, UserErased) else (profile, ())

    deciders = [Decider(PROFILE, faithful) if d.entity is PROFILE else d for d in simulated_calls.SETUP.deciders]
    setup = simulated_calls.SETUP._replace(deciders=deciders)
    found = [run(setup, schedule_of(seed, setup.workload, setup.drift_s)) for seed in range(40)]
    assert any("who was erased" in line for broken in found for line in broken)


def test_messages_without_an_end_are_told() -> None:
    def restless(line: None, message: JoinRoulette) -> tuple[None, list[JoinRoulette]]:
        return line, [message] if isinstance(message, JoinRoulette) else []

    setup = simulated_calls.SETUP._replace(deciders=[Decider(LINE, restless)])
    join = output_of(JoinRoulette(id="j", at=EPOCH, user=ANN))
    assert "did not come to an end" in run(setup, [Step("send", send=join)])[0]


def test_a_seed_is_one_schedule() -> None:
    assert schedule_of(7, workload) == schedule_of(7, workload)
    assert schedule_of(7, workload) != schedule_of(8, workload)


class PositionsApart(Log):
    """The planted bug: positions are written behind the transaction, and now and then a crash comes in between."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0

    def commit(self, outputs: Sequence[Written]) -> None:
        self.commits += 1
        lost = positions.POSITION if self.commits % 5 == 0 else None
        super().commit([output for output in outputs if output[2] != lost])


class ForgetsState(Log):
    """The planted bug: the changelog is written outside of the transaction and gets lost."""

    def commit(self, outputs: Sequence[Written]) -> None:
        super().commit([output for output in outputs if output[0] != "account.state" or output[1] % 2])


class ForgetsMembers(Log):
    """The planted bug: a part of the members' changelog gets lost."""

    def commit(self, outputs: Sequence[Written]) -> None:
        super().commit([output for output in outputs if output[0] != "member.state" or output[1] % 2])


def test_offsets_outside_of_the_transaction_are_caught() -> None:
    _caught(SETUP._replace(log=PositionsApart), longest=12)


def test_a_lost_changelog_is_caught() -> None:
    _caught(SETUP._replace(log=ForgetsState), longest=12)


def test_a_credit_applied_twice_is_caught() -> None:
    def twice(account: Account | None, message: AccountInbox) -> tuple[Account | None, Sequence[Message]]:
        after, told = balance.decide_account(account, message)
        if isinstance(message, Credit) and after is not None and after is not account:
            after = replace(after, balance_coins=after.balance_coins + message.coins)
        return after, told

    deciders = [Decider(ACCOUNT, twice) if d.entity is ACCOUNT else d for d in DECIDERS]
    _caught(SETUP._replace(deciders=deciders), longest=6)


def test_a_daily_cap_that_forgets_the_day_is_caught() -> None:
    def forgetful(account: Account | None, message: AccountInbox) -> tuple[Account | None, Sequence[Message]]:
        if account is not None and account.cap is not None:
            account = replace(account, cap=replace(account.cap, hours=()))
        return balance.decide_account(account, message)

    deciders = [Decider(ACCOUNT, forgetful) if d.entity is ACCOUNT else d for d in DECIDERS]
    _caught(SETUP._replace(deciders=deciders), longest=12)


def _caught(setup: Setup, longest: int) -> None:
    failure = search(setup, range(50))
    assert failure is not None
    assert failure.broken
    assert len(failure.steps) <= longest < len(schedule_of(failure.seed, workload))
    assert f"seed {failure.seed} breaks" in tell(failure)
    assert not run(SETUP, failure.steps), "the same schedule holds without the bug"
