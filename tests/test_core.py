"""The host's core: overlays, dead letters, wakes, and bugs that stop it."""

import json
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from msgspec import structs

from pipelines import balance
from pipelines.runtime import core as core_module
from pipelines.runtime.core import HELD, LONG_BACKLOG, Batch, Core, Decider, Output
from pipelines.runtime.failures import DeciderError, TooManyDeadLettersError
from pipelines.runtime.lane import Decide, StateError
from schemas.balance import ACCOUNT, AccountInbox, Credit, Hold, OpenAccount, Reason
from schemas.log import positions
from schemas.log.base import AccountId, HoldId
from schemas.log.codec import encode
from schemas.log.entity import MAX_KEY_BYTES, partition_of

T = datetime(2030, 1, 1, tzinfo=UTC)
KEY = b"ann/coins"
P = partition_of(KEY, ACCOUNT.partitions)
OPEN = OpenAccount(id="m0", at=T, account=AccountId("ann/coins"))
GRANT = Credit(id="m1", at=T, account=AccountId("ann/coins"), counterparty=AccountId("@p"), coins=5, reason=Reason.GRANT)


def new_core(decide: Decide = balance.decide_account) -> Core:
    core = Core([Decider(ACCOUNT, decide)])
    core.open(ACCOUNT.inbox, P)
    return core


def take(batch: Batch, message: AccountInbox | bytes, offset: int = 0, key: bytes = KEY, partition: int = P) -> None:
    value = message if isinstance(message, bytes) else encode(message)
    batch.take(batch.core.lanes[ACCOUNT.inbox, partition], offset, key, value)


def sealed(batch: Batch) -> list[Output]:
    """What the batch writes, but for its positions, which stand behind all of it."""
    return [output for output in map(Output._make, batch.seal()) if output.key != positions.POSITION]


def restored(core: Core, *outputs: Output) -> Core:
    """A lane as the changelog has it."""
    lane = core.lanes[ACCOUNT.inbox, P]
    lane.restore({output.key: output.value for output in outputs})
    lane.begin()
    return core


def decided(core: Core, *messages: AccountInbox | bytes, merge: bool = True) -> list[Output]:
    batch = Batch(core)
    for offset, message in enumerate(messages):
        take(batch, message, offset)
    outputs = sealed(batch)
    if merge:
        batch.merge()
    return outputs


def test_a_batch_writes_facts_copies_and_one_state_a_key() -> None:
    outputs = decided(new_core(), OPEN, GRANT)
    assert [output.topic for output in outputs] == ["account.events", "feed", "account.events", "feed", "account.state"]
    assert {output.partition for output in outputs if output.topic != "feed"} == {P}
    assert json.loads(outputs[-1].value or b"")["balance_coins"] == 5


def test_a_dropped_batch_leaves_no_trace() -> None:
    core = new_core()
    first = decided(core, OPEN, GRANT, merge=False)
    for lane in core.lanes.values():
        lane.overlay.clear()
    assert decided(core, OPEN, GRANT) == first


def test_a_restored_core_goes_on_where_the_log_ended() -> None:
    core = new_core()
    state = decided(core, OPEN, GRANT)[-1]
    other = restored(new_core(), state)
    assert decided(other, GRANT) == decided(core, GRANT)


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (b"\xff\x00garbage", "broken_json"),
        (b"", "broken_json"),
        (b'{"type":"Nonsense","id":"x","at":"2030-01-01T00:00:00Z"}', "unknown_type"),
        (b'{"id":"x"}', "unknown_type"),
        (encode(GRANT).replace(b'"coins":5', b'"coins":-5'), "invalid"),
        (encode(GRANT).replace(b'"coins":5', b'"coins":' + b"9" * 40), "invalid"),
        (encode(GRANT).replace(b'"coins":5', b'"coins":"5"'), "invalid"),
        (encode(GRANT).replace(b"2030-01-01T00:00:00Z", b"yesterday"), "invalid"),
        (encode(GRANT).replace(b"ann/coins", b"bob/coins"), "key_mismatch"),
    ],
)
def test_what_cannot_be_decided_is_a_dead_letter_and_the_rest_goes_on(bad: bytes, cause: str) -> None:
    core = new_core()
    batch = Batch(core)
    messages: tuple[AccountInbox | bytes, ...] = (OPEN, bad, GRANT)
    for offset, message in enumerate(messages):
        take(batch, message, offset)
    letters = [json.loads(o.value or b"") for o in sealed(batch) if o.topic == "dead_letters"]
    assert [(letter["cause"], letter["offset"]) for letter in letters] == [(cause, 1)]
    assert (batch.decided, batch.dead, batch.positions) == (2, 1, {(ACCOUNT.inbox, P): 3})


def test_a_record_in_a_foreign_partition_is_a_dead_letter() -> None:
    core = new_core()
    wrong = (P + 1) % ACCOUNT.partitions
    core.open(ACCOUNT.inbox, wrong)
    batch = Batch(core)
    take(batch, OPEN, partition=wrong)
    assert json.loads(sealed(batch)[0].value or b"")["cause"] == "misrouted"


def test_a_skipped_record_is_a_dead_letter() -> None:
    core = new_core()
    core.skips = {(ACCOUNT.inbox, P, 0)}
    assert json.loads(decided(core, OPEN)[0].value or b"")["cause"] == "skipped"


def test_too_many_dead_letters_in_a_row_stop_the_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_module, "MAX_DEAD_IN_A_ROW", 3)
    core = new_core()
    decided(core, b"x", b"x", b"x", OPEN, b"x", b"x", b"x")
    with pytest.raises(TooManyDeadLettersError, match=f"account.inbox/{P}/0 .broken_json"):
        decided(core, b"x")


def test_a_bug_names_the_record() -> None:
    def buggy(state: None, message: OpenAccount) -> NoReturn:
        raise ZeroDivisionError("oops")

    with pytest.raises(DeciderError, match=rf"account.inbox/{P}/0, type OpenAccount, key 'ann/coins': ZeroDivisionError"):
        decided(new_core(buggy), OPEN)


def hold(name: str, seconds: int) -> Hold:
    at = T + timedelta(seconds=seconds)
    return Hold(
        id=name, at=T, account=OPEN.account, hold=HoldId(name), to=AccountId("@x"), coins=1, reason=Reason.CALL, expires_at=at
    )


def test_wakes_come_once_in_order_and_stale_ones_not_at_all() -> None:
    core = new_core()
    decided(core, OPEN, GRANT, hold("h1", 60), hold("h2", 30), GRANT)
    assert core.next_wake() == T + timedelta(seconds=30)
    assert not list(core.due(T))
    batch = Batch(core)
    batch.wake(T + timedelta(seconds=31))
    batch.wake(T + timedelta(seconds=31))
    (wake,) = sealed(batch)
    assert (wake.topic, wake.partition, wake.key) == (ACCOUNT.inbox, P, KEY)
    decided(core, GRANT)  # a change that leaves wake_at alone does not wake again
    assert not list(core.due(T + timedelta(seconds=31)))
    decided(core, wake.value or b"")
    assert [at for _, _, at in core.due(T + timedelta(days=1))] == [T + timedelta(seconds=60)]


def test_behind_a_long_backlog_wakes_are_held_but_not_for_ever() -> None:
    core = new_core()
    decided(core, OPEN, GRANT, hold("h1", 30))
    rings = T + timedelta(seconds=31)
    core.hold(rings, lambda _: 3 + LONG_BACKLOG + 1)
    assert not list(core.due(rings))
    assert core.next_wake() == rings + HELD, "nobody waits for it without a pause"
    core.hold(rings + HELD, lambda _: 3 + LONG_BACKLOG + 1)
    assert [at for _, _, at in core.due(rings + HELD)] == [T + timedelta(seconds=30)]


def test_held_wakes_are_sent_when_the_backlog_is_short_and_those_overtaken_are_not() -> None:
    core = new_core()
    decided(core, OPEN, GRANT, hold("h1", 30))
    rings = T + timedelta(seconds=31)
    core.hold(rings, lambda _: 3 + LONG_BACKLOG + 1)
    decided(core, hold("h2", 20))  # in the backlog: an earlier wake takes its place
    core.hold(rings, lambda _: 4)
    assert [at for _, _, at in core.due(rings)] == [T + timedelta(seconds=20)]


def test_a_restored_core_wakes_again() -> None:
    core = new_core()
    outputs = decided(core, OPEN, GRANT, hold("h1", 60))
    list(core.due(T + timedelta(days=1)))
    other = restored(new_core(), outputs[-1])
    assert len(list(other.due(T + timedelta(days=1)))) == 1


def test_a_batch_tells_how_far_the_inbox_is_decided_behind_its_states() -> None:
    core = new_core()
    batch = Batch(core)
    take(batch, OPEN, 6)
    take(batch, b"garbage", 7)
    *_, state, position = map(Output._make, batch.seal())
    assert (state.topic, position.topic, position.partition) == (ACCOUNT.changelog, ACCOUNT.changelog, P)
    assert (position.key, positions.read(position.value or b"")) == (positions.POSITION, 8)
    assert restored(new_core(), state, position).lanes[ACCOUNT.inbox, P].position == 8
    assert new_core().lanes[ACCOUNT.inbox, P].position == -1, "nobody knows"


@pytest.mark.parametrize("key", [b"", positions.POSITION, b"\x00", b"a" * (MAX_KEY_BYTES + 1)])
def test_keys_that_no_entity_can_have_are_dead_letters(key: bytes) -> None:
    core = new_core()
    batch = Batch(core)
    for partition in range(ACCOUNT.partitions):
        core.open(ACCOUNT.inbox, partition)
    name = "x" if not key else key.decode()
    message = structs.replace(OPEN, account=AccountId(name if key else ""))
    take(batch, message, key=key, partition=partition_of(key, ACCOUNT.partitions))
    (letter,) = sealed(batch)
    assert json.loads(letter.value or b"")["cause"] in ("misrouted", "invalid")


def test_what_changes_often_in_a_batch_is_written_once_as_it_is_in_the_end() -> None:
    core = new_core()
    outputs = decided(core, OPEN, *[GRANT] * 5)
    states = [output for output in outputs if output.topic == ACCOUNT.changelog]
    assert [json.loads(state.value or b"")["balance_coins"] for state in states] == [25]
    assert core.lanes[ACCOUNT.inbox, P].states.get(KEY) == states[0].value


@pytest.mark.parametrize("key", [b"", b"a" * 512, b"a" * 100_000, b"\xff", b"ann\xed\xa0\x80"])
def test_a_strangers_key_in_a_changelog_is_left_out(key: bytes) -> None:
    lane = new_core().lanes[ACCOUNT.inbox, P]
    lane.restore({key: b"{}", KEY: encode(balance.decide_account(None, OPEN)[0])})
    assert lane.states.get(key) is None
    assert lane.states.get(KEY)


def test_a_state_that_the_schema_cannot_read_is_named() -> None:
    core = new_core()
    lane = core.lanes[ACCOUNT.inbox, P]
    lane.states.merge({KEY: b'{"balance_coins":"many"}'}, {})
    with pytest.raises(StateError, match=rf"account.state/{P}, key 'ann/coins': .*balance_coins"):
        decided(core, GRANT)
    lane.restore({KEY: b'{"balance_coins":"many"}'})  # whoever else is in the changelog must come back
