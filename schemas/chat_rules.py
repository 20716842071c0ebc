"""Rules of chats as data: `chat_rules` (the book of rules in force) and `chat_writer` (with whom somebody has begun chats).

A rule names what it looks for and what then: mask it, refuse the message, or put it before a person. Serving examines each text
by the rules in force, and what it found stands in the command, so that deciders need no library and a replay decides the same.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from schemas.log.base import By, Fact, Id, Message, State, Time, Wake, later
from schemas.log.entity import Entity, Flow
from schemas.log.personal import PLAIN
from schemas.user import ListedUser, UserCommand, UserFact, UserInList

BOOK: Final = "chats"
MAX_RULES: Final = 10
MAX_WORDS: Final = 100
MAX_FINDINGS: Final = 100
MAX_PER_HOUR: Final = 100
HOUR: Final = timedelta(hours=1)

RuleName = Annotated[str, Meta(min_length=1, max_length=64), PLAIN]
# Words of a rule, and hosts: what staff writes, as JSON writes it no longer than four bytes a letter.
RuleWord = Annotated[str, Meta(max_length=48, pattern=r'^[^"\\\x00-\x1f\x7f]+$', extra={"max_bytes": 4 * 48 + 2}), PLAIN]
RuleWords = Annotated[tuple[RuleWord, ...], Meta(max_length=MAX_WORDS)]


class ChatRuleKind(StrEnum):
    """What a rule looks for. Members are only ever added."""

    PHONE = "phone"
    ADDRESS = "address"
    MESSENGER = "messenger"
    LINK = "link"
    WORD = "word"
    NEW_CHATS = "new_chats"


class ChatRuleAction(StrEnum):
    """What follows: the letters are masked, the message is refused, or it is sent, and a person looks at it."""

    MASK = "mask"
    REFUSE = "refuse"
    REVIEW = "review"


class ChatRule(State):
    """A rule. `words`: of `word` and `messenger`, what is looked for; of `phone`, the countries in which numbers without one
    are dialled; of `link`, the hosts that are let through. `new_chats`: an account younger than `account_days` begins more than
    `per_hour` chats within an hour."""

    rule: RuleName
    kind: ChatRuleKind
    then: ChatRuleAction
    words: RuleWords = ()
    account_days: Annotated[int, Meta(ge=0, le=3_650)] = 0
    per_hour: Annotated[int, Meta(ge=0, le=MAX_PER_HOUR)] = 0


SHIPPED: Final = (
    ChatRule("phones", ChatRuleKind.PHONE, ChatRuleAction.MASK, ("DE", "US", "GB", "BR", "IN")),
    ChatRule("addresses", ChatRuleKind.ADDRESS, ChatRuleAction.MASK),
    ChatRule(
        "messengers", ChatRuleKind.MESSENGER, ChatRuleAction.MASK,
        ("whatsapp", "telegram", "viber", "wechat", "snapchat", "instagram", "discord", "signal:", "kakaotalk"),
    ),
    ChatRule("new-accounts", ChatRuleKind.NEW_CHATS, ChatRuleAction.REFUSE, account_days=3, per_hour=20),
)  # fmt: skip

_Rules = Annotated[tuple[ChatRule, ...], Meta(max_length=MAX_RULES)]


class Finding(State):
    """A rule has found something: the letters from `start` to before `end`."""

    rule: RuleName
    kind: ChatRuleKind
    then: ChatRuleAction
    start: Annotated[int, Meta(ge=0, le=2_000)]
    end: Annotated[int, Meta(ge=0, le=2_000)]


Findings = Annotated[tuple[Finding, ...], Meta(max_length=MAX_FINDINGS)]


class NewChats(State):
    """The limit under which a message begins a chat: the rule, and how many chats in an hour."""

    rule: RuleName
    then: ChatRuleAction
    per_hour: Annotated[int, Meta(ge=0, le=MAX_PER_HOUR)]


def masked(text: str, findings: Findings) -> str:
    """The text, with a star for each letter that is to be masked."""
    for one in findings:
        if one.then is ChatRuleAction.MASK:
            stars = "".join(letter if letter.isspace() else "*" for letter in text[one.start : one.end])
            text = text[: one.start] + stars + text[one.start + len(stars) :]
    return text


def reviewing(findings: Findings) -> str:
    """The first rule that puts the text before a person; empty: none does."""
    return next((one.rule for one in findings if one.then is ChatRuleAction.REVIEW), "")


# --- the book ---------------------------------------------------------------------------------------------------------------


class PutChatRules(Message):
    """The rules from now on."""

    book: Id
    rules: _Rules
    by: By = ""


class ChatRulesPut(Fact):
    """The rules are these, version `version`."""

    book: Id
    rules: _Rules
    version: int
    by: By = ""


class ChatRules(State):
    """The rules in force."""

    rules: _Rules
    version: int


# --- who begins chats -------------------------------------------------------------------------------------------------------


class CountNewChat(UserCommand):
    """`user` begins a chat with `peer`, by this message; may that be, under this limit? Answered by NewChatCounted."""

    user: ListedUser
    peer: ListedUser
    message: Id
    limit: NewChats


class NewChatCounted(UserFact):
    """The answer to CountNewChat: whether it is within the limit."""

    message: Id
    limit: NewChats
    within: bool


class BegunChat(State):
    """A chat that was begun."""

    peer: UserInList
    at: Time


class ChatWriter(State):
    """With whom a user has begun chats within the hour."""

    begun: Annotated[tuple[BegunChat, ...], Meta(max_length=MAX_PER_HOUR)] = ()

    @property
    def wake_at(self) -> datetime | None:
        """When the newest of them is an hour ago."""
        return later(self.begun[-1].at, HOUR) if self.begun else None


ChatRulesInbox = PutChatRules | Wake
ChatWriterInbox = CountNewChat | Wake

CHAT_RULES: Final = Entity(
    "chat_rules",
    key="book",
    flow=Flow.LIVE,
    state=ChatRules,
    commands=(PutChatRules,),
    facts=(ChatRulesPut,),
    raw="versions of the rules are few, and stand in `log`",
)
CHAT_WRITER: Final = Entity(
    "chat_writer",
    key="user",
    flow=Flow.LIVE,
    state=ChatWriter,
    commands=(CountNewChat,),
    facts=(NewChatCounted,),
    raw="chats that were begun stand in `chat_items`",
)
