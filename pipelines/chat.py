"""Chats, keyed by pair of users, their pages, and each user's badge.

States: `schemas.chat`. Laws: items have the numbers 1, 2, 3 ... and each stands on its page; nothing of somebody comes after
the other's block; a call, and a gift, is one item; marks only rise; unread are those of the newest KEPT items behind the mark
that are the other's and not gone, nor in a chat that was hidden since; a badge is the sum over all chats of its user.
Refusals: `schemas.chat_message.ChatRefusal`.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from schemas.blocklist import UserBlocked, UserUnblocked
from schemas.chat import (
    KEPT,
    PAGE_ITEMS,
    AskEdit,
    BadgeChanged,
    Chat,
    ChatBadge,
    ChatBadgeInbox,
    ChatHidden,
    ChatInbox,
    ChatItem,
    ChatMuted,
    ChatPage,
    ChatPageInbox,
    ChatRead,
    ChatRefused,
    ChatSide,
    CountUnread,
    EditAdmitted,
    HideChat,
    HideItem,
    ItemHidden,
    ItemKind,
    ItemPosted,
    MessageBarred,
    MuteChat,
    PostMessage,
    ReadChat,
    kept_ref,
    page_key,
    side_of,
)
from schemas.chat_message import ChatRefusal, MessageDeleted
from schemas.chat_report import KeepEvidence, evidence_name
from schemas.chat_witness import (
    EVIDENCE_KEPT,
    REPORT_EVERY,
    AskEvidence,
    ReportAdmitted,
    ReportRefusal,
    WitnessItems,
    WitnessMessage,
)
from schemas.gift import GiftSent
from schemas.log.base import Message, UserId, Wake, derive, later, reply, same_fields
from schemas.pair import pair_of
from schemas.video import CallEnded

Decision = tuple[Chat | None, Sequence[Message]]

NOTHING: Final = Chat()


def decide_chat(chat: Chat | None, message: ChatInbox) -> Decision:
    """Decide one message of a pair's inbox."""
    state = chat or NOTHING
    match message:
        case Wake():
            return chat, ()
        case UserBlocked() | UserUnblocked():
            return _bar(state, message)
        case CallEnded():
            return _call(state, message)
        case GiftSent():
            return _gift(state, message)
        case MessageDeleted():
            pair = pair_of(message.sender, message.receiver)
            return _settled(state, _taken_back(state, message.seq), message, pair) if chat else (None, ())
        case AskEvidence():
            return _report(chat, message)
        case PostMessage() | AskEdit():
            refusal = _barrier(state, side_of(message.pair, message.user))
            if refusal is not None:
                return chat, (MessageBarred(**reply(message), **same_fields(message, MessageBarred), refusal=refusal),)
            if isinstance(message, AskEdit):
                return chat, (EditAdmitted(**reply(message), **same_fields(message, EditAdmitted)),)
            return _written(state, message)
    refusal = refusal_of(state, message)
    if refusal is not None:
        return chat, (ChatRefused(**reply(message), **same_fields(message, ChatRefused), refusal=refusal),)
    return _change(state, message)


def refusal_of(chat: Chat, message: ReadChat | MuteChat | HideItem | HideChat) -> ChatRefusal | None:
    """The first guard that the message fails, or None."""
    if not chat.seq:
        return ChatRefusal.CHAT_UNKNOWN
    there = not isinstance(message, HideItem) or 1 <= message.seq <= chat.seq
    return None if there else ChatRefusal.ITEM_UNKNOWN


def _barrier(chat: Chat, side: int) -> ChatRefusal | None:
    """What stands between the two, as this side is told in the facts."""
    if chat.sides[side].bars:
        return ChatRefusal.BLOCKED
    return ChatRefusal.RECEIVER_BLOCKS if chat.sides[1 - side].bars else None


def _bar(chat: Chat, message: UserBlocked | UserUnblocked) -> Decision:
    side = side_of(pair_of(message.user, message.peer), message.user)
    after = _with_side(chat, side, replace(chat.sides[side], bars=isinstance(message, UserBlocked)))
    return (None if after == NOTHING else after), ()


def _with_side(chat: Chat, side: int, after: ChatSide) -> Chat:
    return replace(chat, sides=(after, chat.sides[1]) if side == 0 else (chat.sides[0], after))


# --- items ------------------------------------------------------------------------------------------------------------------


def _written(chat: Chat, message: PostMessage) -> Decision:
    posted = ItemPosted(
        **reply(message, "item", to=message.asked), pair=message.pair, user=message.user, peer=message.peer, seq=chat.seq + 1,
        ref=kept_ref(message.message), length=message.length, campaign=message.campaign,
    )  # fmt: skip
    return _post(chat, posted)


def _call(chat: Chat, ended: CallEnded) -> Decision:
    """A call that nobody took is unread for the one who was called, unless a block stands between the two."""
    pair = pair_of(ended.caller, ended.callee)
    posted = ItemPosted(
        **reply(ended, "item"), pair=pair, user=ended.caller, peer=ended.callee, seq=chat.seq + 1, kind=ItemKind.CALL,
        ref=kept_ref(ended.call), reason=ended.told_to(""), connected=ended.connected, duration_s=ended.duration_s,
        quiet=ended.connected or chat.barred,
    )  # fmt: skip
    return _post(chat, posted)


def _gift(chat: Chat, sent: GiftSent) -> Decision:
    pair = pair_of(sent.sender, sent.receiver)
    posted = ItemPosted(
        **reply(sent, "item"), pair=pair, user=sent.sender, peer=sent.receiver, seq=chat.seq + 1, kind=ItemKind.GIFT,
        ref=kept_ref(sent.gift), item=kept_ref(sent.item), price_coins=sent.price_coins, share_coins=sent.share_coins,
    )  # fmt: skip
    return _post(chat, posted)


def _post(chat: Chat, posted: ItemPosted) -> Decision:
    """The next item, unless it stands there already."""
    if any((item.kind, item.ref) == (posted.kind, posted.ref) for item in chat.items):
        return chat, ()
    posted = replace(posted, muted=chat.sides[side_of(posted.pair, posted.peer)].muted)
    after = replace(chat, seq=posted.seq, items=(*chat.items, _item_of(posted))[-KEPT:])
    return _settled(chat, after, posted, posted.pair, posted)


def _item_of(posted: ItemPosted) -> ChatItem:
    return ChatItem(**same_fields(posted, ChatItem), at=posted.at, by=side_of(posted.pair, posted.user))


def _taken_back(chat: Chat, seq: int) -> Chat:
    """The message at this place is unread for nobody: it is not there any more."""
    return replace(chat, items=tuple(replace(item, quiet=True) if item.seq == seq else item for item in chat.items))


def _hidden(items: Sequence[ChatItem], seq: int, side: int) -> tuple[ChatItem, ...]:
    return tuple(replace(item, gone=item.gone | 1 << side) if item.seq == seq else item for item in items)


# --- what is unread ---------------------------------------------------------------------------------------------------------


def _change(chat: Chat, message: ReadChat | MuteChat | HideItem | HideChat) -> Decision:
    side = side_of(message.pair, message.user)
    own = chat.sides[side]
    match message:
        case ReadChat():
            read = max(own.read, min(message.seq, chat.seq))
            after, counts = _settled(chat, _with_side(chat, side, replace(own, read=read)), message, message.pair)
            told = ChatRead(
                **reply(message), pair=message.pair, user=message.user, peer="" if chat.barred else message.peer, seq=read,
                unread=after.sides[side].unread,
            )  # fmt: skip
            return after, (told, *counts)
        case MuteChat():
            muted = ChatMuted(**reply(message), **same_fields(message, ChatMuted))
            return _with_side(chat, side, replace(own, muted=message.muted)), (muted,)
        case HideItem():
            hidden = ItemHidden(**reply(message), **same_fields(message, ItemHidden))
            return _settled(chat, replace(chat, items=_hidden(chat.items, message.seq, side)), message, message.pair, hidden)
        case HideChat():
            gone = ChatHidden(**reply(message), **same_fields(message, ChatHidden), seq=chat.seq)
            return _settled(chat, _with_side(chat, side, replace(own, hidden=chat.seq)), message, message.pair, gone)


def unread_of(chat: Chat, side: int) -> int:
    """How many of the items that the chat remembers a side has not read."""
    read = max(chat.sides[side].read, chat.sides[side].hidden)
    return sum(item.seq > read and item.by != side and not item.quiet and not item.gone >> side & 1 for item in chat.items)


def _settled(before: Chat, after: Chat, message: Message, pair: str, *told: Message) -> tuple[Chat, Sequence[Message]]:
    """The chat with both sides counted again, and what their badges are told."""
    one, _, other = pair.partition("/")
    counts: list[Message] = []
    for side, user in enumerate((one, other)):
        unread = unread_of(after, side)
        if change := unread - before.sides[side].unread:
            after = _with_side(after, side, replace(after.sides[side], unread=unread))
            counts.append(CountUnread(**derive(message, f"unread/{side}"), user=UserId(user), change=change))
    return after, (*told, *counts)


def decide_chat_badge(badge: ChatBadge | None, message: ChatBadgeInbox) -> tuple[ChatBadge | None, Sequence[Message]]:
    """Decide one message of a user's badge: it is the sum of what its chats tell."""
    if isinstance(message, Wake):
        return badge, ()
    unread = (badge.unread if badge else 0) + message.change
    return ChatBadge(unread) if unread else None, (BadgeChanged(**reply(message), user=message.user, unread=unread),)


# --- reports ----------------------------------------------------------------------------------------------------------------


def report_refusal_of(chat: Chat, message: AskEvidence) -> ReportRefusal | None:
    """The first guard that a report fails, or None."""
    reported_at = chat.sides[side_of(message.pair, message.user)].reported_at
    if not chat.seq:
        return ReportRefusal.CHAT_UNKNOWN
    if reported_at is not None and message.at < later(reported_at, REPORT_EVERY):
        return ReportRefusal.REPORTED_LATELY
    return None if max(message.seqs, default=1) <= chat.seq else ReportRefusal.ITEM_UNKNOWN


def _report(chat: Chat | None, message: AskEvidence) -> Decision:
    """Each page is asked for its items; they come as evidence as they are then."""
    names = same_fields(message, ReportAdmitted) | {"seqs": ()}
    refusal = report_refusal_of(chat or NOTHING, message)
    if refusal is not None or chat is None:
        return chat, (ReportAdmitted(**reply(message), **names, refusal=refusal),)
    seqs = tuple(sorted(set(message.seqs))) or tuple(range(max(1, chat.seq - KEPT + 1), chat.seq + 1))
    pages: dict[str, tuple[int, ...]] = {}
    for seq in seqs:
        page = page_key(message.pair, seq)
        pages[page] = (*pages.get(page, ()), seq)
    until = later(message.at, EVIDENCE_KEPT)
    asks = [
        WitnessItems(**derive(message, page), page=page, report=message.report, pair=message.pair, seqs=some, until=until)
        for page, some in pages.items()
    ]
    side = side_of(message.pair, message.user)
    after = _with_side(chat, side, replace(chat.sides[side], reported_at=message.at))
    return after, (ReportAdmitted(**reply(message), **(names | {"seqs": seqs})), *asks)


# --- pages ------------------------------------------------------------------------------------------------------------------


def decide_chat_page(page: ChatPage | None, message: ChatPageInbox) -> tuple[ChatPage | None, Sequence[Message]]:
    """Decide one message of a page's inbox: it has its chat's items, in their order."""
    match message:
        case ItemPosted():
            before = page.items if page else ()
            short = replace(message, ref=kept_ref(message.ref), item=kept_ref(message.item))
            return ChatPage((*before, _item_of(short))[-PAGE_ITEMS:]), ()
        case ItemHidden() if page is not None:
            return ChatPage(_hidden(page.items, message.seq, side_of(message.pair, message.user))), ()
        case WitnessItems():
            items = {item.seq: item for item in (page.items if page else ())}
            return page, [_witness(message, seq, items.get(seq)) for seq in message.seqs]
    return page, ()


def _witness(ask: WitnessItems, seq: int, item: ChatItem | None) -> Message:
    """What a page knows of an item; a message says the rest itself."""
    one, _, other = ask.pair.partition("/")
    by = UserId(other if item and item.by else one)
    of_item: dict[str, Any] = {
        "report": ask.report,
        "seq": seq,
        "sender": by,
        "sent_at": item.at if item else ask.at,
        "until": ask.until,
    }
    if item is not None and item.kind is ItemKind.MESSAGE:
        return WitnessMessage(**derive(ask, seq), message=item.ref, **of_item)
    kind, ref = (item.kind, item.ref) if item else (ItemKind.MESSAGE, "")
    name = evidence_name(ask.report, seq)
    return KeepEvidence(**derive(ask, seq), evidence=name, **of_item, kind=kind, ref=ref, deleted=item is None)
