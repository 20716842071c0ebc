"""Rules of chats: the book of rules in force, and, keyed by user, whom somebody has begun to write to within the hour.

States: `schemas.chat_rules`. Laws: a book's versions rise by one; within an hour nobody begins more chats than the limit under
which each of them was begun, and the same peer counts once.
"""

from collections.abc import Sequence

from schemas.chat_rules import (
    HOUR,
    MAX_PER_HOUR,
    BegunChat,
    ChatRules,
    ChatRulesInbox,
    ChatRulesPut,
    ChatWriter,
    ChatWriterInbox,
    NewChatCounted,
)
from schemas.log.base import Message, Wake, later, reply, same_fields


def decide_chat_rules(book: ChatRules | None, message: ChatRulesInbox) -> tuple[ChatRules | None, Sequence[Message]]:
    """Decide one message of the book."""
    if isinstance(message, Wake):
        return book, ()
    after = ChatRules(message.rules, (book.version if book else 0) + 1)
    return after, (ChatRulesPut(**reply(message), **same_fields(message, ChatRulesPut), version=after.version),)


def decide_chat_writer(writer: ChatWriter | None, message: ChatWriterInbox) -> tuple[ChatWriter | None, Sequence[Message]]:
    """Decide one message of somebody who begins chats."""
    begun = tuple(one for one in (writer.begun if writer else ()) if later(one.at, HOUR) > message.at)
    if isinstance(message, Wake):
        return (ChatWriter(begun) if begun else None), ()
    before = any(one.peer == message.peer for one in begun)
    within = before or len(begun) < message.limit.per_hour
    if within and not before:
        begun = (*begun, BegunChat(message.peer, message.at))[-MAX_PER_HOUR:]
    counted = NewChatCounted(**reply(message), **same_fields(message, NewChatCounted), within=within)
    return (ChatWriter(begun) if begun else None), (counted,)
