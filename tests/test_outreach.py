"""Outreach: campaigns that write to the members of a cohort, once each, at their pace, and no longer than they are wanted."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.outreach import decide_outreach, decide_outreach_writers
from pipelines.recipient import decide_recipient, language_of, place_of
from schemas.blocklist import BlockReason, UserBlocked
from schemas.chat import ItemPosted
from schemas.chat_message import SendMessage
from schemas.log.base import Message, UserId, Wake
from schemas.notification import SendNotice
from schemas.notification_state import NoticeText
from schemas.outreach import (
    ASK_EVERY,
    ASK_FOR,
    BOOK,
    MAX_CAMPAIGNS,
    MAX_THERE,
    AskWriter,
    Campaign,
    CampaignBook,
    CampaignPut,
    CampaignTold,
    OfferWriter,
    OpeningsEnd,
    OpeningsEnded,
    OpeningSent,
    OpeningText,
    OutreachRefusal,
    OutreachRefused,
    PutCampaign,
    Recipient,
    RemoveCampaign,
    ShareOutreach,
    TellWriter,
    WithdrawWriter,
    Writers,
)
from schemas.pair import pair_of
from schemas.panel import CohortEntered, CohortLeft
from schemas.user import CameOnline, Role, UserBanned, UserErased, UserSignedUp, WentOffline
from tests.decisions import decisions_of

T = datetime(2030, 1, 1, tzinfo=UTC)
ANN, SUE, AMY, EVE = (UserId(name) for name in ("ann", "sue", "amy", "eve"))
NOTICE = (NoticeText("en", "Welcome", "Say hello."), NoticeText("de", "Hallo", "Sag hallo."))
OPENING = (OpeningText("en", "hello"), OpeningText("de", "hallo"))
TOLD = Campaign("news", "new", running=True, notice=NOTICE)
OPENED = Campaign("greet", "new", running=True, opening=OPENING, writers="hosts", delay_s=60, each=2, per_day=2)
book_of = decisions_of(decide_outreach)
writers_of = decisions_of(decide_outreach_writers)


def after(seconds: float) -> datetime:
    return T + timedelta(seconds=seconds)


def put(campaign: Campaign, at: float = 0, people: int = 100) -> PutCampaign:
    return PutCampaign(id=f"p{at}", at=after(at), book=BOOK, campaign=campaign, people=people, by="root")


def shared(*campaigns: Campaign, version: int = 1) -> Recipient:
    paced = tuple(replace(one, since=one.since or T) for one in campaigns)
    return Recipient(shared=CampaignBook(version, paced))


def fact(kind: type[Any], at: float, **fields: Any) -> Any:
    return kind(**({"id": f"{kind.__name__}{at}", "at": after(at), "cause": "c", "user": ANN} | fields))


def entered(at: float, cohort: str = "new", user: UserId = ANN) -> Message:
    return fact(CohortEntered, at, cohort=cohort, tag="t", user=user)  # type: ignore[no-any-return]


def wake(at: float, user: str = "ann") -> Wake:
    return Wake(id=f"w{at}", at=after(at), key=user)


def tell(at: float, writer: str) -> TellWriter:
    return TellWriter(id=f"t{at}", at=after(at), user=ANN, campaign="greet", writer=writer)


def play(
    common: Recipient, messages: Iterable[Message], state: Recipient | None = None
) -> tuple[Recipient | None, list[Message]]:
    told: list[Message] = []
    for message in messages:
        state, more = decide_recipient(state, message, common)  # type: ignore[arg-type]
        told += more
    return state, told


def kinds(told: Sequence[Message]) -> list[str]:
    return [type(one).__name__ for one in told]


# --- the book ---------------------------------------------------------------------------------------------------------------


def test_the_book_keeps_campaigns_by_version_and_tells_every_partition() -> None:
    book, (first, *shares) = book_of(None, put(TOLD))
    assert (type(first), first.version, book.version) == (CampaignPut, 1, 1)
    assert {type(one) for one in shares} == {ShareOutreach}
    assert book.campaigns[0].spread_s == 10.0, "a hundred people at ten a second"
    book, (removed, *_) = book_of(book, RemoveCampaign(id="r", at=T, book=BOOK, campaign="news"))
    assert (removed.version, book.campaigns) == (2, ())


@pytest.mark.parametrize(
    ("before", "message", "refusal"),
    [
        ((), RemoveCampaign(id="r", at=T, book=BOOK, campaign="news"), OutreachRefusal.CAMPAIGN_UNKNOWN),
        ([replace(TOLD, campaign=f"c{n}") for n in range(MAX_CAMPAIGNS)], put(TOLD), OutreachRefusal.TOO_MANY_CAMPAIGNS),
        (
            [replace(OPENED, campaign=f"c{n}", opening=(OpeningText("en", "я" * 500),) * 8) for n in range(15)],
            put(replace(OPENED, opening=(OpeningText("en", "я" * 500),) * 8)),
            OutreachRefusal.CAMPAIGNS_TOO_LONG,
        ),
    ],
)
def test_each_refusal_of_the_book(before: Sequence[Campaign], message: Any, refusal: OutreachRefusal) -> None:
    book = CampaignBook(3, tuple(before))
    same, (refused,) = book_of(book, message)
    assert (same, type(refused), refused.refusal) == (book, OutreachRefused, refusal)


def test_what_is_paused_goes_on_where_it_was_and_another_pace_is_for_the_rest() -> None:
    book, _ = book_of(None, put(TOLD))
    book, _ = book_of(book, put(replace(TOLD, running=False), at=5))
    assert (book.campaigns[0].done, book.campaigns[0].since) == (0.5, None)
    book, _ = book_of(book, put(replace(TOLD, pace_per_s=1.0), at=500))
    assert (book.campaigns[0].done, book.campaigns[0].spread_s) == (0.5, 100.0)
    assert book.campaigns[0].done_at(after(525)) == 0.75


# --- who writes -------------------------------------------------------------------------------------------------------------


def ask(user: str, *avoid: str) -> AskWriter:
    return AskWriter(id=f"a-{user}-{len(avoid)}", at=T, campaign="greet", user=UserId(user), avoid=avoid)


def test_writers_take_turns_and_nobody_writes_twice_or_to_themselves() -> None:
    writers = Writers(("sue", "amy"))
    found = []
    for one in (ask("ann"), ask("bob"), ask("ann", "sue"), ask("ann", "sue", "amy"), ask("sue")):
        writers, (told,) = writers_of(writers, one)
        found.append(told.writer)
    assert found == ["sue", "amy", "amy", "", "amy"]
    assert writers_of(None, ask("ann"))[1][0].writer == ""


def test_who_may_write_is_remembered_once_and_not_without_bound() -> None:
    writers: Writers | None = None
    for n in range(MAX_THERE + 5):
        writers, _ = writers_of(writers, OfferWriter(id=f"o{n}", at=T, campaign="greet", user=UserId(f"u{n}")))
    assert writers is not None
    assert (len(writers.there), writers.there[0], writers.there[-1]) == (MAX_THERE, "u5", f"u{MAX_THERE + 4}")
    again, _ = writers_of(writers, OfferWriter(id="x", at=T, campaign="greet", user=UserId("u9")))
    assert again.there.count("u9") == 1
    last, _ = writers_of(Writers(("sue",)), WithdrawWriter(id="w", at=T, campaign="greet", user=SUE))
    assert last is None


# --- notices ----------------------------------------------------------------------------------------------------------------


def test_a_notice_is_told_once_when_the_pace_comes_there() -> None:
    common = shared(replace(TOLD, spread_s=1_000.0))
    state, told = play(common, [entered(0)])
    due_at = after(place_of("ann", "news") * 1_000)
    assert (told, state.next_at if state else None) == ([], due_at)
    seconds = (due_at - T).total_seconds()
    state, told = play(
        common, [wake(seconds), wake(seconds + 1), fact(CohortLeft, 5_000, cohort="new", tag="t"), entered(6_000)], state
    )
    assert kinds(told) == ["CampaignTold", "SendNotice"]
    assert isinstance(told[1], SendNotice)
    assert (told[1].notice, told[1].texts) == ("outreach/news/0", NOTICE)
    assert state is not None
    assert state.next_at is None


@pytest.mark.parametrize(
    ("common", "messages"),
    [
        (shared(replace(TOLD, running=False)), [entered(0)]),
        (shared(TOLD), [entered(0, "others")]),
        (shared(replace(TOLD, spread_s=1e9)), [entered(0), fact(CohortLeft, 5, cohort="new", tag="t"), wake(1e9)]),
        (Recipient(shared=CampaignBook(1)), [entered(0)]),
        (shared(TOLD), [fact(UserErased, 0, by="ann"), entered(1), wake(2)]),
    ],
    ids=["paused", "another cohort", "left", "no campaign", "erased"],
)
def test_who_is_told_nothing(common: Recipient, messages: list[Message]) -> None:
    assert not [one for one in play(common, messages)[1] if isinstance(one, SendNotice | CampaignTold)]


def test_who_was_there_before_is_told_when_the_campaign_begins() -> None:
    state, _ = play(Recipient(shared=CampaignBook(1)), [entered(0)])
    assert state is not None
    common = shared(TOLD, version=2)
    assert state.behind(common)
    after_, told = play(common, [wake(5)], state)
    assert kinds(told) == ["CampaignTold", "SendNotice"]
    assert after_ is not None
    assert not after_.behind(common)


# --- openings ---------------------------------------------------------------------------------------------------------------


def test_streamers_write_to_who_enters_each_once_in_the_persons_language() -> None:
    signed_up = fact(UserSignedUp, 0, role=Role.USER, locale="de-AT")
    messages = [signed_up, entered(0), wake(60), tell(61, "sue"), wake(121), tell(122, "amy"), wake(1_000), wake(90_000)]
    state, told = play(shared(OPENED), messages)
    sends = [one for one in told if isinstance(one, SendMessage)]
    asks = [one for one in told if isinstance(one, AskWriter)]
    assert [(one.sender, one.receiver, one.text, one.campaign) for one in sends] == [
        ("sue", "ann", "hallo", "greet"), ("amy", "ann", "hallo", "greet"),
    ]  # fmt: skip
    assert [one.avoid for one in asks] == [(), ("sue",)]
    assert [(one.peer, one.number) for one in told if isinstance(one, OpeningSent)] == [("sue", 1), ("amy", 2)]
    assert state is not None
    assert (state.courses[0].over, state.next_at) == (True, None)


def test_an_opening_begins_for_who_enters_only() -> None:
    state, _ = play(Recipient(shared=CampaignBook(1)), [entered(0)])
    assert play(shared(OPENED, version=2), [wake(5), wake(100)], state)[1] == []


def reply_to(peer: str, at: float, campaign: str = "") -> ItemPosted:
    return ItemPosted(
        id=f"i{at}", at=after(at), cause="c", pair=pair_of("ann", peer), user=ANN, peer=UserId(peer), seq=2, campaign=campaign
    )  # fmt: skip


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (reply_to("sue", 70), OpeningsEnd.REPLIED),
        (fact(UserBlocked, 70, peer=SUE, reason=BlockReason.SPAM), OpeningsEnd.BLOCKED),
        (fact(UserBanned, 70, reason="rude", by="root"), OpeningsEnd.BANNED),
        (reply_to("eve", 70), None),
        (fact(UserBlocked, 70, peer=EVE, reason=BlockReason.SPAM), None),
    ],
)
def test_it_stops_at_a_reply_a_block_or_a_ban(message: Message, why: OpeningsEnd | None) -> None:
    _, told = play(shared(OPENED), [entered(0), wake(60), tell(61, "sue"), message, message, wake(121), tell(122, "amy")])
    ends = [one.why for one in told if isinstance(one, OpeningsEnded)]
    assert ends == ([why] if why else [])
    assert len([one for one in told if isinstance(one, SendMessage)]) == (1 if why else 2)


def test_where_nobody_is_there_it_asks_again_for_a_day() -> None:
    messages: list[Message] = [entered(0)]
    at = 60.0
    while at <= 60 + ASK_FOR.total_seconds():
        messages += [wake(at), tell(at + 1, "")]
        at += ASK_EVERY.total_seconds() + 1
    state, told = play(shared(OPENED), [*messages, wake(at), tell(at, "")])
    assert {type(one) for one in told} == {AskWriter, OpeningsEnded}
    assert told[-1].why is OpeningsEnd.NOBODY  # type: ignore[attr-defined]
    assert state is not None
    assert state.next_at is None


def test_no_more_within_a_day_than_the_campaign_says() -> None:
    one = replace(OPENED, each=3, per_day=1)
    state, told = play(shared(one), [entered(0), wake(60), tell(61, "sue"), wake(121), wake(86_460)])
    assert len([one for one in told if isinstance(one, AskWriter)]) == 1
    _, told = play(shared(one), [wake(86_461)], state)
    assert kinds(told) == ["AskWriter"]


def test_what_comes_while_the_campaign_stands_still_waits_for_it() -> None:
    state, _ = play(shared(OPENED), [entered(0), wake(60)])
    paused = shared(replace(OPENED, running=False), version=2)
    state, told = play(paused, [tell(61, "sue"), wake(62)], state)
    assert told == []
    _, told = play(shared(OPENED, version=3), [wake(100)], state)
    assert kinds(told) == ["AskWriter"]


def test_who_is_online_and_in_the_writers_cohort_is_offered_and_nobody_else() -> None:
    steps = [
        (entered(0, "hosts", SUE), []),
        (fact(CameOnline, 1, user=SUE), ["OfferWriter"]),
        (fact(CameOnline, 2, user=SUE), []),
        (fact(WentOffline, 3, user=SUE, online_s=1.0), ["WithdrawWriter"]),
        (fact(CameOnline, 4, user=SUE), ["OfferWriter"]),
        (fact(CohortLeft, 5, user=SUE, cohort="hosts", tag="t"), ["WithdrawWriter"]),
        (entered(6, "hosts", SUE), ["OfferWriter"]),
        (fact(UserErased, 7, user=SUE, by="sue"), ["WithdrawWriter"]),
        (fact(CameOnline, 8, user=SUE), []),
    ]
    state: Recipient | None = None
    for message, due in steps:
        state, told = play(shared(OPENED), [message], state)
        assert kinds(told) == due, message
    state, told = play(shared(OPENED), [wake(7 + 86_400, "sue")], state)
    assert state is None


@pytest.mark.parametrize(
    ("locale", "language"), [("de-AT", "de"), ("pt_BR", "pt"), ("", ""), ("x" * 40, ""), ("日本", ""), ("EN", "en"), ("-", "")]
)
def test_a_language_of_a_locale(locale: str, language: str) -> None:
    assert language_of(locale) == language


# --- laws -------------------------------------------------------------------------------------------------------------------

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["enter", "leave", "wake", "sue", "amy", "eve", "nobody", "reply", "block", "pause", "run", "remove"]),
        st.integers(0, 50_000),
    ),
    max_size=40,
)


@given(MOVES, st.integers(1, 3), st.integers(1, 3))
def test_the_laws_of_openings_hold_whatever_comes(moves: list[tuple[str, int]], each: int, per_day: int) -> None:
    """None twice of a writer, no more than there may be, none behind a reply or a block, none outside the cohort or a pause."""
    campaign = replace(OPENED, each=each, per_day=per_day)
    common, version, at = shared(campaign), 1, 0
    state: Recipient | None = None
    sent: list[tuple[int, str]] = []
    inside, closed = False, False
    for move, pause in moves:
        at += pause
        running = bool(common.shared and common.shared.campaigns and common.shared.campaigns[0].running)
        if move in ("pause", "run", "remove"):
            version += 1
            left = () if move == "remove" else (replace(campaign, running=move == "run"),)
            common = shared(*left, version=version)
            if move == "remove":
                sent, closed = [], False
            running = move == "run"
            message: Any = wake(at)
        else:
            message = {
                "enter": entered(at), "leave": fact(CohortLeft, at, cohort="new", tag="t"), "wake": wake(at),
                "reply": reply_to("sue", at), "block": fact(UserBlocked, at, peer=SUE, reason=BlockReason.SPAM),
            }.get(move) or tell(at, "" if move == "nobody" else move)  # fmt: skip
        inside = move == "enter" or (inside and move != "leave")
        state, told = play(common, [message], state)
        for one in told:
            if isinstance(one, SendMessage):
                assert running
                assert inside
                assert not closed
                sent.append((at, one.sender))
        closed = closed or (move in ("reply", "block") and "sue" in [peer for _, peer in sent])
        assert len({peer for _, peer in sent}) == len(sent) <= each
        assert all(len([n for n, _ in sent if first <= n < first + 86_400]) <= per_day for first, _ in sent)


def test_a_pace_comes_to_people_evenly() -> None:
    places = sorted(place_of(f"user-{n}", "news") for n in range(1_000))
    assert 0 <= places[0] <= places[-1] < 1
    assert all(60 < sum(n / 10 <= place < (n + 1) / 10 for place in places) < 140 for n in range(10))
