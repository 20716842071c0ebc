"""The pulse: windows over any log against a naive count, and a flow that begins again anywhere."""

import json
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any

import pytest
from bytewax.testing import TestingSink, TestingSource, run_main
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.pulse import (
    AHEAD_S,
    CALLS,
    HEARD,
    LATE_S,
    TALKING,
    Resume,
    Seconds,
    Side,
    counts_of,
    counts_of_answer,
    resume_of,
)
from pipelines.runtime.windows import dataflow
from schemas.balance import EntryKind, EntryRecorded
from schemas.billing_rules import CallKind
from schemas.log.base import EPOCH, AccountId, Fact, UserId, unix_second
from schemas.log.codec import decoder_of
from schemas.pulse import LEVELS, MINUTE_S, Pulse, PulseWindow
from schemas.user import CameOnline, WentOffline
from schemas.video import CallConnected, CallEnded, CallRinging, EndReason
from tests.golden import golden_lines

BEGIN = 1_800_000_000 // 60 * 60
ANN, SUE = UserId("ann"), UserId("sue")
Logged = tuple[int, Fact]
# A run over minutes of log takes a second: too long to look for a smaller example.
FEW = settings(
    max_examples=max(2, settings().max_examples // 50), phases=(Phase.explicit, Phase.reuse, Phase.generate), deadline=None
)


def at(ms: int) -> dict[str, Any]:
    return {"id": "i", "cause": "c", "at": EPOCH + timedelta(milliseconds=ms)}


def moved(ms: int, coins: int, to: str) -> EntryRecorded:
    kind = EntryKind.CREDIT if coins > 0 else EntryKind.DEBIT
    account = AccountId("ann/coins")
    return EntryRecorded(
        **at(ms), account=account, seq=1, kind=kind, balance_coins=0, held_coins=0, coins=coins, counterparty=to
    )


def of_call(number: int, kind: CallKind) -> dict[str, Any]:
    return {"call": f"c{number}", "caller": ANN, "callee": SUE, "kind": kind}


def windows_of(log: list[Logged], until: int, resume: Resume) -> list[PulseWindow]:
    """What the flow writes over a log: (when it was logged, fact), up to a second."""
    seconds = Seconds([("t", 0)], resume.begin if resume.levels is not None else BEGIN - 120, resume.minute)
    for ms, fact in log:
        if resume.levels is None or ms >= resume.begin * 1_000:
            seconds.put(fact, ms)
    seconds.reach(("t", 0), until * 1_000)
    items = [*seconds.whole(), TestingSource.ABORT()]
    out: list[tuple[str, PulseWindow]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("copy.deepcopy", lambda state: state)  # of snapshots, which nobody takes: most of the time otherwise
        run_main(dataflow("pulse", TestingSource(items), TestingSink(out), resume), epoch_interval=timedelta(0))
    return [window for _, window in out]


def upserted(windows: list[PulseWindow]) -> dict[str, PulseWindow]:
    return {window.id: window for window in windows}


@st.composite
def logs(draw: st.DrawFn) -> list[Logged]:
    """Facts of some five minutes, some late, some from the future; calls that ring and are taken or not."""
    found: list[Logged] = []
    for number in range(draw(st.integers(1, 25))):
        ms = BEGIN * 1_000 + draw(st.integers(0, 320_000))
        behind = draw(st.sampled_from((0, 5, 900, 2_500, 4_000, 19_000, 22_000, 60_000, 150_000, 250_000, -60_000)))
        kind = draw(st.sampled_from(list(CallKind)))
        answer_ms = draw(st.integers(0, 30_000))
        match draw(st.integers(0, 5)):
            case 0:
                found.append((ms, CameOnline(**at(ms - behind), user=ANN)))
            case 1:
                found.append((ms, WentOffline(**at(ms - behind), user=ANN, online_s=1)))
            case 2:
                found.append(
                    (ms, moved(ms - behind, draw(st.integers(-9, 9)), draw(st.sampled_from(("@shop", "sue/earnings")))))
                )
            case 3:
                connected = CallConnected(**at(ms + answer_ms), **of_call(number, kind))
                found += [(ms, CallRinging(**at(ms), **of_call(number, kind), until=EPOCH)), (ms + answer_ms + 20, connected)]
            case 4:
                ended = CallEnded(**at(ms + answer_ms), **of_call(number, kind), reason=EndReason.DECLINED)
                found += [(ms, CallRinging(**at(ms), **of_call(number, kind), until=EPOCH)), (ms + answer_ms + 20, ended)]
            case _:
                ended = CallEnded(**at(ms - behind), **of_call(number, kind), reason=EndReason.CANCELLED)
                found.append((ms, ended))  # it never rang
    return sorted(found, key=lambda one: one[0])


def naive(log: list[Logged]) -> tuple[Counter[tuple[str, int]], Counter[str]]:
    """Counts by metric and minute, and levels in the end, by hand."""
    counts: Counter[tuple[str, int]] = Counter()
    levels: Counter[str] = Counter()
    rings = {fact.call: fact for _, fact in log if isinstance(fact, CallRinging)}
    for ms, fact in log:
        minute = min(unix_second(fact.at), ms // 1_000) // 60 * 60
        match fact:
            case CameOnline():
                levels["online"] += 1
            case WentOffline():
                levels["online"] -= 1
            case EntryRecorded() if fact.counterparty == "@shop":
                counts["coins_in" if fact.coins > 0 else "coins_spent", minute] += abs(fact.coins)
            case EntryRecorded():
                levels["coins_under_way"] -= fact.coins
                counts["coins_spent", minute] += max(0, -fact.coins)
            case CallConnected():
                counts[f"calls_{fact.kind}", minute] += 1
                levels[f"talking_{fact.kind}"] += 1
        if isinstance(fact, CallConnected | CallEnded) and fact.kind is not CallKind.CLIP and fact.call in rings:
            counts["rang", minute] += 1
            if isinstance(fact, CallConnected):
                counts["answered", minute] += 1
                counts["answer_ms", minute] += round((fact.at - rings[fact.call].at).total_seconds() * 1_000)
    return counts, levels


@FEW
@given(logs())
def test_each_fact_counts_once_in_its_minute_or_as_late(log: list[Logged]) -> None:
    counts, levels = naive(log)
    found = upserted(windows_of(log, BEGIN + 400, Resume(BEGIN, BEGIN)))
    told: defaultdict[tuple[str, int], int] = defaultdict(int)
    for window in found.values():
        if window.width_s == MINUTE_S and window.metric not in LEVELS:
            told[window.metric, unix_second(window.at)] += window.value + window.late
    old = {
        min(unix_second(fact.at), ms // 1_000) // 60 * 60
        for ms, fact in log
        if unix_second(fact.at) < BEGIN or ms - fact.at.timestamp() * 1_000 > (LATE_S - MINUTE_S) * 1_000
    }  # what is so late that its window may be forgotten is not added to it
    for (metric, minute), count in counts.items():
        assert told[metric, minute] == count or minute in old, (metric, minute)
    for metric in LEVELS:
        assert found[f"{metric}/60/{BEGIN + 300}"].value == levels[metric]
        assert found[f"{metric}/1/{BEGIN + 390}"].value == levels[metric]
    starts = {unix_second(window.at) for window in found.values() if window.width_s == 1 and window.metric == "online"}
    assert starts == set(range(BEGIN, BEGIN + 398)), "a second without facts has a window, too"


@FEW
@given(logs(), st.just(200) | st.integers(325, 399), st.integers(0, 10))
def test_a_flow_that_begins_again_writes_the_same_windows(log: list[Logged], stopped: int, torn: int) -> None:
    whole = windows_of(log, BEGIN + 400, Resume(BEGIN, BEGIN))
    first = windows_of(log, BEGIN + stopped, Resume(BEGIN, BEGIN))
    first = first[: len(first) - torn]  # killed while it wrote
    minutes = {
        (Pulse(window.metric), unix_second(window.at)): window.value
        for window in upserted(first).values()
        if window.width_s == MINUTE_S
    }
    resume = resume_of(minutes, LEVELS, BEGIN + stopped)
    again = windows_of(log, BEGIN + 400, resume)
    last = upserted(whole)
    if resume.levels is not None:
        assert upserted(first) | upserted(again) == last
    else:  # nothing to go on from yet: all is heard anew, and counted from the first minute that is not written
        assert {one: w.value for one, w in upserted(again).items()} == {one: last[one].value for one in upserted(again)}


def test_where_a_flow_begins() -> None:
    now_s = BEGIN + 47
    assert resume_of({}, LEVELS, now_s) == Resume(BEGIN - 60, BEGIN - 60)
    minutes = {(metric, BEGIN + minute * 60): 7 for metric in Pulse for minute in range(10)}
    whole = resume_of(minutes, LEVELS, BEGIN + 640)
    assert whole == Resume(BEGIN + 360, BEGIN + 390, dict.fromkeys(LEVELS, 7))
    torn = {key: value for key, value in minutes.items() if key != (Pulse.GIFTS, BEGIN + 540)}
    assert resume_of(torn, LEVELS, BEGIN + 640).minute == BEGIN + 300, "a minute that one metric lacks is written again"
    assert resume_of(minutes, LEVELS, BEGIN + 86_400).second == BEGIN + 86_400 - 3_600, "seconds of long ago are of no interest"
    few = {key: value for key, value in minutes.items() if key[1] < BEGIN + 120}
    assert resume_of(few, LEVELS, now_s) == Resume(BEGIN + 120, BEGIN + 120)


RING = Side("c", 0, 0, rings=True)


def test_each_kind_of_fact_counts() -> None:
    known = {kind.__name__: kind for kinds in HEARD.values() for kind in kinds}
    found: defaultdict[str, set[Pulse]] = defaultdict(set)
    for line in golden_lines():
        name = json.loads(line)["type"]
        if name in known:
            fact = decoder_of((known[name],))(line.encode())
            assert isinstance(fact, Fact)
            found[name] |= {metric for metric, _ in counts_of(fact)}
    assert {name for name in known if not found[name]} == {"CallRinging"}, "a ring counts with its answer"
    assert {metric for metric, _ in counts_of_answer(RING, RING)} == {Pulse.RANG}
    assert TALKING.keys() == CALLS.keys() == set(CallKind)


def test_a_partition_that_is_far_before_the_slowest_one_waits_for_it() -> None:
    """Whatever lies before the first second that is told is one sum, and waits for nobody."""
    ms = BEGIN * 1_000
    one, other = ("t", 0), ("t", 1)
    seconds = Seconds([one, other], BEGIN, BEGIN)
    seconds.reach(one, ms - 1)
    assert seconds.far(set()) == set()
    seconds.reach(one, ms + AHEAD_S * 1_000)
    assert seconds.far(set()) == set()
    seconds.reach(one, ms + AHEAD_S * 1_000 + 1)
    assert seconds.far(set()) == {one}
    seconds.reach(other, ms + AHEAD_S * 500)
    assert (seconds.far({one}), seconds.far(set())) == ({one}, set()), "it is let go when the other one is near"
    seconds.reach(other, ms + AHEAD_S * 500 + 1)
    assert seconds.far({one}) == set()
    assert len(list(seconds.whole())) == AHEAD_S // 2
