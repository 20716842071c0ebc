"""Recipients, keyed by user: whom campaigns are for, and what comes next of each.

State: `schemas.outreach.Recipient`. Laws: a campaign's notice is sent to a person once, and only while it runs and they are in
its cohort; of a campaign's openings a person gets at most `each`, at most `per_day` within a day, none twice of the same
writer or of one who has written to them for another campaign, none but while it runs and they are in its cohort, and none
behind a reply to one of them, a block of one of them, or a ban; a user who is online, not banned and in the cohort of a
running campaign's writers is offered to it, and nobody else is.
A notice's pace needs no list: each person has a place between 0 and 1 by the digest of both names, and is due when the
campaign has come there.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zlib import crc32

from msgspec.structs import replace

from schemas.blocklist import UserBlocked
from schemas.chat import ItemPosted
from schemas.chat_message import ChatRefusal, MessageRefused, SendMessage
from schemas.log.base import LAST, Message, UserId, Wake, derive, later, reply
from schemas.notification import SendNotice
from schemas.notification_state import digest_of
from schemas.outreach import (
    ASK_EVERY,
    ASK_FOR,
    DAY,
    MAX_TRIED,
    AskWriter,
    Campaign,
    CampaignBook,
    CampaignTold,
    Course,
    OfferWriter,
    OpeningRefused,
    OpeningsEnd,
    OpeningsEnded,
    OpeningSent,
    Recipient,
    RecipientInbox,
    ShareOutreach,
    TellWriter,
    WithdrawWriter,
)
from schemas.panel import CohortEntered, CohortLeft
from schemas.user import CameOnline, UserBanned, UserErased, UserSignedUp, UserUnbanned, WentOffline

Decision = tuple[Recipient | None, Sequence[Message]]

NOTHING: Final = Recipient()
NO_CAMPAIGNS: Final = CampaignBook()
LANGUAGE_LETTERS: Final = 16


def decide_recipient(state: Recipient | None, message: RecipientInbox, common: Recipient | None = None) -> Decision:
    """Decide one message of a user's inbox, under the book that the partition was told."""
    before = state or NOTHING
    if isinstance(message, ShareOutreach):
        older = before.shared is not None and before.shared.version >= message.shared.version
        return (state if older else Recipient(shared=message.shared)), ()
    if before.shared is not None:
        return state, ()
    if isinstance(message, UserErased):
        return Recipient(erased_at=message.at), _withdrawals(before, message)
    if before.erased_at is not None:
        return (None if isinstance(message, Wake) and before.is_due(message.at) else state), ()
    book = common.shared if common is not None and common.shared is not None else NO_CAMPAIGNS
    if isinstance(message, Wake) and not (before.is_due(message.at) or before.version != book.version):
        return state, ()
    turn = _Turn(before, message, book)
    turn.look()
    return (None if turn.state == NOTHING else turn.state), turn.messages


def _withdrawals(state: Recipient, message: UserErased) -> list[Message]:
    return [
        WithdrawWriter(**derive(message, f"withdraw/{name}"), campaign=name, user=message.user) for name in state.offered
    ]  # fmt: skip


def language_of(locale: str) -> str:
    """The language of a locale, such as `de` of `de-AT`; empty where it is none."""
    language = locale.replace("_", "-").partition("-")[0].lower()
    return language if language.isascii() and language.isalnum() and len(language) <= LANGUAGE_LETTERS else ""


def user_of(message: Any) -> UserId:
    """Whose decision it is."""
    match message:
        case Wake(key=user) | MessageRefused(receiver=user):
            return UserId(user)
    return UserId(message.user)


def is_opening(one: Campaign) -> bool:
    """Whether streamers write; what has both is a notice, and what has neither is nothing."""
    return bool(one.opening) and not one.notice


def place_of(user: str, campaign: str) -> float:
    """A person's place in a campaign: evenly between 0 and 1."""
    return crc32(f"{campaign}\n{user}".encode()) / 2**32


class _Turn:
    """One decision: the state as it grows, and what is told."""

    def __init__(self, state: Recipient, message: Any, book: CampaignBook) -> None:
        self.state, self.message, self.book = state, message, book
        self.at: datetime = message.at
        self.user = user_of(message)
        self.messages: list[Message] = []
        self.courses = {one.campaign: one for one in state.courses}

    def look(self) -> None:
        """What the message changes; then what is due, and what may be offered."""
        campaigns = {one.campaign: one for one in self.book.campaigns}
        self.courses = {
            name: one for name, one in self.courses.items() if name in campaigns and campaigns[name].begun == one.begun
        }  # fmt: skip
        self._hear()
        for one in self.book.campaigns:
            self._notice(one) if one.notice else self._opening(one)
        self._offer()
        due = [self._next(campaigns[name], course) for name, course in self.courses.items()]
        self.state = replace(
            self.state, courses=tuple(self.courses.values()), version=self.book.version,
            next_at=min((at for at in due if at is not None), default=None),
        )  # fmt: skip
        if self.state == replace(NOTHING, version=self.state.version):
            self.state = NOTHING

    def _hear(self) -> None:
        match self.message:
            case CohortEntered(cohort=cohort):
                others = tuple(one for one in self.state.cohorts if one != cohort)
                self.state = replace(self.state, cohorts=(*others, cohort))
                self._entered(cohort)
            case CohortLeft(cohort=cohort):
                self.state = replace(self.state, cohorts=tuple(one for one in self.state.cohorts if one != cohort))
            case UserSignedUp(locale=locale):
                self.state = replace(self.state, language=language_of(locale))
            case CameOnline() | WentOffline():
                self.state = replace(self.state, online=isinstance(self.message, CameOnline))
            case ItemPosted(peer=peer):
                self._end(OpeningsEnd.REPLIED, peer)
            case UserBlocked(peer=peer):
                self._end(OpeningsEnd.BLOCKED, peer)
            case UserBanned():
                self.state = replace(self.state, banned=True)
                self._end(OpeningsEnd.BANNED)
            case UserUnbanned():
                self.state = replace(self.state, banned=False)
            case MessageRefused():
                self._refused(self.message)
            case TellWriter():
                self._told(self.message)

    def _next(self, campaign: Campaign, course: Course) -> datetime | None:
        """When a course wants to be looked at again; nothing comes of a campaign that stands still, or is for others."""
        runs = campaign.running and campaign.cohort in self.state.cohorts
        return course.due_at if runs and not course.over and not course.asked else None

    # --- notices ------------------------------------------------------------------------------------------------------------

    def _notice(self, one: Campaign) -> None:
        course = self.courses.get(one.campaign) or Course(one.campaign, begun=one.begun)
        if course.over or not one.running or one.cohort not in self.state.cohorts:
            return
        due_at = self._due(one)
        if due_at > self.at:
            self.courses[one.campaign] = replace(course, due_at=due_at)
            return
        self.courses[one.campaign] = Course(one.campaign, over=True, begun=one.begun)
        notice = SendNotice(
            **derive(self.message, f"notice/{one.campaign}"), user=self.user, texts=one.notice,
            notice=f"outreach/{one.campaign}/{one.begun}",
        )  # fmt: skip
        self.messages += [
            CampaignTold(**reply(self.message, f"told/{one.campaign}"), user=self.user, campaign=one.campaign), notice,
        ]  # fmt: skip

    def _due(self, one: Campaign) -> datetime:
        """When the campaign's pace comes to this person."""
        ahead = place_of(self.user, one.campaign) - one.done
        return later(one.since or LAST, timedelta(seconds=max(0.0, ahead * one.spread_s)))

    # --- openings -----------------------------------------------------------------------------------------------------------

    def _entered(self, cohort: str) -> None:
        """Openings are for who enters, not for who was there before. Who was out meanwhile is not found at once, either."""
        for one in self.book.campaigns:
            course = self.courses.get(one.campaign) or Course(one.campaign, begun=one.begun)
            if is_opening(one) and one.running and one.cohort == cohort and not course.over and not self.state.banned:
                due_at = later(self.at, timedelta(seconds=one.delay_s))
                self.courses[one.campaign] = replace(course, due_at=max(due_at, course.due_at or due_at), until=None)

    def _opening(self, one: Campaign) -> None:
        course = self.courses.get(one.campaign)
        if course is None or (due_at := self._next(one, course)) is None or due_at > self.at:
            return
        self.courses[one.campaign] = replace(course, asked=True, until=course.until or later(self.at, ASK_FOR))
        self.messages.append(
            AskWriter(
                **derive(self.message, f"ask/{one.campaign}/{len(course.peers)}"), campaign=one.campaign, user=self.user,
                avoid=self._known(course),
            )
        )  # fmt: skip

    def _known(self, course: Course) -> tuple[str, ...]:
        """Whoever has written for any campaign, those of this one first."""
        return tuple(dict.fromkeys(peer for one in (course, *self.courses.values()) for peer in one.peers))

    def _told(self, message: TellWriter) -> None:
        course = self.courses.get(message.campaign)
        one = next((one for one in self.book.campaigns if one.campaign == message.campaign), None)
        if course is None or one is None or not course.asked:
            return
        course = replace(course, asked=False)
        wanted = is_opening(one) and one.running and one.cohort in self.state.cohorts and not course.over
        self.courses[message.campaign] = course
        if not wanted or message.writer in self._known(course) or message.writer == self.user:
            return
        if not message.writer and course.until is not None and self.at >= course.until:
            self._over(course, OpeningsEnd.NOBODY)
            return
        if not message.writer:
            self.courses[message.campaign] = replace(course, due_at=later(self.at, ASK_EVERY))
            return
        self._send(one, course, UserId(message.writer))

    def _send(self, one: Campaign, course: Course, writer: UserId) -> None:
        """One opening, and when the next one comes."""
        digest = digest_of(f"{one.campaign}\n{one.begun}\n{writer}\n{self.user}")
        name = f"outreach-{digest}"
        text = next((text for text in one.opening if text.language == self.state.language), one.opening[0]).text
        peers, sent = (*course.peers, writer), (*course.sent, self.at)
        self.messages += [
            OpeningSent(
                **reply(self.message, f"sent/{one.campaign}"), user=self.user, campaign=one.campaign, peer=writer, message=name,
                number=len(sent),
            ),
            SendMessage(
                **derive(self.message, f"send/{one.campaign}"), message=name, sender=writer, receiver=self.user, text=text,
                campaign=one.campaign,
            ),
        ]  # fmt: skip
        over = len(sent) >= one.each or len(peers) >= MAX_TRIED
        self.courses[one.campaign] = replace(
            course, peers=peers, sent=sent, due_at=self._next_at(one, sent), until=None, over=over
        )  # fmt: skip

    def _next_at(self, one: Campaign, sent: Sequence[datetime]) -> datetime:
        """When the next opening comes, behind those that were sent."""
        due_at = later(self.at, timedelta(seconds=max(one.delay_s, 1)))
        return max(due_at, later(sent[-one.per_day], DAY)) if len(sent) >= one.per_day else due_at

    def _refused(self, message: MessageRefused) -> None:
        """An opening was not sent: another streamer's takes its place, unless it is about the person, or they have ended."""
        refused = OpeningRefused(
            **reply(message, f"refused/{message.campaign}"), user=self.user, campaign=message.campaign, peer=message.sender,
            message=message.message, why=message.refusal,
        )  # fmt: skip
        self.messages.append(refused)
        course = self.courses.get(message.campaign)
        one = next((one for one in self.book.campaigns if one.campaign == message.campaign and is_opening(one)), None)
        if course is None or one is None or course.due_at is None or message.sender not in course.peers:
            return
        place = course.sent.index(message.at) if message.at in course.sent else 0
        sent = course.sent[:place] + course.sent[place + 1 :]
        course = replace(course, sent=sent, over=len(sent) >= one.each, due_at=self._next_at(one, sent))
        if message.refusal is ChatRefusal.RECEIVER_BANNED:
            self._over(course, OpeningsEnd.BANNED)
        elif len(course.peers) >= MAX_TRIED and not course.over:
            self._over(course, OpeningsEnd.NOBODY)
        else:
            self.courses[one.campaign] = course

    def _end(self, why: OpeningsEnd, peer: str = "") -> None:
        """Nobody writes any more: for the campaigns of this peer, or for all."""
        openings = {one.campaign for one in self.book.campaigns if is_opening(one)}
        for course in list(self.courses.values()):
            if course.campaign not in openings or (peer and peer not in course.peers):
                continue
            if not course.over:
                self._over(course, why)
            # Of the last one it may still come back that it was not sent; nobody else's takes its place then.
            self.courses[course.campaign] = replace(self.courses[course.campaign], due_at=None)

    def _over(self, course: Course, why: OpeningsEnd) -> None:
        self.courses[course.campaign] = replace(course, over=True, asked=False, due_at=None, until=None)
        fact = OpeningsEnded(
            **reply(self.message, f"end/{course.campaign}"), user=self.user, campaign=course.campaign, why=why
        )  # fmt: skip
        self.messages.append(fact)

    def _offer(self) -> None:
        """Who may write for a campaign is told to it, and who may not any more."""
        mine = self.state.cohorts if self.state.online and not self.state.banned else ()
        wanted = tuple(one.campaign for one in self.book.campaigns if is_opening(one) and one.running and one.writers in mine)
        for name in wanted:
            if name not in self.state.offered:
                self.messages.append(OfferWriter(**derive(self.message, f"offer/{name}"), campaign=name, user=self.user))
        for name in self.state.offered:
            if name not in wanted:
                self.messages.append(
                    WithdrawWriter(**derive(self.message, f"withdraw/{name}"), campaign=name, user=self.user)
                )  # fmt: skip
        self.state = replace(self.state, offered=wanted)
