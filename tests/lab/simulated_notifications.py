"""Notifications in the simulator: two people's phones come, go, log out and acknowledge; messages, calls, notices, reads, mutes
and preferences; vendors that fail, doubt, call tokens dead and are late; crashes, lost commits, repeats.

Laws: the log is the fold of its inboxes; one occurrence a person and cause; a push is decided once, with a reason that is true,
and behind no acknowledgement, reading or withdrawal; none in quiet hours, and none for a call that is over; what was due is
pushed, or a fact says why not; the badge is a recount, and agrees with the chats; no phone takes an occurrence twice; a dead
token is pushed nothing until it is registered again.

`python -m tests.lab.simulated_notifications 2000` plays so many seeds and prints the counts.
"""

import random
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.flows.deciders import decider_of
from pipelines.runtime.core import Output, Written
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step
from schemas.billing_rules import CallKind
from schemas.chat import CHAT, Chat, HideItem, MuteChat, PostMessage, ReadChat, side_of
from schemas.log import topics
from schemas.log.base import FIRST, Message, UserId, Wake
from schemas.log.codec import decoder_of, encode, state_decoder
from schemas.log.entity import DEFAULT_PARTITIONS, partition_of
from schemas.notification import (
    NOTIFICATION,
    AckNotification,
    KeepPhone,
    NotificationAcked,
    NotificationRead,
    NotificationWithdrawn,
    Notified,
    PushDecided,
    PushForgone,
    PutNotificationPreferences,
    SendNotice,
)
from schemas.notification_kinds import MANNERS, NotificationKind
from schemas.notification_quiet import QuietHours
from schemas.notification_state import NoticeText, Notifications, PushReason, occurrence_of
from schemas.outbox import OUTBOX, AttemptOutcome, EffectDue, OweEffect, ReportAttempt
from schemas.pair import pair_of
from schemas.push import ANY_PROVIDER, PushFailure, PushTokenDead, token_mark
from schemas.user import USER, CameOnline, CloseSession, OpenSession, Role, SignUp, WentOffline
from schemas.video import CallConnected, CallEnded, CallRinging, EndReason
from schemas.wall import Offset
from tests.lab.simulated_growth import unfolded
from tests.lab.simulated_money import report

SENDS = 40
PEOPLE = (UserId("ann"), UserId("sue"))
DECIDERS = tuple(map(decider_of, (NOTIFICATION, OUTBOX, USER, CHAT)))
# The wall of this zone never changes: what is quiet is seen without our own code.
QUIET = QuietHours(22 * 60, 7 * 60, "UTC", (Offset(FIRST, 0),))
# Whoever reads a topic gives tuples that end with key and value.
Read = Callable[[str], Iterable[Any]]
LATER_S = (0, 0, 0, 1, 5, 40)


def records_of(message: Message) -> Iterator[Output]:
    """The records that the log would have of a message, in the inboxes that are played here."""
    heard = {decider.entity.inbox for decider in DECIDERS}
    for route in topics.routes()[type(message)]:
        if route.topic in heard and (key := route.key(message).encode()):
            yield Output(route.topic, partition_of(key, route.partitions), key, encode(message))


class Vendors(Log):
    """A log with a dispatch and its vendors: each attempt is reported later, some twice. `taken`: what phones were pushed."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: Counter[str] = Counter()
        self.late: list[str] = []
        self._chance = random.Random(7)
        self._decode = decoder_of(OUTBOX.facts)
        self._waits: list[tuple[datetime, EffectDue]] = []
        self._made: dict[tuple[str, int], ReportAttempt] = {}

    def commit(self, outputs: Sequence[Written]) -> None:
        """One transaction, and behind it the reports whose time has come."""
        super().commit(outputs)
        for topic, _, _, value in outputs:
            if topic == OUTBOX.events and isinstance(due := self._decode(value or b""), EffectDue):
                times = 2 if self._chance.random() < 0.1 else 1
                self._waits += [(self.time + timedelta(seconds=self._chance.choice(LATER_S)), due)] * times
        self._answer()

    def pass_to(self, time: datetime) -> None:
        """Reports come as time passes, too."""
        super().pass_to(time)
        self._answer()

    def _answer(self) -> None:
        now = [due for at, due in self._waits if at <= self.time]
        self._waits = [(at, due) for at, due in self._waits if at > self.time]
        for due in now:
            made = self._made.get((due.effect, due.attempt)) or self._attempt(due)
            self._made[due.effect, due.attempt] = made
            self.append(list(records_of(made)))

    def _attempt(self, due: EffectDue) -> ReportAttempt:
        assert due.push is not None
        answer: dict[str, Any] = {"outcome": AttemptOutcome.ACCEPTED, "status": 200}
        if self.time >= due.expires_at:
            answer = {"outcome": AttemptOutcome.FAILED, "failure": PushFailure.TOO_LATE}
        elif due.provider == ANY_PROVIDER:
            answer = {"outcome": AttemptOutcome.ROUTED, "provider": "fcm"}
        elif (chance := self._chance.random()) < 0.3:
            answer = {"outcome": AttemptOutcome.FAILED, "status": 503, "doubtful": chance < 0.1}
        elif chance < 0.4:
            answer = {"outcome": AttemptOutcome.REFUSED, "status": 404, "failure": PushFailure.UNREGISTERED}
        elif chance < 0.5 and due.provider == "fcm":
            answer = {"outcome": AttemptOutcome.ROUTED, "status": 400, "provider": "onesignal"}
        if answer["outcome"] is AttemptOutcome.ACCEPTED:
            self.taken[due.effect] += 1
        name = f"{due.id}/report"
        return ReportAttempt(id=name, at=self.time, effect=due.effect, attempt=due.attempt, **answer)


def workload(chance: random.Random) -> Iterator[Output | Step]:
    """Everybody signs up; then all kinds of things happen, at night, too."""
    at, story = EPOCH, _Story(chance)
    for user in PEOPLE:
        yield from records_of(SignUp(id=f"s-{user}", at=at, user=user, role=Role.USER))
    for number in range(SENDS):
        seconds = chance.choices((chance.expovariate(1 / 6), 9 * 3_600.0), (95, 5))[0]
        at += timedelta(seconds=seconds)
        yield Step("pass", seconds=seconds)
        yield from records_of(story.next(f"m{number}", at))


class _Story:
    """One message behind the other, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._seq = 0
        self._calls: list[CallRinging] = []
        self._causes: list[str] = []

    def next(self, name: str, at: datetime) -> Message:
        chance = self._chance
        user, peer = chance.sample(PEOPLE, 2)
        sides: dict[str, Any] = {"id": name, "at": at, "pair": pair_of(user, peer), "user": user, "peer": peer}
        device = chance.choice(("phone", "tablet"))
        what = chance.choices(("write", "read", "ack", "hide", "mute", "open", "close", "call", "prefer", "notice"),
                              (24, 8, 14, 3, 2, 14, 8, 14, 6, 7))[0]  # fmt: skip
        match what:
            case "write":
                self._seq += 1
                self._causes.append(f"{name}/item")
                return PostMessage(**sides, message=name, asked=name, length=5)
            case "read":
                return ReadChat(**sides, seq=chance.randrange(self._seq + 1))
            case "hide":
                return HideItem(**sides, seq=chance.randrange(self._seq + 1))
            case "mute":
                return MuteChat(**sides, muted=chance.random() < 0.5)
            case "ack":
                cause = chance.choice([*self._causes, "none"])
                return AckNotification(id=name, at=at, user=user, notification=occurrence_of(user, cause))
            case "open":
                tokens = {
                    "push_token": f"t{chance.randrange(3)}{user}",
                    "voip_token": chance.choice(("", f"v-{user}-{device}")),
                    "onesignal_id": str(uuid.UUID(int=1)) if device == "tablet" else "",
                }
                platform = chance.choice(("ios", "android"))
                return OpenSession(
                    id=name, at=at, user=user, session=f"{user}-{device}", device=device, platform=platform,
                    **(tokens if chance.random() < 0.8 else {}),
                )  # fmt: skip
            case "close":
                return CloseSession(id=name, at=at, user=user, session=f"{user}-{device}")
            case "prefer":
                silent = (NotificationKind.MESSAGE,) if chance.random() < 0.2 else ()
                quiet = QUIET if chance.random() < 0.6 else None
                return PutNotificationPreferences(id=name, at=at, user=user, silent=silent, quiet=quiet)
            case "notice":
                self._causes.append(f"notice/n{self._seq % 3}")
                texts = (NoticeText("en", "Hi", "Hello."),)
                return SendNotice(id=name, at=at, user=user, notice=f"n{self._seq % 3}", texts=texts, by="root")
        return self._call(name, at, user, peer)

    def _call(self, name: str, at: datetime, user: UserId, peer: UserId) -> Message:
        """A call rings, or one that does is taken, or is over."""
        if self._calls and self._chance.random() < 0.6:
            ringing = self._calls.pop()
            over: dict[str, Any] = {field: getattr(ringing, field) for field in ("call", "caller", "callee", "kind")}
            if at < ringing.until and self._chance.random() < 0.5:
                return CallConnected(id=name, at=at, cause="x", **over)
            return CallEnded(id=name, at=at, cause="x", **over, reason=EndReason.UNANSWERED)
        until = at + timedelta(seconds=30)
        ringing = CallRinging(id=name, at=at, cause="x", call=name, caller=user, callee=peer, kind=CallKind.DIRECT, until=until)
        self._calls.append(ringing)
        self._causes.append(name)
        return ringing


# --- laws -------------------------------------------------------------------------------------------------------------------


class _Person:
    """What a person's inbox and facts say, in the order of the inbox."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken: list[str] = []
        self.online = False
        self.quiet = False
        self.now: datetime = FIRST
        self.told: dict[str, Notified] = {}
        self.acked: set[str] = set()
        self.over: set[str] = set()
        self.pushed: Counter[str] = Counter()
        self.forgone: set[str] = set()
        self.dead: set[str] = set()

    def hear(self, message: Message) -> None:
        """One message, before what it led to. The clock has come as far as the last wake says."""
        match message:
            case Wake():
                self.now = max(self.now, message.at)
            case CameOnline() | WentOffline():
                self.online = isinstance(message, CameOnline)
            case PutNotificationPreferences():
                self.quiet = message.quiet is not None
            case KeepPhone():
                self.dead -= set(map(token_mark, (message.push_token, message.voip_token, message.onesignal_id)))
            case PushTokenDead():
                self.dead.add(message.token)

    def take(self, message: Message, fact: Message) -> None:
        """One fact that the message led to."""
        match fact:
            case Notified():
                if fact.notification in self.told:
                    self.broken.append(f"{self.name} is told {fact.notification} twice")
                self.told[fact.notification] = fact
            case NotificationAcked():
                self.acked.add(fact.notification)
            case NotificationRead() | NotificationWithdrawn():
                if fact.notification in self.over:
                    self.broken.append(f"{fact.notification} is over twice")
                self.over.add(fact.notification)
            case PushDecided():
                self._push(message, fact)
            case PushForgone():
                self.forgone.add(fact.notification)
        if isinstance(fact, Notified | NotificationRead | NotificationWithdrawn) and fact.unread != self.unread():
            self.broken.append(f"{self.name}: {type(fact).__name__} says {fact.unread} unread of {self.unread()}")

    def unread(self) -> int:
        """A recount."""
        return sum(MANNERS[one.kind].counts and name not in self.over for name, one in self.told.items())

    def _push(self, message: Message, fact: PushDecided) -> None:
        name, now = fact.notification, max(message.at, self.now)
        self.pushed[name] += 1
        wrong = {
            "behind its end": name in self.over | self.acked,
            "for another reason than it says": (fact.reason is PushReason.OFFLINE) is self.online,
            "in quiet hours": self.quiet and not 7 <= now.astimezone(UTC).hour < 22,
            "when the call is over": (ends := self.told[name].ends_at) is not None and now >= ends,
        }
        self.broken += [f"{name} is pushed {how}" for how, so in wrong.items() if so]

    def owe(self, effect: OweEffect) -> None:
        """A push that is owed."""
        assert effect.push is not None
        addresses = {effect.push.token, effect.push.subscription} - {""}
        if self.dead & set(map(token_mark, addresses)):
            self.broken.append(f"{effect.effect} is owed to a dead token")
        told = self.told.get(effect.push.occurrence)
        if told is not None and told.ends_at is not None and effect.expires_at > told.ends_at:
            self.broken.append(f"{effect.effect} outlives its call")

    def settle(self) -> list[str]:
        """What is broken in the end."""
        for name, told in self.told.items():
            ends = (name in self.over or name in self.acked) + 2 * (self.pushed[name] + (name in self.forgone))
            if told.due_at is not None and not ends:
                self.broken.append(f"{name} was due, and nobody says what became of it")
            if self.pushed[name] + (name in self.forgone) > 1:
                self.broken.append(f"{name} was decided {self.pushed[name]} times")
        return self.broken


def laws(log: Log) -> list[str]:
    """What is broken."""
    return [*unfolded(log.read, DECIDERS), *laws_of_log(log)]


def laws_of_log(log: Log) -> list[str]:
    """What is broken by what was told, whoever has decided it."""
    assert isinstance(log, Vendors)
    broken = [f"{effect} was taken {times} times" for effect, times in log.taken.items() if times > 1]
    dead = sum(1 for _ in log.read("dead_letters"))
    return [*broken, *laws_of_facts(log.read, PEOPLE), *([f"{dead} dead letters"] if dead else [])]


def laws_of_facts(read: Read, names: Iterable[str]) -> list[str]:
    """Likewise, of these people's notifications, pushes and badges."""
    people = {user: _Person(user) for user in names}
    facts: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    decode = decoder_of(NOTIFICATION.facts)
    for *_, key, value in read(NOTIFICATION.events):
        fact: Any = decode(value or b"")
        facts[key.decode(), fact.cause].append(fact)
    owed: defaultdict[tuple[str, str], list[OweEffect]] = defaultdict(list)
    decode = decoder_of(topics.hears(OUTBOX))
    for *_, value in read(OUTBOX.inbox):
        effect = decode(value or b"")
        if isinstance(effect, OweEffect) and effect.push is not None:
            owed[effect.subject, effect.id.rpartition("/push/")[0]].append(effect)
    decode = decoder_of(topics.hears(NOTIFICATION))
    for *_, key, value in read(NOTIFICATION.inbox):
        if (person := people.get(key.decode())) is None:
            continue
        message = decode(value or b"")
        person.hear(message)
        # A wake is named by its time, so there may have been another one before what it decides had come.
        behind = facts.pop((person.name, message.id), [])
        early = [one for one in behind if isinstance(message, Wake) and one.notification not in person.told]
        facts[person.name, message.id] = early
        for fact in (one for one in behind if one not in early):
            person.take(message, fact)
        for effect in owed.pop((person.name, message.id), ()):
            person.owe(effect)
    broken = [f"{user} is told what nothing in the inbox led to: {cause}" for (user, cause), left in facts.items() if left]
    return [*broken, *(line for person in people.values() for line in person.settle()), *_badges(read, people)]


def _badges(read: Read, people: Iterable[str]) -> list[str]:
    """What is unread of chats is what the chats say."""
    told: dict[str, Notifications | None] = {}
    for *_, key, value in read(NOTIFICATION.changelog):
        told[key.decode()] = None if value is None else state_decoder(Notifications)(value)
    chats: dict[str, Chat | None] = {}
    for *_, key, value in read(CHAT.changelog):
        chats[key.decode()] = None if value is None else state_decoder(Chat)(value)
    broken = []
    for user in people:
        known = told.get(user) or Notifications()
        mine = sum(one.unread and one.seq > 0 for one in known.occurrences)
        mine_of = [(pair, chat) for pair, chat in chats.items() if chat is not None and user in pair.split("/")]
        due = sum(chat.sides[side_of(pair, user)].unread for pair, chat in mine_of)
        if mine != due:
            broken.append(f"{user} has {mine} unread items by notifications, {due} by chats")
    return broken


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS, log=Vendors, drift_s=5.0)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
