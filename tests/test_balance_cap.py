"""A payer's daily cap: what counts, what comes back, and that no 24 hours ever see more spent than was allowed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.balance import decide_account
from schemas.balance import Account, AccountRefused, Credit, EntryKind, Hold, Post, Reason, Refusal, SetCap, Transfer, Void
from schemas.balance_cap import MAX_HOURS, RAISED_AFTER, Cap, CapRoom, SpentHour
from schemas.log.base import MAX_BALANCE_COINS, AccountId, HoldId, Wake
from tests.conftest import Api, Phones, eventually
from tests.decisions import decisions_of
from tests.long_lists import long_lists

decide = decisions_of(decide_account)
T = datetime(2030, 1, 1, 10, 30, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ANN, GIFTS, CALLS = AccountId("ann/coins"), AccountId("@gifts"), AccountId("@calls")
RICH = Account(1, T, 1_000)


def gift(coins: int, at: datetime = T, reason: Reason = Reason.GIFT) -> Transfer:
    return Transfer(id="g", at=at, account=ANN, to=GIFTS, coins=coins, reason=reason)


def hold(coins: int, at: datetime = T, name: str = "h") -> Hold:
    return Hold(
        id="h", at=at, account=ANN, hold=HoldId(name), to=CALLS, coins=coins, reason=Reason.CALL, expires_at=at + DAY * 9
    )  # fmt: skip


def post(coins: int, at: datetime = T, name: str = "h") -> Post:
    return Post(id="p", at=at, account=ANN, hold=HoldId(name), coins=coins)


def back(coins: int, at: datetime = T) -> Credit:
    return Credit(id="b", at=at, account=ANN, counterparty=CALLS, coins=coins, reason=Reason.CALL)


def cap(coins: int | None, at: datetime = T, *, staff: bool = False) -> SetCap:
    return SetCap(id="c", at=at, account=ANN, cap_coins=coins, staff=staff)


def play(*messages: Any, account: Account = RICH) -> tuple[Account, Any]:
    """The account behind all of them, and what the last was answered."""
    told: Any = ()
    for message in messages:
        account, told = decide(account, message)
    return account, told


def refused(*messages: Any) -> CapRoom:
    """What the cap left, where the last of them was refused for it."""
    _, (fact, *_) = play(*messages)
    assert isinstance(fact, AccountRefused)
    assert (fact.refusal, fact.shortfall_coins) == (Refusal.DAILY_CAP, 0)
    assert fact.cap_room is not None
    return fact.cap_room


def test_gifts_and_calls_count_and_nothing_else_does() -> None:
    spent = (cap(100), gift(30), hold(40), gift(500, reason=Reason.TRANSFER))
    ends = datetime(2030, 1, 2, 11, tzinfo=UTC)
    assert refused(*spent, gift(31)) == CapRoom(30, ends)
    assert play(*spent, gift(30))[1][0].kind is EntryKind.DEBIT
    assert refused(*spent, Void(id="v", at=T, account=ANN, hold=HoldId("h")), gift(71)) == CapRoom(70, ends)
    assert refused(*spent, post(10), gift(61)) == CapRoom(60, ends)
    assert refused(*spent, post(40), back(25), gift(56)) == CapRoom(55, ends)
    assert refused(cap(100), gift(60), back(900), gift(101)) == CapRoom(100)


def test_a_day_is_a_span_and_an_hour_counts_until_it_is_over_for_a_day() -> None:
    late = gift(100, T.replace(hour=23, minute=59))
    ends = datetime(2030, 1, 3, tzinfo=UTC)
    assert refused(cap(100), late, gift(1, T.replace(day=2, hour=0))) == CapRoom(0, ends)
    assert refused(cap(100), late, gift(1, ends - timedelta(microseconds=1))) == CapRoom(0, ends)
    assert play(cap(100), late, gift(100, ends))[1][0].kind is EntryKind.DEBIT


def test_a_cap_of_nothing_one_that_no_account_reaches_and_staffs_beside_the_owners() -> None:
    assert refused(cap(0), gift(1)) == CapRoom(0)
    assert play(cap(MAX_BALANCE_COINS), gift(1_000))[0].balance_coins == 0
    assert refused(cap(100), cap(50, staff=True), gift(51)) == CapRoom(50)
    assert refused(cap(100), cap(500, staff=True), gift(101)) == CapRoom(100)
    account, _ = play(cap(100), cap(50, staff=True), cap(None, staff=True), gift(100))
    assert account.cap == Cap(100, hours=(SpentHour(525_970, 100),))
    assert play(cap(10, staff=True), cap(None, staff=True))[0].cap is None


def test_lower_is_at_once_and_higher_or_none_waits_a_day_and_can_be_taken_back() -> None:
    due = T + RAISED_AFTER
    for more in (500, None):
        waits, (entry,) = play(cap(100), cap(more, T))
        assert (waits.cap, entry.cap) == (Cap(100, next_at=due, next_coins=more),) * 2
        assert waits.wake_at == due
        assert play(cap(more, T + HOUR), account=waits)[0].cap == waits.cap
        assert play(cap(100, T + HOUR), account=waits)[0].cap == Cap(100)
        assert refused(cap(100), cap(more), gift(101, due - HOUR)) == CapRoom(100, due)
        assert play(Wake(id="w", at=due - HOUR, key=ANN), account=waits) == (waits, [])
        woken, (turned,) = play(Wake(id="w", at=due, key=ANN), account=waits)
        assert (turned.kind, woken.cap) == (EntryKind.CAP, None if more is None else Cap(more))
        assert play(gift(500, due), account=waits)[1][0].kind is EntryKind.DEBIT
    assert play(cap(100), cap(500), cap(300, T + HOUR))[0].cap == Cap(100, next_at=due + HOUR, next_coins=300)


def test_what_was_held_before_the_cap_was_lowered_is_honoured() -> None:
    account, told = play(cap(100), hold(80), cap(10), post(80))
    assert (told[0].kind, account.balance_coins) == (EntryKind.POST, 920)
    assert refused(cap(100), hold(80), cap(10), post(80), gift(1)).left_coins == 0
    # Of what was spent above it so much has to be over that there is room again.
    ends = datetime(2030, 1, 2, 13, tzinfo=UTC)
    assert refused(cap(100), gift(5), gift(60, T + HOUR * 2), cap(50, T + HOUR * 2), gift(1, T + HOUR * 3)) == CapRoom(0, ends)


hours = st.integers(0, 60).map(lambda hour: T + HOUR * hour)
steps = st.one_of(
    st.builds(gift, st.integers(1, 60), hours),
    st.builds(hold, st.integers(1, 60), hours, st.sampled_from("ab")),
    st.builds(post, st.integers(1, 60), hours, st.sampled_from("ab")),
    st.builds(lambda at, name: Void(id="v", at=at, account=ANN, hold=HoldId(name)), hours, st.sampled_from("ab")),
    st.builds(back, st.integers(1, 60), hours),
    st.builds(cap, st.sampled_from((None, 0, 40, 100)), hours, staff=st.booleans()),
)


@given(long_lists(steps, 50))
def test_no_24_hours_see_more_than_the_highest_cap_of_their_time(history: list[Any]) -> None:
    """By a second account, which keeps each payment by itself, and which was capped by staff at 100 from the beginning."""
    account, _ = play(cap(100, staff=True))
    moved: list[tuple[datetime, int]] = []
    for message in history:
        if isinstance(message, SetCap) and message.staff:
            continue
        account, told = decide(account, message)
        for fact in told:
            if fact.id == f"{message.id}/0" and not isinstance(fact, AccountRefused):
                moved.append((fact.at, -fact.coins if fact.reason in (Reason.CALL, Reason.GIFT) else 0))
        assert account.cap is not None
        assert len(account.cap.hours) <= MAX_HOURS
        assert sum(coins for at, coins in moved if account.at - DAY < at) + account.held_coins <= 100


def test_a_cap_over_http(admin: Api, phones: Phones) -> None:
    """A gift above it is refused, with what is left and when there will be more; more waits; staff's is a second."""
    bob, sue = phones(coins=500)
    gift = f"capped-{bob.user}"
    assert admin.put(f"/v1/admin/gifts/{gift}", json={"price_coins": 30, "share_coins": 10}).status_code == 200
    path, staffs = "/v1/spending-cap", f"/v1/admin/accounts/{bob.user}/spending-cap"
    assert bob.api.get(path).json()["coins"] is None
    assert bob.api.get("/v1/balance").json()["cap_left_coins"] is None
    put = bob.api.put(path, json={"coins": 50})
    assert (put.status_code, put.json()["own_coins"], put.json()["left_coins"]) == (200, 50, 50)
    assert bob.api.place("/v1/gifts", to=sue.user, gift=gift).status_code == 201
    refused = bob.api.place("/v1/gifts", to=sue.user, gift=gift)
    assert (refused.status_code, refused.json()["code"], refused.json()["left_coins"]) == (409, "daily_cap", 20)
    assert datetime.fromisoformat(refused.json()["more_at"]) > datetime.now(UTC) + timedelta(hours=23)
    assert eventually(lambda: bob.api.get("/v1/balance").json()["cap_left_coins"] == 20)
    more_at = bob.api.get("/v1/balance").json()["cap_more_at"]
    assert datetime.fromisoformat(more_at) == datetime.fromisoformat(refused.json()["more_at"])
    raised = bob.api.put(path, json={"coins": 100}).json()
    assert (raised["coins"], raised["next_coins"], raised["spent_coins"]) == (50, 100, 30)
    assert eventually(lambda: bob.api.get(path).json()["next_coins"] == 100)
    assert bob.api.put(path, json={"coins": 50}).json()["next_at"] is None
    by_staff = admin.put(staffs, json={"coins": 40, "ref": "ticket"}, headers={"Idempotency-Key": f"cap-{bob.user}"})
    assert (by_staff.status_code, by_staff.json()["coins"], by_staff.json()["left_coins"]) == (200, 40, 10)
    assert eventually(lambda: admin.get(staffs).json()["staff_coins"] == 40)
    call = bob.api.post("/v1/calls", json={"to": sue.user}, headers={"Idempotency-Key": f"call-{bob.user}"})
    assert call.status_code in (201, 409), call.text
