"""A store of states on disk against a reader of the whole log: Hypothesis commits, writes, kills it and opens it again."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pipelines.runtime import disk as disk_module
from pipelines.runtime.disk import Disk
from tests.test_states import ORIGIN, T, killed, reopened

KEYS = st.sampled_from([b"%d" % n for n in range(12)])
WHEN = st.none() | st.integers(0, 500).map(lambda s: T + timedelta(seconds=s))


class Model(RuleBasedStateMachine):
    """A log of changes, a store of it that is written, killed and opened again, and what a reader of the whole log knows."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log: list[tuple[bytes, bytes | None, datetime | None]] = []
        self.told: set[tuple[bytes, datetime]] = set()
        self.clock = T
        self.store = Disk(self.folder, ORIGIN)

    def known(self) -> dict[bytes, tuple[bytes, datetime | None]]:
        found: dict[bytes, tuple[bytes, datetime | None]] = {}
        for key, value, wake in self.log:
            found.pop(key, None)
            if value is not None:
                found[key] = (value, wake)
        return found

    @rule(changed=st.dictionaries(KEYS, st.tuples(st.none() | st.binary(min_size=1, max_size=4), WHEN), min_size=1, max_size=6))
    def commit(self, changed: dict[bytes, tuple[bytes | None, datetime | None]]) -> None:
        records = [(key, value, None if value is None else wake) for key, (value, wake) in changed.items()]
        self.log += records
        self.store.merge({key: value for key, value, _ in records}, {key: wake for key, _, wake in records})
        self.store.reached(len(self.log), len(self.log))

    @rule(pressed=st.booleans())
    def tend(self, pressed: bool) -> None:
        self.store.tend(pressed=pressed)

    @rule(closed=st.booleans())
    def start_again(self, closed: bool) -> None:
        if closed:
            self.store.close(sync=True)
            self.store = reopened(self.folder, len(self.log))
        else:
            self.store = killed(self.store)
        assert not self.store.why or not self.store.contains
        for key, value, wake in self.log[self.store.contains :]:
            self.store.merge({key: value}, {key: wake})
        self.store.reached(len(self.log), len(self.log))
        self.told.clear()

    @rule(seconds=st.integers(0, 90))
    def let_time_pass(self, seconds: int) -> None:
        self.clock += timedelta(seconds=seconds)
        for key, at in self.store.agenda.due(self.clock):
            assert at <= self.clock
            assert self.known()[key][1] == at, "a stale wake"
            self.told.add((key, at))
        owed = {(key, wake) for key, (_, wake) in self.known().items() if wake is not None and wake <= self.clock}
        assert owed <= self.told

    @invariant()
    def tells_the_log(self) -> None:
        if hasattr(self, "store"):
            known = self.known()
            assert {key: self.store.get(key) for key in known} == {key: value for key, (value, _) in known.items()}
            assert sorted(set(self.store.walk())) == sorted(known)


def test_a_store_tells_what_the_log_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "SLICE", 2)
    monkeypatch.setattr(disk_module, "FLUSH_S", 0.0)

    class InFolder(Model):
        folder = tmp_path / "model"

    run_state_machine_as_test(InFolder, settings=settings(max_examples=30, stateful_step_count=30))


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_moments_sort_as_their_bytes(one: datetime, other: datetime) -> None:
    assert (disk_module._time(one) < disk_module._time(other)) == (one < other)
    assert disk_module._at(disk_module._time(one)) == one
