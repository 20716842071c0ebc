"""What the rules of chats find in a text, and under which limit a chat is begun.

A text is examined here, at the edge, by kept libraries (phonenumbers, linkify-it); what is found goes into the command. So no
decider depends on a library's version, and what was decided is decided the same for good.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from linkify_it import LinkifyIt
from phonenumbers import PhoneNumberMatcher

from schemas.chat import CHAT
from schemas.chat_rules import (
    BOOK,
    CHAT_RULES,
    MAX_FINDINGS,
    MAX_RULES,
    SHIPPED,
    ChatRule,
    ChatRuleAction,
    ChatRuleKind,
    ChatRules,
    Finding,
    Findings,
    NewChats,
)
from schemas.pair import pair_of
from schemas.user import USER, User
from serving.runtime.views import Views

Span = tuple[int, int]
PER_RULE: Final = MAX_FINDINGS // MAX_RULES
_HANDLE: Final = r"(?<![\w@.])@\w[\w.]{2,31}"
_BEHIND: Final = r"(?:\s*[:=@]+\s*@?\w[\w.]{2,31})?"
_links: Final = LinkifyIt(options={"fuzzy_ip": True})


def book_of(views: Views) -> ChatRules:
    """The rules in force."""
    book: ChatRules | None = views.of(CHAT_RULES).get(BOOK)
    return book or ChatRules(SHIPPED, 0)


def findings_in(views: Views, text: str) -> Findings:
    """What the rules in force find in a text."""
    return examine(text, book_of(views).rules) if text else ()


def limit_of(views: Views, user: str, peer: str, at: datetime) -> NewChats | None:
    """The limit under which a message begins a chat; None: the account is old enough, or the chat goes on."""
    rules = [rule for rule in book_of(views).rules if rule.kind is ChatRuleKind.NEW_CHATS]
    known: User | None = views.of(USER).get(user) if rules else None
    chat = views.of(CHAT).get(pair_of(user, peer)) if known else None
    if known is None or (chat is not None and chat.seq):
        return None
    young = [rule for rule in rules if at < known.signed_up_at + timedelta(days=rule.account_days)]
    return NewChats(young[0].rule, young[0].then, young[0].per_hour) if young else None


def examine(text: str, rules: tuple[ChatRule, ...]) -> Findings:
    """What rules find in a text. Of what is masked the last that there is room for goes to the text's end."""
    found: list[Finding] = []
    for rule in rules:
        spans = sorted(set(_spans(text, rule)))
        if rule.then is not ChatRuleAction.MASK:
            spans = spans[:1]
        elif len(spans) > PER_RULE:
            spans = [*spans[: PER_RULE - 1], (spans[PER_RULE - 1][0], len(text))]
        found += [Finding(rule.rule, rule.kind, rule.then, start, end) for start, end in spans]
    return tuple(found)


def _spans(text: str, rule: ChatRule) -> Iterator[Span]:
    match rule.kind:
        case ChatRuleKind.PHONE if any(map(str.isdigit, text)):
            for region in rule.words or ("ZZ",):
                yield from ((one.start, one.end) for one in PhoneNumberMatcher(text, region))
        case ChatRuleKind.ADDRESS | ChatRuleKind.LINK:
            addresses = rule.kind is ChatRuleKind.ADDRESS
            for one in _links.match(text) or ():
                if (one.schema == "mailto:") is addresses and not (one.url and _is_host(one.url, rule.words)):
                    yield one.index, one.last_index
        case ChatRuleKind.WORD | ChatRuleKind.MESSENGER:
            for found in _pattern(rule.kind, rule.words).finditer(text):
                yield found.span()


def _is_host(url: str, hosts: tuple[str, ...]) -> bool:
    """Whether an address stands at one of the hosts, or below one."""
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return False
    return any(host == one or host.endswith(f".{one}") for one in map(str.lower, hosts))


@lru_cache(64)
def _pattern(kind: ChatRuleKind, words: tuple[str, ...]) -> re.Pattern[str]:
    """Whole words, in capitals or not; at a messenger with the name behind it, or a name with an @ alone."""
    some = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    whole = rf"(?<!\w)(?:{some})(?!\w)"
    return re.compile(rf"{whole}{_BEHIND}|{_HANDLE}" if kind is ChatRuleKind.MESSENGER else whole, re.IGNORECASE)
