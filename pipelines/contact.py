"""Contact, keyed by pair of users: who has met counts against each other.

State: whether they met, who wrote to whom, what was counted, what waits for a meeting (`schemas.interaction.Contact`).
Laws: a block counts when, and only when, the two have met, or meet within a day and it has not been taken back before; each of
both counts once for a reason; a meeting is told once to each side's record. Who writes has been met by the other only.
"""

from collections.abc import Sequence
from typing import TypeVar

from msgspec.structs import replace

from schemas.blocklist import CountContact, UserBlocked, UserUnblocked, VouchBlock
from schemas.chat import ItemPosted
from schemas.gift import GiftSent
from schemas.interaction import MET_FOR, PENDING_FOR, Contact, ContactInbox, ContactMade, PendingBlock
from schemas.log.base import Message, UserId, Wake, derive, in_calendar, later, reply
from schemas.pair import pair_of
from schemas.video import CallEnded

T = TypeVar("T")
Decision = tuple[Contact | None, Sequence[Message]]


def decide_contact(contact: Contact | None, message: ContactInbox) -> Decision:
    """Decide one message of a pair's inbox."""
    match message:
        case Wake():
            return (None if contact is not None and contact.is_due(message.at) else contact), ()
        case CallEnded():
            return _meet(contact, message, message.caller, message.callee)
        case GiftSent():
            return _meet(contact, message, message.sender, message.receiver)
        case ItemPosted():
            return _write(contact, message)
        case UserUnblocked():
            return _take_back(contact, message), ()
        case UserBlocked():
            return _block(contact, message)


def _write(contact: Contact | None, message: ItemPosted) -> Decision:
    """With an answer the two have met. The first message is the writer's meeting, and lets a block by the other count."""
    state = contact or Contact(in_calendar(message.at))
    if state.met or message.peer in state.wrote:
        return _meet(contact, message, message.user, message.peer)
    forget_at = max(state.forget_at, later(message.at, MET_FOR))
    if message.user in state.wrote:
        return replace(state, forget_at=forget_at), ()
    pending = {by: block for by, block in state.pending.items() if by != message.peer}
    after = replace(state, forget_at=forget_at, wrote=(message.user,), pending=pending)
    counted = CountContact(**derive(message, "met/1"), user=message.user)
    block = state.pending.get(message.peer)
    if block is None or message.at > later(block.at, PENDING_FOR):
        return after, (counted,)
    after, more = _count(after, message, message.peer, message.user, block)
    return after, (counted, *more)


def _meet(contact: Contact | None, message: CallEnded | GiftSent | ItemPosted, one: UserId, other: UserId) -> Decision:
    state, forget_at = contact or Contact(in_calendar(message.at)), later(message.at, MET_FOR)
    if state.met:
        return replace(state, forget_at=max(state.forget_at, forget_at)), ()
    made = ContactMade(**reply(message, "met"), pair=pair_of(one, other), user=one, peer=other)
    sides = ((1, one), (2, other))
    told: list[Message] = [
        made, *(CountContact(**derive(message, f"met/{n}"), user=user) for n, user in sides if user not in state.wrote),
    ]  # fmt: skip
    after = replace(state, met=True, forget_at=forget_at, pending={})
    for by, block in state.pending.items():
        if message.at <= later(block.at, PENDING_FOR):
            after, more = _count(after, message, UserId(by), other if by == one else one, block)
            told += more
    return after, told


def _block(contact: Contact | None, message: UserBlocked) -> Decision:
    state, block = contact or Contact(in_calendar(message.at)), PendingBlock(message.reason, message.rules, message.at)
    if state.met or message.peer in state.wrote:
        return _count(state, message, message.user, message.peer, block)
    waits = max(state.forget_at, later(message.at, PENDING_FOR))
    return replace(state, forget_at=waits, pending=_of_two(state.pending, message.user, block)), ()


def _of_two(before: dict[str, T], user: str, value: T) -> dict[str, T]:
    """A table of the two sides with one side's new value. There is no third side; should one come, the state keeps its size."""
    others = [item for item in before.items() if item[0] != user]
    return dict([*others[-1:], (user, value)])


def _take_back(contact: Contact | None, message: UserUnblocked) -> Contact | None:
    if contact is None or message.user not in contact.pending:
        return contact
    pending = {by: block for by, block in contact.pending.items() if by != message.user}
    return replace(contact, pending=pending) if pending or contact.met else None


def _count(
    contact: Contact, message: Message, by: UserId, user: UserId, block: PendingBlock
) -> tuple[Contact, Sequence[VouchBlock]]:
    """Count a block once: the blocker's own record vouches for its user."""
    before = contact.counted.get(by, ())
    if block.reason in before:
        return contact, ()
    vouch = VouchBlock(
        **derive(message, f"block/{by}", block.at), user=by, peer=user, reason=block.reason, rules=block.rules
    )  # fmt: skip
    return replace(contact, counted=_of_two(contact.counted, by, (*before, block.reason))), (vouch,)
