"""Interaction: what counts, what comes too late, and the window that moves; the same numbers however often a worker dies."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.interaction import POINTS, decide_pair
from schemas.billing_rules import CallKind
from schemas.blocklist import BlockReason, UserBlocked
from schemas.chat import ItemPosted
from schemas.favorites import FavoriteAdded, FavoriteRemoved
from schemas.gift import GiftSent
from schemas.interaction import LATE, WINDOW_HOURS, InteractionKind, PairInbox, RecordView
from schemas.log.base import Wake
from schemas.pair import pair_of
from schemas.video import CallEnded, EndReason
from tests.conftest import NewUser, Stack
from tests.decisions import decisions_of, last_decision
from tests.people import BOB, SUE

decide = decisions_of(decide_pair)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)
ENDS: dict[str, Any] = {"caller": "bob", "callee": "sue", "kind": CallKind.DIRECT, "reason": EndReason.HUNG_UP, "cause": "x"}


def view(minutes: float = 0.0, name: str = "v") -> RecordView:
    return RecordView(id=name, at=T + timedelta(minutes=minutes), pair="bob/sue", user=BOB, peer=SUE)


def call(seconds: int, minutes: float = 0.0) -> CallEnded:
    at = T + timedelta(minutes=minutes)
    return CallEnded(id=f"c{minutes}", at=at, call="c", connected=seconds > 0, duration_s=seconds, **ENDS)


def after(*messages: PairInbox) -> tuple[Any, Any]:
    pair, told = last_decision(decide, *messages)
    return pair, told[0] if told else None


def test_each_deed_counts_in_its_own_way() -> None:
    of: dict[str, Any] = {"at": T, "cause": "x", "user": "bob", "peer": "sue"}
    gift = GiftSent(id="g", at=T, cause="x", gift="g", sender=BOB, receiver=SUE, item="rose", price_coins=50, share_coins=20)
    rows: list[tuple[PairInbox, InteractionKind, int, float]] = [
        (call(600), InteractionKind.CALL, 600, 12.0),
        (call(0), InteractionKind.MISSED_CALL, 1, 0.5),
        (gift, InteractionKind.GIFT, 50, 7.0),
        (ItemPosted(id="m", pair="bob/sue", seq=1, ref="m", **of), InteractionKind.MESSAGE, 1, 1.0),
        (view(), InteractionKind.VIEW, 1, 0.25),
        (replace(call(60), kind=CallKind.CLIP), InteractionKind.VIEW, 1, 0.25),
        (FavoriteAdded(id="f", **of), InteractionKind.FAVORITE, 1, 12.0),
        (FavoriteRemoved(id="f", **of), InteractionKind.UNFAVORITE, 1, 0.0),
        (UserBlocked(id="b", reason=BlockReason.SPAM, **of), InteractionKind.BLOCK, 1, 0.0),
    ]
    for message, kind, amount, affinity in rows:
        _, fact = after(message)
        assert (fact.kind, fact.amount, fact.affinity, fact.pair) == (kind, amount, affinity, "bob/sue")
    assert {kind for _, kind, _, _ in rows} == set(InteractionKind)
    assert set(POINTS) == set(InteractionKind)


def test_a_block_ends_all_closeness() -> None:
    block = UserBlocked(id="b", at=T, cause="x", user=SUE, peer=BOB, reason=BlockReason.SPAM)
    pair, fact = after(call(600), block)
    assert (pair, fact.affinity) == (None, 0.0)


def test_late_within_ten_minutes_counts_in_its_own_hour_and_later_is_only_recorded() -> None:
    pair, fact = after(view(5), view(5 - LATE.total_seconds() / 60))
    assert not fact.late
    assert sorted(pair.points.values()) == [0.25, 0.25]  # 11:55 and 12:05
    again, fact = decide(pair, view(-6))
    assert fact[0].late
    assert again == pair


def test_the_window_moves_by_the_hour_and_an_empty_pair_is_forgotten() -> None:
    pair, _ = after(view(0), call(600, 70))
    due = pair.wake_at
    assert due == T.replace(minute=0) + timedelta(hours=WINDOW_HOURS)
    assert decide(pair, Wake(id="early", at=due - timedelta(seconds=1), key="bob/sue")) == (pair, ())
    moved, _ = decide(pair, Wake(id="w", at=due, key="bob/sue"))
    assert moved.affinity == 12.0
    assert decide(moved, Wake(id="w2", at=moved.wake_at, key="bob/sue")) == (None, ())


@given(st.lists(st.integers(0, 12 * 60), min_size=1, max_size=40))
def test_affinity_is_the_sum_of_what_is_in_the_window(minutes: list[int]) -> None:
    minutes = sorted(minute * 20 for minute in minutes)
    pair, fact = after(*(view(minute, f"v{n}") for n, minute in enumerate(minutes)))
    last = int((T + timedelta(minutes=minutes[-1])).timestamp()) // 3600
    hours = [int((T + timedelta(minutes=minute)).timestamp()) // 3600 for minute in minutes]
    assert fact.affinity == round(sum(0.25 for hour in hours if hour > last - WINDOW_HOURS), 3)
    assert pair.affinity == fact.affinity


def test_a_pair_is_the_same_from_both_sides() -> None:
    assert pair_of("sue", "bob") == pair_of("bob", "sue") == "bob/sue"


# --- on the real platform ---------------------------------------------------------------------------------------------------


def test_a_look_at_a_profile_is_an_interaction_and_a_row(stack: Stack, new_user: NewUser) -> None:
    from infra.clickhouse import connect
    from tests.conftest import eventually

    bob, sue = new_user(), new_user("streamer")
    assert sue.put("/v1/profile", json={"name": "Sue"}).status_code == 200
    assert bob.get(f"/v1/profiles/{sue.user}").status_code == 200
    client = connect(stack.clickhouse)
    sql = "SELECT user, peer, kind, amount FROM interactions WHERE pair = {pair:String}"
    rows = eventually(lambda: client.query(sql, parameters={"pair": pair_of(bob.user, sue.user)}).result_rows)
    assert rows == [(bob.user, sue.user, "view", 1.0)]
