"""Outreach, two campaigns beside each other that are put, paused and removed by chance, to one person: the laws of
`pipelines.recipient` hold, whatever comes, in whatever order, and whether or not the person was looked at in between."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.recipient import decide_recipient
from schemas.blocklist import BlockReason, UserBlocked
from schemas.chat_message import ChatRefusal, MessageRefused, SendMessage
from schemas.log.base import UserId
from schemas.log.codec import encode, state_decoder
from schemas.notification import SendNotice
from schemas.outreach import BOOK, AskWriter, CampaignBook, OpeningRefused, OpeningsEnded, Recipient, RemoveCampaign
from schemas.panel import CohortLeft
from schemas.user import UserBanned, UserErased, UserUnbanned
from tests.test_outreach import ANN, OPENED, TOLD, after, book_of, entered, fact, put, reply_to, tell, wake

CAMPAIGNS = {name: replace(OPENED, campaign=name, each=2, per_day=1) for name in ("greet", "hello")}
DAY = timedelta(days=1)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([
            *["answer"] * 8, *["wake"] * 3, *["enter"] * 3, *["run"] * 3, *["unban"] * 2, *["refuse"] * 2, "leave", "reply",
            "block", "ban", "erase", "pause", "remove", "other kind",
        ]),
        st.sampled_from(["greet", "hello"]), st.sampled_from(["sue", "amy", "eve", ""]),
        st.sampled_from((0, 61, 700, 90_000)), st.booleans(),
    ),
    min_size=20, max_size=60,
)  # fmt: skip


class Life:
    """One person, the book, and what came of it."""

    def __init__(self) -> None:
        self.book: CampaignBook | None = None
        self.state: Recipient | None = None
        self.at = 0.0
        self.inside = self.banned = False
        self.erased: float | None = None
        self.asked = dict.fromkeys(CAMPAIGNS, 0)
        self.sent: list[tuple[str, int, str, datetime]] = []
        self.closed: set[tuple[str, int]] = set()
        self.notices: list[str] = []
        self.names: set[str] = set()

    def begun(self, name: str) -> int | None:
        """The campaign of this name that is there, by when it began."""
        return next((one.begun for one in self.book.campaigns if one.campaign == name), None) if self.book else None

    def change(self, move: str, name: str) -> None:
        if move == "remove":
            message: Any = RemoveCampaign(id=f"r{self.at}", at=after(self.at), book=BOOK, campaign=name)
        else:
            kind = replace(TOLD, campaign=name) if move == "other kind" else CAMPAIGNS[name]
            message = put(replace(kind, running=move != "pause"), at=self.at)
        self.book, _ = book_of(self.book, message)

    def message(self, move: str, name: str, peer: str) -> Any:
        at = self.at
        match move:
            case "enter":
                return entered(at)
            case "leave":
                return fact(CohortLeft, at, cohort="new", tag="t")
            case "answer":
                return replace(tell(at, peer), campaign=name)
            case "refuse":
                return MessageRefused(
                    id=f"m{at}", at=after(at), cause="c", message="x", sender=UserId(peer or "ann"), receiver=ANN,
                    refusal=ChatRefusal.SENDER_BANNED, campaign=name,
                )  # fmt: skip
            case "reply":
                return reply_to(peer or "sue", at)
            case "block":
                return fact(UserBlocked, at, peer=peer or "sue", reason=BlockReason.SPAM)
            case "ban":
                return fact(UserBanned, at, reason="rude", by="root")
            case "unban":
                return fact(UserUnbanned, at)
            case "erase":
                return fact(UserErased, at, by="ann")
        return wake(at)

    def step(self, move: str, name: str, peer: str) -> None:
        """One message, and what has to be true of what was told."""
        message = self.message(move, name, peer)
        self.inside = move == "enter" or (self.inside and move != "leave")
        self.banned = move == "ban" or (self.banned and move != "unban")
        if move == "erase" and self.erased is None:
            self.erased = self.at
        if move in ("reply", "block"):
            self.closed |= {(one, begun) for one, begun, writer, _ in self.sent if writer == (peer or "sue")}
        if move == "refuse":
            found = next((one for one in reversed(self.sent) if one[:3] == (name, self.begun(name), peer)), None)
            self.sent = [one for one in self.sent if one is not found]
        common = Recipient(shared=self.book) if self.book else None
        self.state, told = decide_recipient(self.state, message, common)
        assert self.state is None or state_decoder(Recipient)(encode(self.state)) == self.state
        for one in told:
            if isinstance(one, SendMessage):
                self.check_opening(one)
            elif isinstance(one, SendNotice):
                self.notices.append(one.notice)
            if isinstance(one, SendMessage | SendNotice | AskWriter):
                assert self.inside
                assert self.erased is None
            assert self.erased is None or not isinstance(one, OpeningsEnded | OpeningRefused)

    def check_opening(self, one: SendMessage) -> None:
        begun = self.begun(one.campaign)
        assert begun is not None
        assert not self.banned
        assert (one.campaign, begun) not in self.closed
        assert one.message not in self.names, "the chat would take it for another one"
        self.names.add(one.message)
        there = [(name, self.begun(name)) for name in CAMPAIGNS]
        assert one.sender not in [writer for name, version, writer, _ in self.sent if (name, version) in there]
        self.sent.append((one.campaign, begun, one.sender, one.at))
        of_it = [at for name, version, _, at in self.sent if (name, version) == (one.campaign, begun)]
        assert len(of_it) <= CAMPAIGNS[one.campaign].each
        assert all(later - earlier >= DAY for earlier, later in pairwise(of_it))


@given(STEPS)
def test_the_laws_of_outreach_hold_whatever_comes(steps: list[tuple[str, str, str, int, bool]]) -> None:
    life = Life()
    life.change("run", "greet")
    life.change("run", "hello")
    life.step("enter", "greet", "")
    for move, name, peer, pause, looks in steps:
        life.at += pause
        if life.erased is not None and life.at >= life.erased + 86_400:
            break  # Nothing comes of who was erased any more, and the mark goes.
        if move in ("run", "pause", "remove", "other kind"):
            life.change(move, name)
            if not looks:
                continue
        life.step(move, name, peer)
        life.step("wake", name, peer)
    assert len(life.notices) == len(set(life.notices)), "a notice is told once"
