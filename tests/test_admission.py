"""Admission: a calm platform refuses nobody, a slow one refuses early and what is urgent last, and recovers by itself."""

import heapq
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.runtime.admission import (
    FLOOR,
    FORGET_S,
    MAX_WAIT_S,
    PATIENCE_S,
    PROBE_S,
    QUIET_S,
    TARGET_S,
    URGENT,
    Admission,
    Asked,
)

INBOX = "transfer.inbox"


class Clients:
    """Clients of one process: each asks with a key of its own."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.number = 0

    def ask(self, moment: float, key: str = "", *, urgent: bool = False, inbox: str = INBOX) -> str | int:
        """The command's id, or after how many seconds it is worth asking again."""
        self.number += 1
        id_ = f"c{self.number}"
        return self.admission.ask(Asked((inbox, 0), key or id_, [id_], moment), urgent=urgent) or id_

    def stall(self, moment: float, many: int = 2 * FLOOR) -> list[str]:
        """So many ask, none is decided, and patience is over."""
        ids = [self.ask(moment) for _ in range(many)]
        assert all(isinstance(id_, str) for id_ in ids)
        return [str(id_) for id_ in ids]


def refused(answer: str | int) -> bool:
    return isinstance(answer, int)


def test_nobody_is_refused_before_patience_is_over() -> None:
    clients = Clients()
    clients.stall(0, 1_000)
    assert not refused(clients.ask(PATIENCE_S)), "a flow that is started again takes three seconds"
    assert refused(clients.ask(PATIENCE_S + 0.1))


@pytest.mark.parametrize("waiting", [0, 1, FLOOR - 1])
def test_few_that_wait_are_no_queue(waiting: int) -> None:
    clients = Clients()
    clients.stall(0, waiting)
    assert not refused(clients.ask(FORGET_S - 1))


def test_one_quick_decision_shows_that_there_is_no_queue_and_that_older_ones_wait_for_something_of_their_own() -> None:
    clients = Clients()
    clients.stall(0)
    quick = clients.ask(PATIENCE_S - 1)
    clients.admission.decided(str(quick), PATIENCE_S - 0.9)
    assert not refused(clients.ask(PATIENCE_S + 1))
    late = clients.ask(PATIENCE_S + 1)
    clients.admission.decided(str(late), PATIENCE_S + 1.1)
    assert clients.admission.undecided(INBOX) == 1, "the one that was asked lately"


def test_a_late_answer_alone_is_no_overload() -> None:
    clients = Clients()
    clients.admission.decided(str(clients.ask(0)), 40)
    assert not refused(clients.ask(40.1))


def test_one_key_that_is_asked_again_and_again_counts_once() -> None:
    clients = Clients()
    assert not any(refused(clients.ask(second / 2, "parked")) for second in range(200))
    assert not refused(clients.ask(101))


def test_lanes_do_not_affect_each_other() -> None:
    clients = Clients()
    clients.stall(0)
    assert refused(clients.ask(PATIENCE_S + 1))
    assert not refused(clients.ask(PATIENCE_S + 1, inbox="profile.inbox"))


def test_what_is_urgent_and_what_is_in_the_log_already_are_let_through_longer() -> None:
    clients = Clients()
    ids = [clients.ask(0, key) for key in map(str, range(2 * FLOOR))]
    moment = PATIENCE_S + 0.1
    assert refused(clients.ask(moment, "new"))
    assert not refused(clients.ask(moment, "0"))
    for _ in range(FLOOR * URGENT - len(ids) - 1):
        assert not refused(clients.ask(moment, urgent=True))
    assert refused(clients.ask(moment, urgent=True)), "in the end they are refused, too"


def test_a_probe_is_let_through_now_and_then() -> None:
    clients = Clients()
    clients.stall(0, 100)
    taken = sum(not refused(clients.ask(PATIENCE_S + 0.1 + tick / 100)) for tick in range(1_000))
    assert taken == pytest.approx(10 / PROBE_S, abs=1)


@pytest.mark.parametrize(("waiting", "decided", "wait_s"), [(100, 0, 6), (100, 50, 5), (5_000, 5, MAX_WAIT_S), (65, 50, 1)])
def test_when_to_ask_again_follows_from_the_measured_rate(waiting: int, decided: int, wait_s: int) -> None:
    clients = Clients()
    ids = clients.stall(0, waiting)
    for number in range(decided):
        clients.admission.decided(ids[number], PATIENCE_S)
    assert clients.ask(PATIENCE_S + 0.1) == wait_s


def test_a_command_that_the_log_did_not_take_and_one_that_waits_for_an_operator_are_forgotten() -> None:
    clients = Clients()
    for id_ in clients.stall(0):
        clients.admission.lost(id_)
    assert not clients.admission
    clients.stall(1)
    assert not refused(clients.ask(1 + FORGET_S + 1))
    assert clients.admission.undecided(INBOX) == 1


def test_a_decision_is_one_by_any_of_its_causes_and_only_the_first() -> None:
    admission = Admission()
    admission.ask(Asked((INBOX, 0), "k", ["c", "c/0"], 1))
    assert (admission.decided("other", 2), admission.decided("c/0", 3), admission.decided("c", 4)) == (None, 2, None)
    for _ in range(2):  # a sender that has named its command sends it again
        admission.ask(Asked((INBOX, 0), "k", ["c"], 5))
    assert admission.undecided(INBOX) == 1
    admission.decided("c", 6)
    assert not admission


# --- against a flow ---------------------------------------------------------------------------------------------------------


def flow(clients: Clients, offered: Iterator[tuple[float, float]]) -> Iterator[tuple[float, str | int, float]]:
    """A queue that is worked off one after another; `offered`: when somebody asks, and how long one decision takes then. Each
    moment, the answer, and how long the command takes to be decided."""
    free_at, due = 0.0, list[tuple[float, str]]()
    for moment, each_s in offered:
        while due and due[0][0] <= moment:
            at, id_ = heapq.heappop(due)
            clients.admission.decided(id_, at)
        answer = clients.ask(moment)
        if isinstance(answer, str):
            free_at = max(free_at, moment) + each_s
            heapq.heappush(due, (free_at, answer))
        yield moment, answer, free_at - moment


@given(each_s=st.floats(0.001, 0.09), count=st.integers(1, 400))
def test_a_flow_that_keeps_up_refuses_nobody(each_s: float, count: int) -> None:
    answers = flow(Clients(), ((number * 0.1, each_s) for number in range(count)))
    assert not any(refused(answer) for _, answer, _ in answers)


@given(stop_at=st.integers(0, 100), stop_s=st.floats(0, 3.5))
def test_a_flow_that_is_started_again_refuses_nobody(stop_at: int, stop_s: float) -> None:
    """Twenty a second; it decides two hundred a second before and afterwards."""
    offered = ((number * 0.05, 0.005 + (stop_s if number == stop_at else 0)) for number in range(300))
    assert not any(refused(answer) for _, answer, _ in flow(Clients(), offered))


@given(rate=st.integers(5, 40), times=st.integers(2, 6))
def test_beside_an_overload_waits_stay_short_and_behind_it_all_is_as_before(rate: int, times: int) -> None:
    """A flow that decides `rate` a second is asked `times` as much, until long after what came within its patience is decided;
    then it is quick again."""
    step, end = 1 / (rate * times), 2 * (PATIENCE_S + TARGET_S) * times + 20
    offered = ((number * step, 1 / rate if number * step < end else step / 10) for number in range(int((end + 20) / step)))
    seen = list(flow(Clients(), offered))
    beside = [took for moment, answer, took in seen if not refused(answer) and end - 20 < moment < end]
    assert len(beside) >= rate * 20 * 0.5, "it is kept at work"
    assert max(beside) < 3 * TARGET_S, "what is let in is decided while its client still waits, or nearly"
    assert not any(refused(answer) for moment, answer, _ in seen if moment > end + 2 * QUIET_S)
