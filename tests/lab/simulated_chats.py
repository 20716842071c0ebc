"""Chats in the simulator: people sign up, write (and send again, from any phone), edit, take back, read, mute and hide; they
report and block each other, are banned and erased, call and give; with crashes, lost commits, repeats and outages.

Laws: the log is the fold of its inboxes; one message a sender's client id, one item a call and a gift; numbers without a gap,
and pages and both feeds in their order; unread is a recount, a badge the sum; marks only rise; behind a block the pair takes
nothing of either; whoever asks is answered; no fact has a text, and what was taken back, refused or erased is in no state, but
for the evidence of a report, which has each item as it once was, as long as its writer is not erased.

`python -m tests.lab.simulated_chats 2000` plays so many seeds and prints the counts.
"""

import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

from msgspec.structs import replace

from pipelines.flows.deciders import decider_of
from pipelines.runtime.core import Output
from pipelines.runtime.simulator import EPOCH, Log, Setup, Step
from schemas.billing_rules import CallKind
from schemas.blocklist import BLOCKS, BlockReason, BlockUser, UnblockUser, UserBlocked, UserUnblocked
from schemas.chat import (
    CHAT,
    CHAT_BADGE,
    CHAT_MESSAGE,
    CHAT_PAGE,
    KEPT,
    Chat,
    ChatBadge,
    ChatHidden,
    ChatPage,
    ChatRead,
    EditAdmitted,
    HideChat,
    HideItem,
    ItemHidden,
    ItemKind,
    ItemPosted,
    MuteChat,
    ReadChat,
    page_key,
)
from schemas.chat_message import (
    ChatMessage,
    DeleteMessage,
    EditMessage,
    MessageDeleted,
    MessageEdited,
    MessageRefused,
    SendMessage,
)
from schemas.chat_report import (
    CHAT_EVIDENCE,
    CHAT_REPORT,
    ChatEvidence,
    ChatReported,
    DecideReport,
    ReportChat,
    ReportDecided,
    ReportOutcome,
    ReportReason,
    UserWarned,
    evidence_name,
)
from schemas.chat_rules import CHAT_WRITER, ChatRuleAction, ChatRuleKind, Finding, NewChats, masked
from schemas.gift import GiftSent
from schemas.log.base import Message, State, UserId
from schemas.log.codec import decoder_of, encode, state_decoder
from schemas.log.entity import DEFAULT_PARTITIONS, Entity, partition_of
from schemas.log.topics import FEED, hears, routes
from schemas.pair import pair_of
from schemas.user import USER, Ban, EraseUser, Role, SignUp, UserErased
from schemas.video import CallEnded, EndReason
from schemas.video_line import LINE
from tests.lab.simulated_growth import unfolded
from tests.lab.simulated_money import report

PEOPLE = tuple(map(UserId, ("ann", "bob", "sue")))
PAIRS = [pair_of(one, other) for one, other in combinations(PEOPLE, 2)]
SENDS = 45
# Each text has this in it, and its own number behind it.
MARK = "secret-"
ENTITIES = (USER, BLOCKS, LINE, CHAT_MESSAGE, CHAT, CHAT_PAGE, CHAT_BADGE, CHAT_REPORT, CHAT_EVIDENCE, CHAT_WRITER)
DECIDERS = tuple(map(decider_of, ENTITIES))
SHOWN = tuple(dict.fromkeys(one.fact for entity in ENTITIES for one in entity.shown))
INBOXES = frozenset(entity.inbox for entity in ENTITIES)


def records_of(message: Message) -> Iterator[Output]:
    """The records that the log would have of a message: a command in its inbox, another's fact where it is heard here."""
    for route in routes()[type(message)]:
        if route.topic in INBOXES and (key := route.key(message).encode()):
            yield Output(route.topic, partition_of(key, route.partitions), key, encode(message))


def workload(chance: random.Random) -> Iterator[Output | Step]:
    """Everybody signs up; then everybody does everything, and now and then nobody decides for a while."""
    at = EPOCH
    for number, user in enumerate(PEOPLE):
        yield from records_of(SignUp(id=f"up{number}", at=at, user=user, role=Role.STREAMER if user == "sue" else Role.USER))
    yield Step("quiet")
    sent: list[SendMessage] = []
    for n in range(SENDS):
        seconds = chance.choices((chance.expovariate(1 / 20), 1_000.0, 3 * 86_400.0), (94, 4, 2))[0]
        at += timedelta(seconds=seconds)
        yield Step("pass", seconds=seconds)
        message = said(chance, n, at, sent)
        sent += [message] if isinstance(message, SendMessage) else []
        yield from records_of(message)
        if chance.random() < 0.4:
            yield Step("quiet")


def finding(then: ChatRuleAction) -> Finding:
    """What a rule finds: behind the mark, so that a masked text is known by it, too."""
    return Finding(f"rule-{then}", ChatRuleKind.WORD, then, len(MARK), len(MARK) + 1)


def said(chance: random.Random, n: int, at: datetime, sent: list[SendMessage]) -> Message:
    """One message, by chance; who edits or takes back mostly means one of those that were `sent`."""
    user, peer = chance.sample(PEOPLE, 2)
    names: Any = {"id": f"m{n}", "at": at}
    text, seq = f"{MARK}{n}.", chance.randrange(1, 9)
    found = tuple(finding(action) for action in ChatRuleAction if chance.random() < 0.06)
    limit = NewChats("few", chance.choice((ChatRuleAction.REFUSE, ChatRuleAction.REVIEW)), 1) if chance.random() < 0.3 else None
    written = SendMessage(
        **names, message=f"{user}.{n}", sender=user, receiver=peer, text=text, findings=found, limit=limit
    )  # fmt: skip
    again = chance.choice(sent) if sent else written
    own: Any = {"message": again.message, "user": again.sender, "peer": again.receiver}
    if chance.random() < 0.1:
        own |= {"user": user, "peer": peer}
    pair: Any = {"pair": pair_of(user, peer), "user": user, "peer": peer}
    call: Any = {"caller": user, "callee": peer, "kind": CallKind.DIRECT, "reason": EndReason.HUNG_UP}
    gift: Any = {"sender": user, "receiver": peer, "item": "rose", "price_coins": 25, "share_coins": 10}
    makers: dict[str, tuple[int, Callable[[], Message]]] = {
        "send": (30, lambda: written),
        "again": (8, lambda: replace(again, **names, receiver=chance.choice((again.receiver,) * 4 + (peer,)))),
        "edit": (14, lambda: EditMessage(**names, **own, text=text, findings=found)),
        "delete": (8, lambda: DeleteMessage(**names, **own)),
        "read": (10, lambda: ReadChat(**names, **pair, seq=seq)),
        "hide": (4, lambda: HideItem(**names, **pair, seq=seq)),
        "hide chat": (2, lambda: HideChat(**names, **pair)),
        "mute": (2, lambda: MuteChat(**names, **pair, muted=chance.random() < 0.5)),
        "block": (4, lambda: BlockUser(**names, user=user, peer=peer, reason=BlockReason.SPAM)),
        "unblock": (7, lambda: UnblockUser(**names, user=user, peer=peer)),
        "call": (6, lambda: CallEnded(**names, cause="x", call=f"call{n}", connected=seq < 5, duration_s=float(seq), **call)),
        "gift": (4, lambda: GiftSent(**names, cause="x", gift=f"gift{n}", **gift)),
        "report": (4, lambda: ReportChat(**names, report=f"report{n}", user=user, peer=peer, reason=ReportReason.SPAM,
                                         seqs=tuple({seq, chance.randrange(1, 9)}) if chance.random() < 0.5 else ())),
        "decide": (3, lambda: DecideReport(**names, report=f"report{chance.randrange(n + 1)}", by="root", why="rude",
                                           outcome=chance.choice(list(ReportOutcome)), until=at + timedelta(seconds=30))),
        "ban": (1, lambda: Ban(**names, user=user, reason="rude", by="root", until=at + timedelta(seconds=30))),
        "erase": (1, lambda: EraseUser(**names, user=user, by=user)),
    }  # fmt: skip
    return makers[chance.choices(list(makers), [weight for weight, _ in makers.values()])[0]][1]()


# --- laws -------------------------------------------------------------------------------------------------------------------


class Books:
    """What a log says of chats: facts in their order, by type; what phones were shown; the last state of each key."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.facts: dict[type[Message], list[Any]] = defaultdict(list)
        for entity in (USER, CHAT_MESSAGE, CHAT, CHAT_BADGE, CHAT_REPORT):
            decode = decoder_of(entity.facts)
            for *_, value in log.read(entity.events):
                fact = decode(value or b"")
                self.facts[type(fact)].append(fact)
        self.shown: dict[str, list[Any]] = defaultdict(list)
        shown: Callable[[bytes], Any] = decoder_of(SHOWN)
        for _, _, key, value in log.read(FEED.name):
            self.shown[key.decode()].append(shown(value or b""))
        self.messages: dict[str, ChatMessage] = self._states(CHAT_MESSAGE)
        self.chats: dict[str, Chat] = self._states(CHAT)
        self.pages: dict[str, ChatPage] = self._states(CHAT_PAGE)
        self.badges: dict[str, ChatBadge] = self._states(CHAT_BADGE)
        self.evidence: dict[str, ChatEvidence] = self._states(CHAT_EVIDENCE)
        self.items = {pair: [one for one in self.facts[ItemPosted] if one.pair == pair] for pair in PAIRS}

    def last(self, entity: Entity) -> dict[str, bytes]:
        """The last state of each key, as it is written."""
        last = {key.decode(): value for _, _, key, value in self.log.read(entity.changelog)}
        return {key: value for key, value in last.items() if value is not None}

    def _states(self, entity: Entity) -> dict[str, Any]:
        read: Callable[[bytes], State] = state_decoder(entity.state)
        return {key: read(value) for key, value in self.last(entity).items()}


def laws(log: Log) -> list[str]:
    """What is broken."""
    books = Books(log)
    broken = [*unfolded(log.read, DECIDERS), *_items(books), *_unread(books), *_blocks(log), *_answers(books), *_texts(books)]
    broken += _reports(books)
    dead = sum(1 for _ in log.read("dead_letters"))
    return [*broken, f"{dead} dead letters"] if dead else broken


def _items(books: Books) -> Iterator[str]:
    """Numbers without a gap; pages and feeds in their order; once whatever happens once; marks only rise."""
    for pair, items in books.items.items():
        order = [(one.seq, one.ref) for one in items]
        if [seq for seq, _ in order] != list(range(1, len(order) + 1)):
            yield f"{pair}: items are numbered {order}"
        kept = [books.pages.get(page_key(pair, seq)) for seq in range(1, len(order) + 1, 32)]
        if [(item.seq, item.ref) for page in kept if page for item in page.items] != order:
            yield f"{pair}: its pages are not its items"
        for user in pair.split("/"):
            if [(one.seq, one.ref) for one in books.shown[user] if isinstance(one, ItemPosted) and one.pair == pair] != order:
                yield f"{pair}: {user} was shown something else than its items"
            marks = [one.seq for one in books.facts[ChatRead] if (one.pair, one.user) == (pair, user)]
            if marks != sorted(marks):
                yield f"{pair}: the mark of {user} fell: {marks}"
    things = [(one.kind, one.ref) for one in books.facts[ItemPosted]]
    yield from (f"{thing} is {things.count(thing)} items" for thing in sorted(set(things)) if things.count(thing) > 1)


def _unread(books: Books) -> Iterator[str]:
    """Unread is what a recount from the facts gives, and a badge is the sum."""
    sums: dict[str, int] = dict.fromkeys(PEOPLE, 0)
    for pair, items in books.items.items():
        taken_back = {one.seq for one in books.facts[MessageDeleted] if pair_of(one.sender, one.receiver) == pair}
        chat = books.chats.get(pair, Chat())
        quiet = {item.seq for item in chat.items if item.quiet and item.kind is ItemKind.CALL}
        for user, side in zip(pair.split("/"), chat.sides, strict=True):
            mark = max((one.seq for one in books.facts[ChatRead] if (one.pair, one.user) == (pair, user)), default=0)
            mark = max(mark, *(one.seq for one in books.facts[ChatHidden] if (one.pair, one.user) == (pair, user)), 0)
            gone = {one.seq for one in books.facts[ItemHidden] if (one.pair, one.user) == (pair, user)}
            behind = [one for one in items[-KEPT:] if one.seq > mark and one.user != user]
            counted = sum(one.seq not in gone | taken_back | quiet for one in behind)
            sums[user] += counted
            if side.unread != counted:
                yield f"{pair}: {user} has {side.unread} unread, a recount gives {counted}"
        missed = {one.seq for one in items if one.kind is ItemKind.CALL and one.connected}
        if not missed & {item.seq for item in chat.items} <= quiet:
            yield f"{pair}: a talk is unread"
    for user, total in sums.items():
        if (badge := books.badges.get(user, ChatBadge()).unread) != total:
            yield f"the badge of {user} is {badge}, the sum {total}"


def _blocks(log: Log) -> Iterator[str]:
    """Of what the pair hears behind a block it takes no message and no edit. Its facts stand in the order of its inbox, each
    under the id of what it was decided on, and a step behind it."""
    heard, told = decoder_of(hears(CHAT)), decoder_of(CHAT.facts)
    facts: dict[int, list[Any]] = defaultdict(list)
    for partition, _, _, value in log.read(CHAT.events):
        facts[partition].append(told(value or b""))
    blocked: set[tuple[str, str]] = set()
    for partition, _, _, value in log.read(CHAT.inbox):
        message = heard(value or b"")
        if isinstance(message, UserBlocked | UserUnblocked):
            (set.add if isinstance(message, UserBlocked) else set.discard)(blocked, (message.user, message.peer))
        while facts[partition] and facts[partition][0].id.rpartition("/")[0] == message.id:
            fact = facts[partition].pop(0)
            written = isinstance(fact, EditAdmitted) or (isinstance(fact, ItemPosted) and fact.kind is ItemKind.MESSAGE)
            if written and {(fact.user, fact.peer), (fact.peer, fact.user)} & blocked:
                yield f"{fact.id}: {fact.user} wrote to {fact.peer} behind a block"
    yield from (f"{fact.id} answers nothing that the pair heard" for rest in facts.values() for fact in rest)


def _answers(books: Books) -> Iterator[str]:
    """Each command of a phone has a fact that answers it."""
    answered = {one.cause for facts in books.facts.values() for one in facts}
    for entity in (CHAT_MESSAGE, CHAT, CHAT_REPORT):
        heard = decoder_of(hears(entity))
        for *_, value in books.log.read(entity.inbox):
            message = heard(value or b"")
            of_a_phone = message.id.startswith("m") and "/" not in message.id and type(message) in entity.commands
            if of_a_phone and message.id not in answered:
                yield f"{type(message).__name__} {message.id} was never answered"


def _texts(books: Books) -> Iterator[str]:
    """No fact and no phone's record has a text; no state has one that was taken back, refused, replaced, or of the erased."""
    mark = MARK.encode()
    for entity in ENTITIES:
        if any(mark in (value or b"") for *_, value in books.log.read(entity.events)):
            yield f"{entity.events} has a text"
        if entity not in (CHAT_MESSAGE, CHAT_EVIDENCE) and any(mark in value for value in books.last(entity).values()):
            yield f"{entity.changelog} has a text"
    if any(mark in (value or b"") for *_, value in books.log.read(FEED.name)):
        yield "the feed has a text"
    gone = {one.message for one in books.facts[MessageDeleted]}
    edited = {one.message: one for one in books.facts[MessageEdited]}
    erased = {one.user for one in books.facts[UserErased]}
    refused = {one.message for one in books.facts[MessageRefused]} - {one.ref for one in books.facts[ItemPosted]}
    for one in books.facts[ItemPosted]:
        if one.kind is ItemKind.MESSAGE and one.ref not in gone and one.ref not in books.messages:
            yield f"{one.pair}: the item {one.seq} is a message that is not there, and was not taken back"
    for name, state in books.messages.items():
        if name.startswith("@"):
            continue
        words = state.text + state.draft
        if words and (name in gone | refused or state.sender in erased):
            yield f"{name}: its text is still there: {state}"
        if not words and state.seq and name not in gone:
            yield f"{name}: its text is not there any more"
        if name in edited and state.edited_at != edited[name].at:
            yield f"{name}: it was edited at {edited[name].at}, and its state knows of {state.edited_at}"


def _reports(books: Books) -> Iterator[str]:
    """Each report has its evidence: what the item said at some time, and nothing of the erased; a person decides once."""
    erased = {one.user for one in books.facts[UserErased]}
    said: dict[str, set[str]] = defaultdict(set)
    heard = decoder_of(hears(CHAT_MESSAGE))
    for *_, value in books.log.read(CHAT_MESSAGE.inbox):
        message = heard(value or b"")
        if isinstance(message, SendMessage | EditMessage):
            said[message.message].add(masked(message.text, message.findings))
    for one in books.facts[ChatReported]:
        for seq in one.seqs:
            kept = books.evidence.get(evidence_name(one.report, seq))
            if kept is None:
                yield f"{one.report}: the evidence of item {seq} is not there"
            elif kept.text and (kept.text not in said[kept.ref] or kept.sender in erased):
                yield f"{one.report}: the evidence of item {seq} is {kept}"
            elif kept.kind is ItemKind.MESSAGE and not kept.text and not kept.deleted and kept.sender not in erased:
                yield f"{one.report}: the evidence of item {seq} has no text"
    yield from _rules(books, {(one.peer, one.seqs): one for one in books.facts[ChatReported] if one.rule})
    for type_ in (ChatReported, ReportDecided):
        names = [one.report for one in books.facts[type_]]
        yield from (f"{type_.__name__} was told more than once of {name}" for name in set(names) if names.count(name) > 1)
    for shown in (one for user in books.shown for one in books.shown[user] if isinstance(one, UserWarned)):
        if shown.report:
            yield f"{shown.user} was shown by which report"


def _rules(books: Books, reported: dict[tuple[str, tuple[int, ...]], ChatReported]) -> Iterator[str]:
    """What a rule forbids is no item and no edit; what it puts before a person is reported once it is an item."""
    told = {one.cause: one for facts in (books.facts[ItemPosted], books.facts[MessageEdited]) for one in facts}
    erased = {one.user for one in books.facts[UserErased]}
    heard = decoder_of(hears(CHAT_MESSAGE))
    for *_, value in books.log.read(CHAT_MESSAGE.inbox):
        message = heard(value or b"")
        if isinstance(message, SendMessage | EditMessage) and (fact := told.get(message.id)) is not None:
            actions = {one.then for one in message.findings}
            writer = message.sender if isinstance(message, SendMessage) else message.user
            if ChatRuleAction.REFUSE in actions:
                yield f"{message.id} was forbidden, and taken"
            elif ChatRuleAction.REVIEW in actions and writer not in erased and (writer, (fact.seq,)) not in reported:
                yield f"{message.id} was for a person, and not reported"


SETUP = Setup(DECIDERS, workload, laws, partitions=DEFAULT_PARTITIONS)

if __name__ == "__main__":
    sys.exit(report(SETUP, int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
