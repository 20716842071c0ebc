"""Postback rules: the one book that says which conversion is told to whom, as what. Each change is told to every partition of
`attribution`. Laws: versions grow by one; whatever serving has checked is in force for the conversions that come behind it."""

from collections.abc import Sequence

from schemas.ads import ShareRules
from schemas.log.base import Message, UserId, Wake, derive, reply
from schemas.log.entity import broadcast_keys, log_partitions
from schemas.postback import PostbackBook, PostbackRulesPut, RulesInbox


def decide_postback_rules(book: PostbackBook | None, message: RulesInbox) -> tuple[PostbackBook | None, Sequence[Message]]:
    """Decide one message of the book of rules."""
    if isinstance(message, Wake):
        return book, ()
    after = PostbackBook((book.version if book else 0) + 1, message.rules)
    put = PostbackRulesPut(
        **reply(message), book=message.book, rules=after.rules, version=after.version, by=message.by
    )  # fmt: skip
    shares = [
        ShareRules(**derive(message, f"to/{key}"), user=UserId(key), shared=after) for key in broadcast_keys(log_partitions())
    ]
    return after, (put, *shares)
