"""A user signs up once; sessions, presence, bans."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.user import decide_user
from schemas.balance import OpenAccount
from schemas.log.base import Message, Wake
from schemas.user import (
    MAX_SESSIONS,
    AskPresence,
    Ban,
    Beat,
    CloseReason,
    CloseSession,
    EraseUser,
    OpenSession,
    Role,
    Session,
    SessionClosed,
    SignUp,
    SignUpRepeated,
    Unban,
    User,
    UserInbox,
    UserRefusal,
    UserRefused,
    UserSignedUp,
    mark_of,
)
from tests.decisions import all_decisions, decisions_of
from tests.people import ANN

decide = decisions_of(decide_user)
T = datetime(2030, 1, 1, tzinfo=UTC)


def sign_up(message: str = "m1", request: str = "", role: Role = Role.USER) -> SignUp:
    return SignUp(id=message, at=T, user=ANN, role=role, request=request)


def test_a_sign_up_opens_both_accounts() -> None:
    user, (fact, *opens) = decide(None, sign_up())
    assert isinstance(fact, UserSignedUp)
    assert [(type(m), m.account) for m in opens] == [(OpenAccount, "ann/coins"), (OpenAccount, "ann/earnings")]
    assert (user.role, user.signed_up_at) == (Role.USER, T)


def test_the_same_request_is_answered_alike_and_opens_nothing() -> None:
    user, _ = decide(None, sign_up(request="k"))
    after, (fact,) = decide(user, sign_up("m2", request="k"))
    assert (after, type(fact), fact.signed_up_at) == (user, SignUpRepeated, T)


@pytest.mark.parametrize(("device", "beat_s"), [("phone", 5), ("tablet", 30), ("", 30), ("watch", 30)])
def test_who_asks_is_told_when_the_phone_beat_last(device: str, beat_s: float) -> None:
    ask = AskPresence(id="a", at=T, user=ANN, call="c", device=mark_of(device))
    at = [T + timedelta(seconds=seconds) for seconds in (5, 30)]
    user = User(Role.USER, T, sessions=(Session("s", "phone", T, at[0]), Session("t", "tablet", T, at[1])))
    after, (told,) = decide(user, ask)
    assert (after, told.call, told.beat_at) == (user, "c", T + timedelta(seconds=beat_s))
    for gone in (None, User(Role.USER, T)):
        assert decide(gone, ask)[1][0].beat_at is None


def test_another_request_is_refused() -> None:
    user, _ = decide(None, sign_up(request="k"))
    for again in (sign_up("m2"), sign_up("m2", request="other"), sign_up("m2", request="k", role=Role.ADMIN)):
        after, (fact,) = decide(user, again)
        assert (after, type(fact), fact.refusal) == (user, UserRefused, UserRefusal.ALREADY_SIGNED_UP)


@pytest.mark.parametrize(
    ("first", "again", "refusal"),
    [
        ("k/a", "k/b", UserRefusal.IDEMPOTENCY_KEY_REUSED), ("k/a", "k2/a", UserRefusal.ALREADY_SIGNED_UP),
        ("k", "k/a", UserRefusal.ALREADY_SIGNED_UP), ("k/a", "k", UserRefusal.ALREADY_SIGNED_UP),
        ("", "k/a", UserRefusal.ALREADY_SIGNED_UP), ("k/a", "", UserRefusal.ALREADY_SIGNED_UP),
    ],
)  # fmt: skip
def test_a_key_that_is_used_for_other_contents_is_named(first: str, again: str, refusal: UserRefusal) -> None:
    user, _ = decide(None, sign_up(request=first))
    after, (fact,) = decide(user, sign_up("m2", request=again))
    assert (after, type(fact), fact.refusal) == (user, UserRefused, refusal)


def test_a_wake_means_nothing() -> None:
    assert decide(None, Wake(id="w", at=T, key="ann")) == (None, ())


def at(seconds: int) -> datetime:
    return T + timedelta(seconds=seconds)


def after(user: User, *messages: UserInbox) -> tuple[Any, list[Any]]:
    return all_decisions(decide, *messages, state=user)


def session(name: str, seconds: int = 0, device: str = "phone") -> OpenSession:
    return OpenSession(id=f"o-{name}-{seconds}", at=at(seconds), user=ANN, session=name, device=device)


def known() -> Any:
    return decide(None, sign_up())[0]


def names(told: Sequence[Message]) -> list[str]:
    return [type(fact).__name__ for fact in told]


def test_several_phones_are_one_presence() -> None:
    user, told = after(known(), session("a"), session("b", 10, "tablet"))
    assert names(told) == ["SessionOpened", "CameOnline", "SessionOpened"]
    user, told = after(user, CloseSession(id="c", at=at(20), user=ANN, session="a"))
    assert names(told) == ["SessionClosed", "DropPhone"]
    user, told = after(user, CloseSession(id="d", at=at(30), user=ANN, session="b"))
    assert names(told) == ["SessionClosed", "WentOffline", "DropPhone"]
    assert (told[1].online_s, user.online_since) == (30.0, None)


def test_a_phone_that_falls_silent_is_offline_45_s_after_its_last_beat() -> None:
    user, _ = after(known(), session("a"), Beat(id="b", at=at(30), user=ANN, session="a"))
    assert user.wake_at == at(75)
    assert decide(user, Wake(id="w", at=at(45), key="ann"))[1] == ()  # a stale wake: it has beaten since
    _, told = decide(user, Wake(id="w", at=at(75), key="ann"))
    assert names(told) == ["SessionClosed", "WentOffline"]
    assert (told[0].reason, told[1].at, told[1].online_s) == (CloseReason.TIMED_OUT, at(75), 75.0)


def test_the_same_device_replaces_its_session_and_stays_online() -> None:
    user, told = after(known(), session("a"), session("b", 5))
    assert names(told) == ["SessionOpened", "CameOnline", "SessionOpened", "SessionClosed"]
    assert [one.session for one in user.sessions] == ["b"]


def test_one_phone_more_than_there_may_be_takes_the_place_of_the_one_that_was_silent_longest() -> None:
    first = [session(f"s{n}", n, f"phone {n}") for n in range(MAX_SESSIONS)]
    user, told = after(known(), *first, Beat(id="b", at=at(30), user=ANN, session="s0"), session("new", 31, "tablet"))
    assert [(one.session, one.reason) for one in told if isinstance(one, SessionClosed)] == [("s1", CloseReason.REPLACED)]
    assert len(user.sessions) == MAX_SESSIONS


def test_a_ban_closes_all_and_ends_at_its_time() -> None:
    ban = Ban(id="x", at=at(5), user=ANN, reason="rude", by="root", until=at(60))
    user, told = after(known(), session("a"), ban)
    assert names(told)[2:] == ["UserBanned", "SessionClosed", "WentOffline"]
    _, (refused,) = decide(user, session("b", 6))
    assert refused.refusal is UserRefusal.BANNED
    user, told = after(user, Wake(id="w", at=at(60), key="ann"))
    assert (names(told), user.ban) == (["UserUnbanned"], None)


REFUSALS = [
    (None, session("a"), UserRefusal.USER_UNKNOWN),
    (decide(None, sign_up(request="k/a"))[0], sign_up("m2", request="k/b"), UserRefusal.IDEMPOTENCY_KEY_REUSED),
    (known(), sign_up("m2"), UserRefusal.ALREADY_SIGNED_UP),
    (known(), CloseSession(id="c", at=T, user=ANN, session="none"), UserRefusal.SESSION_UNKNOWN),
    (known(), Unban(id="u", at=T, user=ANN, by="root"), UserRefusal.NOT_BANNED),
    (decide(known(), EraseUser(id="e", at=T, user=ANN, by=ANN))[0], session("a"), UserRefusal.USER_ERASED),
    (
        decide(known(), Ban(id="x", at=T, user=ANN, reason="rude", by="root"))[0],
        session("a"),
        UserRefusal.BANNED,
    ),
]


@pytest.mark.parametrize(("user", "message", "refusal"), REFUSALS, ids=[row[2] for row in REFUSALS])
def test_each_refusal(user: User | None, message: UserInbox, refusal: UserRefusal) -> None:
    after_, (fact,) = decide(user, message)
    assert (after_, fact.refusal, fact.cause) == (user, refusal, message.id)


def test_every_refusal_has_a_row() -> None:
    assert {row[2] for row in REFUSALS} == set(UserRefusal)
