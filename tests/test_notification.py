"""Notifications: who is told what, when a phone is pushed, and why not; each refusal by name."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pipelines.notification import decide_notification
from schemas.balance import EntryKind, EntryRecorded
from schemas.billing_rules import CallKind
from schemas.chat import ChatRead, ItemHidden, ItemKind, ItemPosted
from schemas.chat_message import MessageDeleted
from schemas.favorites import FavoriteCameOnline
from schemas.log.base import AccountId, Message, Wake
from schemas.log.topics import inbox_keys
from schemas.notification import (
    NOTIFICATION,
    AckNotification,
    DropPhone,
    KeepPhone,
    NotificationRefusal,
    PhoneEnd,
    PutNotificationPreferences,
    SendNotice,
)
from schemas.notification_kinds import LOW_COINS, MANNERS, TEXTS, Delivery, NotificationKind, text_of
from schemas.notification_quiet import QuietHours
from schemas.notification_state import (
    KEPT,
    MAX_NOTICES,
    MAX_PHONES,
    NoPush,
    NoticeText,
    Notifications,
    PushReason,
    Withdrawal,
    occurrence_of,
)
from schemas.outbox import OweEffect
from schemas.push import PushAccepted, PushChannel, PushFailure, PushPlatform, PushTokenDead, WithdrawPush, token_mark
from schemas.user import CameOnline, UserErased, WentOffline
from schemas.video import CallConnected, CallEnded, CallRinging, EndReason
from schemas.wall import Offset
from tests.decisions import all_decisions, decisions_of, last_decision
from tests.people import BOB, SUE

decide: Callable[[Any, Any], tuple[Any, Sequence[Any]]] = decisions_of(decide_notification)
T = datetime(2030, 1, 1, 12, tzinfo=UTC)
K = NotificationKind


def at(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def fact(name: str, seconds: float = 0) -> dict[str, Any]:
    return {"id": name, "at": at(seconds), "cause": "x"}


def phone(device: str = "d1", platform: str = "android", **tokens: str) -> KeepPhone:
    return KeepPhone(
        id=f"k{device}", at=T, user=SUE, device=device, platform=platform, **(tokens or {"push_token": f"t-{device}"})
    )


def item(seq: int, seconds: float = 0, **more: Any) -> ItemPosted:
    return ItemPosted(**fact(f"i{seq}", seconds), pair="bob/sue", user=BOB, peer=SUE, seq=seq, ref=f"m{seq}", **more)


def name_of(cause: str) -> str:
    return occurrence_of(SUE, cause)


def wake(seconds: float) -> Wake:
    return Wake(id=f"w{seconds}", at=at(seconds), key=SUE)


def ack(cause: str, seconds: float = 1) -> AckNotification:
    return AckNotification(id=f"a{cause}", at=at(seconds), user=SUE, notification=name_of(cause))


def read(seq: int, seconds: float = 1) -> ChatRead:
    return ChatRead(**fact(f"r{seq}", seconds), pair="bob/sue", user=SUE, peer=BOB, seq=seq)


def rings(seconds: float = 0) -> CallRinging:
    return CallRinging(**fact("c1/rings", seconds), call="c1", caller=BOB, callee=SUE, kind=CallKind.DIRECT, until=at(30))


def taken(cause: str, seconds: float = 1) -> PushAccepted:
    return PushAccepted(
        **fact(f"p{cause}", seconds), occurrence=name_of(cause), device="d1", channel=PushChannel.ALERT, effect="e", user=SUE
    )


ONLINE = CameOnline(**fact("on"), user=SUE)
OFFLINE = WentOffline(**fact("off"), user=SUE, online_s=1.0)


def names(told: Sequence[Message]) -> list[str]:
    return [type(one).__name__ for one in told]


def pushes(told: Sequence[Message]) -> list[Any]:
    return [one.push for one in told if isinstance(one, OweEffect)]


# --- when, and why ----------------------------------------------------------------------------------------------------------


def test_who_is_offline_is_pushed_at_once_and_told_why() -> None:
    state, told = last_decision(decide, phone(), item(1))
    assert names(told) == ["Notified", "PushDecided", "OweEffect"]
    assert (told[1].reason, told[1].phones, told[0].unread, state.wake_at) == (PushReason.OFFLINE, 1, 1, None)
    (push,) = pushes(told)
    assert (push.title, push.token, push.badge, push.platform) == ("New message", "t-d1", 1, PushPlatform.ANDROID)
    assert push.data == {"kind": "message", "notification": name_of("i1"), "peer": "bob", "ref": "m1"}
    assert told[2].effect == f"push/d1/{name_of('i1')}"


def test_who_is_online_is_pushed_when_no_phone_has_it_in_time() -> None:
    state, told = last_decision(decide, phone(), ONLINE, item(1))
    assert (names(told), state.wake_at) == (["Notified"], at(10))
    assert decide(state, wake(9))[1] == []
    _, told = last_decision(decide, wake(10), state=state)
    assert (names(told), told[0].reason, told[0].after_s) == (["PushDecided", "OweEffect"], PushReason.NO_ACK, 10.0)
    _, told = last_decision(decide, OFFLINE, wake(10), state=state)
    assert told[0].reason is PushReason.OFFLINE


@pytest.mark.parametrize(
    "seen",
    [
        ack("i1"), read(1), ItemHidden(**fact("h"), pair="bob/sue", user=SUE, peer=BOB, seq=1),
        MessageDeleted(**fact("d"), message="m1", sender=BOB, receiver=SUE, seq=1),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_nothing_is_pushed_behind_an_acknowledgement_a_reading_or_a_withdrawal(seen: Any) -> None:
    state, _ = last_decision(decide, phone(), ONLINE, item(1), seen)
    assert (state.wake_at, decide(state, wake(10))[1]) == (None, [])


def test_an_item_of_a_chat_stays_unread_until_it_is_read_and_all_else_is_read_by_its_acknowledgement() -> None:
    favorite = FavoriteCameOnline(**fact("f"), user=BOB, follower=SUE)
    notice = SendNotice(id="n", at=T, user=SUE, notice="n1", texts=(NoticeText("en", "Hi", "Hello."),))
    state, told = last_decision(decide, ONLINE, item(1), favorite, notice)
    assert told[0].unread == state.unread == 2
    state, told = last_decision(decide, ack("i1"), ack("f"), ack("notice/n1"), state=state)
    assert (names(told), state.unread) == (["NotificationAcked", "NotificationRead"], 1)
    state, told = last_decision(decide, read(1), state=state)
    assert (names(told), told[0].unread, state.unread) == (["NotificationRead"], 0, 0)
    again, told = last_decision(decide, ack("i1", 99), state=state)
    assert (again, told[0].after_s) == (state, 1.0)


def test_one_cause_is_told_a_person_once() -> None:
    state, _ = last_decision(decide, phone(), item(1))
    assert decide(state, item(1)) == (state, [])
    notice = SendNotice(id="n", at=T, user=SUE, notice="n1", texts=(NoticeText("en", "Hi", "Hello."),))
    state, _ = decide(state, notice)
    same, told = decide(state, replace(notice, id="again"))
    assert (same, names(told)) == (state, ["NoticeRepeated"])


@pytest.mark.parametrize(
    ("before", "cause", "why"),
    [
        ((), item(1), NoPush.NO_PHONE),
        ((phone(),), item(1, muted=True), NoPush.MUTED),
        ((phone(),), item(1, kind=ItemKind.CALL, reason=EndReason.DECLINED), NoPush.MUTED),
        ((phone(), PutNotificationPreferences(id="p", at=T, user=SUE, silent=(K.MESSAGE,))), item(1), NoPush.SILENCED),
        (
            (phone(),), EntryRecorded(**fact("e"), account=AccountId("sue/coins"), seq=1, kind=EntryKind.DEBIT, balance_coins=9,
                                      held_coins=0, coins=-99), NoPush.IN_APP,
        ),
        ((phone(),), rings(31), NoPush.TOO_LATE),
    ],
    ids=lambda one: one.value if isinstance(one, NoPush) else "",
)  # fmt: skip
def test_each_reason_why_nobody_is_pushed(before: tuple[Any, ...], cause: Any, why: NoPush) -> None:
    state, told = last_decision(decide, *before, cause)
    assert (told[-1].no_push, pushes(told), state.wake_at) == (why, [], None)
    assert state.occurrences[0].no_push is why


def test_of_several_that_are_one_notice_on_the_phone_the_newest_is_pushed() -> None:
    state, _ = last_decision(decide, phone(), ONLINE, item(1), item(2, 1), item(3, 2))
    _, told = decide(state, wake(12))
    assert [one.no_push for one in told if type(one).__name__ == "PushForgone"] == [NoPush.COLLAPSED] * 2
    assert [push.data["ref"] for push in pushes(told)] == ["m3"]


def test_a_person_remembers_so_many_and_of_what_gives_way_too_early_a_fact_says_so() -> None:
    state, _ = last_decision(decide, phone(), ONLINE, *(item(n, n / 100) for n in range(1, KEPT + 1)))
    after, told = decide(state, item(KEPT + 1, 2))
    assert (names(told), told[0].no_push, told[0].notification) == (["PushForgone", "Notified"], NoPush.OVERFLOW, name_of("i1"))
    assert (len(after.occurrences), after.unread, told[1].unread) == (KEPT, KEPT, KEPT)
    after, told = last_decision(decide, ack("i7"), read(7), item(KEPT + 1, 2), state=state)
    assert (names(told), name_of("i1") in str(after)) == (["Notified"], False)


# --- calls ------------------------------------------------------------------------------------------------------------------


def test_a_call_lets_apples_phones_ring_while_it_rings() -> None:
    apple = phone("d2", "iOS", push_token="alert", voip_token="voip")
    state, told = last_decision(decide, phone(), apple, ONLINE, rings())
    assert (names(told), state.wake_at) == (["Notified"], at(2))
    state, told = last_decision(decide, wake(2), state=state)
    found = [(push.token, push.channel, push.expires_at) for push in pushes(told)]
    assert found == [("t-d1", PushChannel.ALERT, at(30)), ("voip", PushChannel.VOIP, at(30))]
    assert [one.provider for one in told[1:]] == ["push", "apns"]
    assert decide(state, wake(3))[1] == []


@pytest.mark.parametrize("why", list(Withdrawal)[:2])
def test_a_call_that_was_taken_or_is_over_rings_nowhere(why: Withdrawal) -> None:
    call: dict[str, Any] = {"call": "c1", "caller": BOB, "callee": SUE, "kind": CallKind.DIRECT}
    over = (CallConnected if why is Withdrawal.ANSWERED else CallEnded)(**fact("c1/over", 5), **call)
    state, told = last_decision(decide, phone(), ONLINE, rings(), replace(over, at=at(1)))
    assert (told[0].withdrawal, decide(state, wake(2))[1]) == (why, [])
    state, told = last_decision(decide, phone(), rings(), over)
    assert (names(told), told[1].effect) == (["NotificationWithdrawn", "WithdrawPush"], f"push/d1/{name_of('c1/rings')}")
    # a vendor that was asked before has taken it nevertheless
    _, told = last_decision(decide, taken("c1/rings", 6), state=state)
    (push,) = pushes(told)
    assert (push.title, push.data["withdrawn"]) == ("", name_of("c1/rings"))


def test_roulette_and_films_ring_nobody() -> None:
    key = inbox_keys(NOTIFICATION)
    for kind in (CallKind.ROULETTE, CallKind.CLIP):
        assert key[CallRinging](replace(rings(), kind=kind)) == ""
    assert key[CallRinging](rings()) == SUE


# --- taking back ------------------------------------------------------------------------------------------------------------


def test_what_was_pushed_is_taken_back_everywhere_when_it_is_read() -> None:
    state, _ = last_decision(decide, phone(), phone("d2"), item(1), item(2, 1), taken("i1"), taken("i2"))
    _, told = decide(state, read(2, 9))
    assert [one.effect for one in told if isinstance(one, WithdrawPush)] == [
        f"push/{device}/{name_of(cause)}" for cause in ("i1", "i2") for device in ("d1", "d2")
    ]
    silent = pushes(told)
    assert [(one.device, one.title, one.badge, one.data["withdrawn"]) for one in silent] == [
        ("d1", "", 0, name_of("i2")), ("d2", "", 0, name_of("i2")),
    ]  # fmt: skip


def test_what_no_vendor_has_taken_is_not_taken_back_by_a_push() -> None:
    _, told = last_decision(decide, phone(), item(1), read(1))
    assert names(told) == ["NotificationRead", "WithdrawPush"]


# --- phones -----------------------------------------------------------------------------------------------------------------


def dead(token: str, seconds: float, dead_at: datetime | None = None) -> PushTokenDead:
    return PushTokenDead(
        **fact("dead", seconds), occurrence="o", device="d1", channel=PushChannel.ALERT, effect="e", user=SUE,
        reason=PushFailure.UNREGISTERED, token=token_mark(token), dead_at=dead_at,
    )  # fmt: skip


def test_a_dead_token_is_gone_unless_it_was_registered_later() -> None:
    state, told = last_decision(decide, phone(), dead("t-d1", 9))
    assert (state, told[0].end) == (None, PhoneEnd.TOKEN_DEAD)
    later = replace(phone(), at=at(20))
    state, told = last_decision(decide, phone(), later, dead("t-d1", 30, at(10)))
    assert (len(state.phones), told) == (1, [])
    state, told = last_decision(decide, phone(push_token="new"), dead("t-d1", 30))
    assert (len(state.phones), told) == (1, [])
    state, _ = last_decision(decide, phone(push_token="a", voip_token="v"), dead("v", 9))
    assert (state.phones[0].push_token, state.phones[0].voip_token) == ("a", "")


def test_a_phone_that_onesignal_knows_is_pushed_by_its_subscription_and_lost_by_it() -> None:
    name = "0f5bb1a5-7bd4-4f5e-8a3e-4f6f3b8a9c11"
    state, told = last_decision(decide, phone("d1", onesignal_id=name), phone("d2", push_token="t", onesignal_id="x"), item(1))
    assert [(push.device, push.token, push.subscription) for push in pushes(told)] == [("d1", "", name), ("d2", "t", "")]
    renamed = phone("d3", push_token="n", onesignal_id=name)
    state, _ = last_decision(decide, renamed, state=state)
    assert [one.device for one in state.phones] == ["d2", "d3"]
    assert [one.onesignal_id for one in decide(state, dead(name, 9))[0].phones] == ["", ""]


def test_a_token_is_one_phones_whatever_it_is_called() -> None:
    renamed = phone("d2", push_token="t-d1")
    state, told = last_decision(decide, phone(), renamed)
    assert ([one.device for one in state.phones], [type(one).__name__ for one in told]) == (
        ["d2"],
        ["PhoneKept", "PhoneDropped"],
    )
    assert decide(state, dead("t-d1", 9))[0] is None


def test_who_logs_out_on_a_phone_is_not_pushed_there() -> None:
    drop = DropPhone(id="x", at=T, user=SUE, device="d1")
    state, told = last_decision(decide, phone(), drop)
    assert (state, told[0].end) == (None, PhoneEnd.LOGGED_OUT)
    assert decide(state, drop) == (None, [])


def test_one_phone_more_than_there_may_be_takes_the_place_of_the_oldest() -> None:
    state, told = last_decision(decide, *(phone(f"d{n}") for n in range(MAX_PHONES + 1)))
    assert ([one.device for one in told], told[1].end) == ([f"d{MAX_PHONES}", "d0"], PhoneEnd.REPLACED)
    assert len(state.phones) == MAX_PHONES


def test_what_is_no_token_and_no_locale_is_not_kept() -> None:
    state, _ = last_decision(decide, replace(phone(push_token='a"b', voip_token="ok"), locale="d\x00"))
    assert (state.phones[0].push_token, state.phones[0].voip_token, state.phones[0].locale) == ("", "ok", "")


# --- words ------------------------------------------------------------------------------------------------------------------


def test_every_kind_has_a_manner_and_words_in_every_language() -> None:
    assert set(MANNERS) == set(K)
    for texts in TEXTS.values():
        assert set(texts) == set(K) - {K.NOTICE}
    assert {manner.delivery for manner in MANNERS.values()} == set(Delivery)
    assert text_of(K.MESSAGE, "de_AT").title == "Neue Nachricht"
    assert text_of(K.MESSAGE, "tlh") == text_of(K.MESSAGE, "en")


def test_a_notice_is_told_in_the_language_of_the_newest_phone_and_the_newest_few_are_kept() -> None:
    texts = (NoticeText("en", "Hi", "Hello."), NoticeText("de", "Hallo", "Guten Tag."))
    notices = [
        SendNotice(id=f"n{n}", at=at(n), user=SUE, notice=f"n{n}", texts=texts, by="root") for n in range(MAX_NOTICES + 1)
    ]
    state, told = all_decisions(decide, replace(phone(), locale="de-AT"), *notices)
    assert [(push.title, push.body) for push in pushes(told)] == [("Hallo", "Guten Tag.")] * len(notices)
    assert (len(state.notices), len(state.occurrences)) == (MAX_NOTICES, MAX_NOTICES)


def test_who_falls_below_the_mark_is_told_once() -> None:
    key = inbox_keys(NOTIFICATION)[EntryRecorded]
    entry = EntryRecorded(
        **fact("e"), account=AccountId("sue/coins"), seq=1, kind=EntryKind.DEBIT, balance_coins=LOW_COINS - 1, held_coins=0,
        coins=-1,
    )  # fmt: skip
    assert key(entry) == SUE
    for other in ({"coins": 0}, {"balance_coins": LOW_COINS}, {"account": AccountId("sue/earnings")}):
        assert key(replace(entry, **other)) == ""


# --- quiet hours, erasure, refusals -----------------------------------------------------------------------------------------

QUIET = QuietHours(22 * 60, 7 * 60, "Europe/Berlin", (Offset(datetime(1, 1, 2, tzinfo=UTC), 60),))


def test_quiet_hours_put_a_push_off_and_lose_none() -> None:
    put = PutNotificationPreferences(id="p", at=T, user=SUE, quiet=QUIET)
    state, told = last_decision(decide, phone(), put, item(1, 10 * 3_600))
    assert (names(told), state.wake_at) == (["Notified", "PushHeld"], at(18 * 3_600))
    _, told = last_decision(decide, wake(18 * 3_600), state=state)
    assert (names(told), told[0].reason) == (["PushDecided", "OweEffect"], PushReason.OFFLINE)
    _, told = last_decision(decide, read(1, 11 * 3_600), wake(18 * 3_600), state=state)
    assert told == []
    ring = replace(rings(10 * 3_600), until=at(10 * 3_600 + 30))
    _, told = last_decision(decide, phone(), put, ring)
    assert told[1].no_push is NoPush.TOO_LATE


def test_what_was_under_way_longer_than_a_wake_waits_for_one_more_wake_of_that_time() -> None:
    put = PutNotificationPreferences(id="p", at=T, user=SUE, quiet=QUIET)
    state, _ = last_decision(decide, phone(), put, item(1, 10 * 3_600), wake(18 * 3_600))
    state, told = last_decision(decide, item(2, 10 * 3_600 + 5), state=state)
    assert (names(told), state.wake_at) == (["Notified", "PushHeld"], T + timedelta(hours=18))
    state, told = last_decision(decide, wake(18 * 3_600), state=state)
    assert (names(told), state.wake_at, told[0].after_s) == (["PushDecided", "OweEffect"], None, 8 * 3_600 - 5.0)


def test_each_refusal_by_name() -> None:
    erased = UserErased(**fact("e"), user=SUE)
    rows = [
        ((ack("i1"),), NotificationRefusal.NOTIFICATION_UNKNOWN),
        ((phone(), erased, ack("i1")), NotificationRefusal.PERSON_ERASED),
    ]
    for messages, refusal in rows:
        _, (told,) = last_decision(decide, *messages)
        assert told.refusal is refusal
    assert {refusal for _, refusal in rows} == set(NotificationRefusal)


def test_who_is_erased_is_told_nothing_any_more_and_the_mark_goes_after_a_day() -> None:
    state, told = last_decision(decide, phone(), item(1), UserErased(**fact("e"), user=SUE), item(2), phone())
    assert (state, told) == (Notifications(erased_at=T), [])
    assert decide(state, wake(86_400))[0] is None
