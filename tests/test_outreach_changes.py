"""Outreach that is changed under way: campaigns removed and put again, of another kind, paused for days, beside each other;
people who are banned or come again; paces that no clock can show."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.chat_message import ChatRefusal, MessageRefused, SendMessage
from schemas.log.base import Message, UserId
from schemas.log.codec import encode, state_decoder
from schemas.notification import SendNotice
from schemas.outreach import (
    ASK_EVERY,
    ASK_FOR,
    BOOK,
    MAX_SPREAD_S,
    MAX_TRIED,
    AskWriter,
    CampaignBook,
    OfferWriter,
    OpeningsEnd,
    OpeningsEnded,
    OpeningSent,
    PutCampaign,
    Recipient,
    RemoveCampaign,
    ShareOutreach,
    TellWriter,
    WithdrawWriter,
)
from schemas.panel import CohortLeft
from schemas.user import CameOnline, UserBanned, UserUnbanned
from tests.test_outreach import (
    ANN,
    NOTICE,
    OPENED,
    SUE,
    TOLD,
    after,
    book_of,
    entered,
    fact,
    kinds,
    play,
    put,
    reply_to,
    shared,
    tell,
    wake,
)

DAY_S = 86_400


def books(*messages: PutCampaign | RemoveCampaign) -> list[Recipient]:
    """The book behind each message, as partitions are told it."""
    book, found = None, []
    for message in messages:
        book, _ = book_of(book, message)
        found.append(Recipient(shared=book))
    return found


def removed(name: str, at: float) -> RemoveCampaign:
    return RemoveCampaign(id=f"r{at}", at=after(at), book=BOOK, campaign=name)


# --- removed, and put again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [True, False], ids=["each is looked at", "nobody saw that it was gone"])
def test_a_campaign_that_was_removed_and_is_put_again_is_another_one(looks: bool) -> None:
    """Nobody's state says which books it has seen: whoever was told the first one is told the second one, once, under a name of
    its own, which the user's notifications do not take for the first."""
    first, gone, second = books(put(TOLD, people=0), removed("news", 10), put(TOLD, at=20, people=0))
    state, told = play(first, [entered(5)])
    if looks:
        state, _ = play(gone, [wake(15)], state)
    state, more = play(second, [wake(25), wake(26)], state)
    notices = [one.notice for one in (*told, *more) if isinstance(one, SendNotice)]
    assert notices == ["outreach/news/1", "outreach/news/3"]


def test_an_opening_again_behind_a_removal_is_a_message_of_its_own() -> None:
    """Else it had the id of the first one, and the chat would take it for that."""
    first, _, second = books(put(OPENED), removed("greet", 100), put(OPENED, at=110))
    state, told = play(first, [entered(0), wake(60), tell(61, "sue")])
    _, more = play(second, [entered(120), wake(180), tell(181, "sue")], state)
    names = [one.message for one in (*told, *more) if isinstance(one, SendMessage)]
    assert len(names) == len(set(names)) == 2


def test_a_notice_that_becomes_an_opening_begins_anew() -> None:
    """Who waited for the notice has not entered since, and is not written to; its pace is not that of the next notice."""
    opening = replace(OPENED, campaign="news")
    notice, opened, again = books(put(TOLD), put(opening, at=9), put(TOLD, at=20))
    state, told = play(notice, [entered(0)])
    assert told == []
    state, told = play(opened, [wake(10), wake(10_000)], state)
    assert told == []
    assert again.shared is not None
    assert (again.shared.campaigns[0].done, again.shared.campaigns[0].begun) == (0.0, 3)
    _, told = play(again, [wake(20_000)], state)
    assert kinds(told) == ["CampaignTold", "SendNotice"]


def test_the_answer_to_a_campaign_that_is_another_one_now_sends_nothing() -> None:
    first, second = books(put(OPENED), put(replace(TOLD, campaign="greet", running=False), at=61))
    state, _ = play(first, [entered(0), wake(60)])
    _, told = play(second, [tell(62, "sue"), wake(63)], state)
    assert told == []


def test_what_is_both_is_a_notice_and_what_is_neither_is_nothing() -> None:
    """No route puts such a campaign, but a job of the timetable may."""
    both, neither = replace(OPENED, notice=NOTICE), replace(OPENED, opening=())
    _, told = play(shared(both), [entered(0), wake(60), tell(61, "sue")])
    assert kinds(told) == ["CampaignTold", "SendNotice"]
    online = [entered(0, "hosts", SUE), fact(CameOnline, 1, user=SUE)]
    for one in (both, neither):
        assert play(shared(one), online)[1] == []
    assert play(shared(neither), [entered(0), wake(60), tell(61, "sue")])[1] == []


def test_an_older_book_that_comes_late_changes_nothing() -> None:
    common, older = shared(TOLD, version=3), shared(replace(TOLD, running=False), version=2)
    state, told = play(common, [fact_of_book(older), fact_of_book(common)], common)
    assert (state, told) == (common, [])


def fact_of_book(common: Recipient) -> Message:
    return ShareOutreach(id="s", at=after(0), user=UserId("@0"), shared=common.shared or CampaignBook())


# --- paused for days --------------------------------------------------------------------------------------------------------


def test_a_pause_of_days_is_not_a_day_without_a_writer() -> None:
    """Nobody was asked meanwhile, so nobody was missing."""
    state, _ = play(shared(OPENED), [entered(0)])
    state, told = play(shared(replace(OPENED, running=False), version=2), [wake(30), wake(3 * DAY_S)], state)
    assert told == []
    _, told = play(shared(OPENED, version=3), [wake(4 * DAY_S), tell(4 * DAY_S + 1, "sue")], state)
    assert kinds(told) == ["AskWriter", "OpeningSent", "SendMessage"]


def test_whoever_comes_again_is_written_to_behind_the_delay() -> None:
    """Somebody who had left before anybody wrote, and enters three days later: not at once, and not never."""
    left = fact(CohortLeft, 10, cohort="new", tag="t")
    state, told = play(shared(OPENED), [entered(0), left, wake(60), entered(3 * DAY_S), wake(3 * DAY_S + 59)])
    assert told == []
    _, told = play(shared(OPENED), [wake(3 * DAY_S + 60), tell(3 * DAY_S + 61, "sue")], state)
    assert kinds(told) == ["AskWriter", "OpeningSent", "SendMessage"]


def test_where_nobody_was_there_before_a_pause_it_is_asked_once_more() -> None:
    state, _ = play(shared(OPENED), [entered(0), wake(60), tell(61, "")])
    asked_at = 60 + ASK_FOR.total_seconds() + 5 * DAY_S
    state, told = play(shared(OPENED), [wake(asked_at), tell(asked_at, "")], state)
    assert kinds(told) == ["AskWriter", "OpeningsEnded"]
    assert isinstance(told[-1], OpeningsEnded)
    assert told[-1].why is OpeningsEnd.NOBODY
    assert ASK_EVERY < ASK_FOR
    assert state is not None
    assert state.next_at is None


# --- two campaigns at once --------------------------------------------------------------------------------------------------


def tell_of(at: float, campaign: str, writer: str) -> TellWriter:
    return replace(tell(at, writer), id=f"{campaign}{at}", campaign=campaign)


def test_one_streamer_writes_to_a_person_for_one_campaign_only() -> None:
    """Both ask at once, and the same one is drawn for both: the second is asked for anew, without her."""
    other = replace(OPENED, campaign="hello")
    common = shared(OPENED, other)
    state, told = play(common, [entered(0), wake(60)])
    assert kinds(told) == ["AskWriter", "AskWriter"]
    state, told = play(common, [tell_of(61, "greet", "sue"), tell_of(61, "hello", "sue")], state)
    assert kinds(told) == ["OpeningSent", "SendMessage", "AskWriter"]
    assert isinstance(told[-1], AskWriter)
    assert (told[-1].campaign, told[-1].avoid) == ("hello", ("sue",))
    state, told = play(common, [tell_of(62, "hello", "amy")], state)
    assert kinds(told) == ["OpeningSent", "SendMessage"]
    _, told = play(common, [wake(200)], state)
    assert [set(one.avoid) for one in told if isinstance(one, AskWriter)] == [{"sue", "amy"}] * 2


# --- bans -------------------------------------------------------------------------------------------------------------------


def test_nobody_writes_to_who_was_banned_before_they_entered() -> None:
    banned = fact(UserBanned, 0, reason="rude", by="root")
    state, told = play(shared(OPENED), [banned, entered(1), wake(61), wake(500)])
    assert told == []
    state, told = play(shared(OPENED), [fact(UserUnbanned, 600), wake(700), entered(800), wake(860)], state)
    assert kinds(told) == ["AskWriter"]
    assert state is not None
    assert not state.banned


def test_who_is_banned_is_no_writer_also_while_a_phone_is_there() -> None:
    steps = [entered(0, "hosts", SUE), fact(CameOnline, 1, user=SUE), fact(UserBanned, 2, user=SUE, reason="rude", by="root")]
    state, told = play(shared(OPENED), steps)
    assert [type(one) for one in told] == [OfferWriter, WithdrawWriter]
    state, told = play(shared(OPENED), [fact(CameOnline, 3, user=SUE)], state)
    assert told == []
    assert kinds(play(shared(OPENED), [fact(UserUnbanned, 4, user=SUE)], state)[1]) == ["OfferWriter"]


# --- paces ------------------------------------------------------------------------------------------------------------------


@given(st.floats(min_value=0, max_value=10_000, exclude_min=True), st.integers(0, 2**53), st.floats(0, 1e6))
def test_any_pace_gives_a_book_that_can_be_read_and_a_time_that_can_be_told(pace: float, people: int, at: float) -> None:
    """A pace of 5e-324 would take for ever: an endless span is no number of JSON, and the book would be lost with it."""
    (common,) = books(put(replace(TOLD, pace_per_s=pace), people=people))
    assert common.shared is not None
    assert state_decoder(CampaignBook)(encode(common.shared)) == common.shared
    assert 0 <= common.shared.campaigns[0].spread_s <= MAX_SPREAD_S
    assert 0 <= common.shared.campaigns[0].done_at(after(at)) <= 1
    state, told = play(common, [entered(at)])
    assert state is not None
    assert told or state.next_at is not None


def test_a_start_that_does_not_say_how_many_keeps_the_pace_of_the_draft() -> None:
    """A job of the timetable may start what staff has drafted: it cannot count."""
    draft = replace(TOLD, running=False)
    _, started = books(put(draft, people=1_000), put(TOLD, at=10, people=0))
    assert started.shared is not None
    assert started.shared.campaigns[0].spread_s == 100.0


def test_a_clock_that_steps_back_takes_nothing_of_a_pace_back() -> None:
    (running, paused) = books(put(TOLD, at=1_000), put(replace(TOLD, running=False), at=400))
    assert running.shared is not None
    assert running.shared.campaigns[0].done_at(after(0)) == 0.0
    assert paused.shared is not None
    assert paused.shared.campaigns[0].done == 0.0
    state, _ = play(running, [entered(0)])
    assert state is not None
    assert state.next_at is not None
    assert after(1_000) <= state.next_at <= after(1_000) + timedelta(seconds=10)


# --- openings that are not sent ---------------------------------------------------------------------------------------------


def refused(at: float, sender: str, why: ChatRefusal = ChatRefusal.RECEIVER_BLOCKS) -> MessageRefused:
    return MessageRefused(
        id=f"m{at}", at=after(at), cause="c", message="outreach-x", sender=UserId(sender), receiver=ANN, refusal=why,
        campaign="greet",
    )  # fmt: skip


def test_an_opening_that_is_not_sent_does_not_count_and_another_streamer_takes_its_place() -> None:
    """She was banned, or went to erase herself, between the drawing and the message."""
    one = replace(OPENED, each=1, per_day=1)
    state, told = play(shared(one), [entered(0), wake(60), tell(61, "sue")])
    assert kinds(told)[-2:] == ["OpeningSent", "SendMessage"]
    state, told = play(shared(one), [refused(61, "sue", ChatRefusal.SENDER_BANNED), wake(200)], state)
    assert kinds(told) == ["OpeningRefused", "AskWriter"]
    assert isinstance(told[1], AskWriter)
    assert told[1].avoid == ("sue",)
    state, told = play(shared(one), [tell(201, "amy"), wake(90_000)], state)
    assert [one.number for one in told if isinstance(one, OpeningSent)] == [1]
    assert state is not None
    assert state.next_at is None


def test_where_it_is_about_the_person_or_all_refuse_it_ends() -> None:
    state, _ = play(shared(OPENED), [entered(0), wake(60), tell(61, "sue")])
    _, told = play(shared(OPENED), [refused(61, "sue", ChatRefusal.RECEIVER_BANNED), wake(200)], state)
    assert kinds(told) == ["OpeningRefused", "OpeningsEnded"]
    at, asked = 200.0, 1
    for n in range(2 * MAX_TRIED):
        state, told = play(
            shared(OPENED), [refused(at - 139, f"u{n - 1}" if n else "sue"), wake(at), tell(at + 1, f"u{n}")], state
        )
        asked += len([one for one in told if isinstance(one, SendMessage)])
        at += 140
    assert asked == MAX_TRIED
    assert state is not None
    assert (len(state.courses[0].peers), state.courses[0].sent, state.next_at) == (MAX_TRIED, (), None)


@pytest.mark.parametrize("before", [[], [entered(10)], [entered(0), wake(60), tell(61, "amy")]])
def test_a_refusal_of_what_is_not_known_any_more_is_told_and_changes_nothing(before: list[Message]) -> None:
    state, _ = play(shared(OPENED), before)
    same, told = play(shared(OPENED), [refused(62, "sue")], state)
    assert kinds(told) == ["OpeningRefused"]
    assert (same.courses if same else ()) == (state.courses if state else ())


def test_a_reply_that_crosses_a_refusal_stays_the_end() -> None:
    state, _ = play(shared(OPENED), [entered(0), wake(60), tell(61, "sue"), wake(121), tell(122, "amy"), reply_to("sue", 123)])
    _, told = play(shared(OPENED), [refused(122, "amy"), wake(90_000)], state)
    assert kinds(told) == ["OpeningRefused"]
