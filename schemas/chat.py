"""Chat: `chat` (what stands between two users, keyed by the pair), `chat_message` (one message, once: `schemas.chat_message`),
`chat_page` (a share of a chat's items) and `chat_badge` (how much one user has not read).

A chat remembers its newest items; all of them stand in pages, so that no state grows with a talk.
"""

from enum import StrEnum
from hashlib import sha256
from re import compile as pattern
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.billing_rules import CallKind
from schemas.blocklist import UserBlocked, UserUnblocked
from schemas.chat_message import (
    SENDER_IS_TOLD,
    ChatMessage,
    ChatRefusal,
    DeleteMessage,
    EditMessage,
    ForgetMessages,
    Length,
    MessageDeleted,
    MessageEdited,
    MessageRefused,
    MessageRepeated,
    SendMessage,
)
from schemas.chat_rules import NewChatCounted
from schemas.chat_witness import AskEvidence, ReportAdmitted, WitnessItems, WitnessMessage
from schemas.gift import GiftSent, if_paid
from schemas.log.base import Fact, Fields, Id, Message, MessageName, Refused, State, Time, Wake
from schemas.log.entity import DAY_S, Entity, Flow, Hears, Shown
from schemas.log.personal import PLAIN
from schemas.pair import PairKey, pair_by, pair_of
from schemas.user import Code, OptionalUser, User_, UserCommand, UserFact
from schemas.video import CallEnded, EndReason
from schemas.video_line import MessageAdmitted

# So many of the newest items a chat remembers: unread ones are counted among these, so that 50 is to be read as 50 or more.
KEPT: Final = 50
PAGE_ITEMS: Final = 32

Side = Annotated[int, Meta(ge=0, le=1)]
# Ids of messages, calls, gifts and things in the catalogue; see `kept_ref`.
KeptRef = Annotated[str, Meta(max_length=128, extra={"max_bytes": 130}), PLAIN]
_SHORT: Final = pattern(r"[ !#-\[\]-~]{0,128}")


def kept_ref(name: str) -> str:
    """An id as a list keeps it: itself, or the digest of one that JSON writes longer, as none of ours is."""
    return name if _SHORT.fullmatch(name) else sha256(name.encode()).hexdigest()


def side_of(pair: str, user: str) -> int:
    """0 for the first of the pair, 1 for the other."""
    return int(user != pair.partition("/")[0])


def page_key(pair: str, seq: int) -> str:
    """The page on which an item stands."""
    return f"{pair}/{(seq - 1) // PAGE_ITEMS}"


class ItemKind(StrEnum):
    """What an item of a chat is. Members are only ever added."""

    MESSAGE = "message"
    CALL = "call"
    GIFT = "gift"


class ItemFields(Fields):
    """What an item says. `ref`: the message's, the call's or the gift's id. `length`: of a message's text. Of a call: why it
    ended, whether it connected, how long it was; of a gift: the thing, its price, and the receiver's share."""

    seq: int
    kind: ItemKind = ItemKind.MESSAGE
    ref: KeptRef = ""
    length: Length = 0
    reason: EndReason | None = None
    connected: bool = False
    duration_s: float = 0.0
    item: KeptRef = ""
    price_coins: int = 0
    share_coins: int = 0


class _ToChat(Message):
    pair: PairKey
    user: User_
    peer: User_


class PostMessage(_ToChat):
    """`user` has written a message to `peer`; `asked`: by which request; `campaign`: of outreach, in the user's name."""

    message: Id
    asked: MessageName
    length: Length = 0
    campaign: Code = ""


class AskEdit(_ToChat):
    """May `user` edit this message to `peer`? Answered by EditAdmitted or MessageBarred."""

    message: Id
    asked: MessageName


class ReadChat(_ToChat):
    """`user` has read up to the item `seq`."""

    seq: Annotated[int, Meta(ge=0)]


class MuteChat(_ToChat):
    """`user` wants to be left alone by this chat, or not any more."""

    muted: bool = True


class HideItem(_ToChat):
    """`user` does not want to see this item any more; `peer` still does."""

    seq: Annotated[int, Meta(ge=0)]


class HideChat(_ToChat):
    """`user` does not want to see the chat in the list until it has another item."""


class _OfChat(Fact):
    pair: PairKey
    user: User_
    peer: User_


class ItemPosted(_OfChat, ItemFields):
    """The next item: `user` wrote to, called or gave to `peer`. `quiet`: it is unread for nobody; `muted`: the chat is, for
    `peer`; `campaign`: outreach wrote it, in the user's name."""

    quiet: bool = False
    muted: bool = False
    campaign: Code = ""


class MessageBarred(_OfChat, Refused):
    """A block stands between the two: the message, or its edit, is not taken."""

    told_as = SENDER_IS_TOLD
    message: Id
    asked: MessageName
    refusal: ChatRefusal


class EditAdmitted(_OfChat):
    """The message may be edited."""

    changes_state: ClassVar[bool] = False
    message: Id
    asked: MessageName


class ChatRead(Fact):
    """`user` has read up to `seq`; `unread`: how many items are left. `peer` is empty where a block stands between the two."""

    pair: PairKey
    user: User_
    peer: OptionalUser
    seq: int
    unread: int = 0


class ChatMuted(_OfChat):
    """The chat is quiet for `user`, or not any more."""

    muted: bool


class ItemHidden(_OfChat):
    """`user` does not see the item any more."""

    seq: int


class ChatHidden(_OfChat):
    """The chat is not in the user's list until there is an item behind `seq`; up to there nothing is unread."""

    seq: int


class ChatRefused(_OfChat, Refused):
    """Nothing was changed."""

    refusal: ChatRefusal


class _Dated(State):
    at: Time


class ChatItem(_Dated, ItemFields):
    """An item, as a chat and its pages keep it. `by`: whose it is; `quiet`: it is unread for nobody, as a talk, or
    a message that was taken back; `gone`: for whom it is hidden, a bit for each side."""

    by: Side = 0
    quiet: bool = False
    gone: Annotated[int, Meta(ge=0, le=3)] = 0


class ChatSide(State):
    """One side of a chat: how far it has read, how much it has not, whether it has blocked the other, when it reported the
    chat last, and up to which item it has hidden the chat."""

    read: int = 0
    unread: Annotated[int, Meta(ge=0, le=KEPT)] = 0
    muted: bool = False
    bars: bool = False
    reported_at: Time | None = None
    hidden: int = 0


class Chat(State):
    """What is between two: how many items there were, the newest of them, and each side."""

    seq: int = 0
    items: Annotated[tuple[ChatItem, ...], Meta(max_length=KEPT)] = ()
    sides: Annotated[tuple[ChatSide, ...], Meta(max_length=2)] = (ChatSide(), ChatSide())

    @property
    def barred(self) -> bool:
        """Whether one of the two has blocked the other."""
        return any(side.bars for side in self.sides)


class ChatPage(State):
    """A share of a chat's items, in order."""

    items: Annotated[tuple[ChatItem, ...], Meta(max_length=PAGE_ITEMS)] = ()


class CountUnread(UserCommand):
    """A chat of the user's has so many unread items more, or fewer."""

    change: Annotated[int, Meta(ge=-KEPT, le=KEPT)]


class BadgeChanged(UserFact):
    """So many items the user has not read, in all chats."""

    unread: int


class ChatBadge(State):
    """How many items a user has not read, in all chats."""

    unread: int = 0


def _of_call(ended: CallEnded) -> str:
    """Who watches a recorded film talks to nobody."""
    return "" if ended.kind is CallKind.CLIP else pair_of(ended.caller, ended.callee)


def _message_of(posted: ItemPosted) -> str:
    return posted.ref if posted.kind is ItemKind.MESSAGE else ""


def message_sender(posted: ItemPosted) -> str:
    """Who wrote; empty where the item is no message, or one of outreach."""
    return posted.user if posted.kind is ItemKind.MESSAGE and not posted.campaign else ""


def _page_of(fact: ItemPosted | ItemHidden) -> str:
    return page_key(fact.pair, fact.seq)


ChatMessageInbox = (
    SendMessage
    | EditMessage
    | DeleteMessage
    | ForgetMessages
    | MessageAdmitted
    | ItemPosted
    | MessageBarred
    | EditAdmitted
    | WitnessMessage
    | NewChatCounted
    | Wake
)
ChatInbox = (
    PostMessage | AskEdit | ReadChat | MuteChat | HideItem | HideChat | CallEnded | GiftSent | UserBlocked | UserUnblocked
    | MessageDeleted | AskEvidence | Wake
)  # fmt: skip
ChatPageInbox = ItemPosted | ItemHidden | WitnessItems | Wake
ChatBadgeInbox = CountUnread | Wake

CHAT_MESSAGE: Final = Entity(
    "chat_message",
    key="message",
    flow=Flow.LIVE,
    state=ChatMessage,
    commands=(SendMessage, EditMessage, DeleteMessage, ForgetMessages, WitnessMessage),
    facts=(MessageRefused, MessageRepeated, MessageEdited, MessageDeleted),
    hears=(
        Hears(MessageAdmitted, "message", "both sides let a message through, or not"),
        Hears(ItemPosted, _message_of, "a message learns its place"),
        Hears(MessageBarred, "message", "a block stands between the two"),
        Hears(EditAdmitted, "message", "a message may be edited"),
        Hears(NewChatCounted, "message", "a message may begin a chat, or not"),
    ),
    shown=(
        Shown(MessageEdited, ("sender", "receiver"), "both phones show the new text"),
        Shown(MessageDeleted, ("sender", "receiver"), "both phones take it away"),
    ),
    raw="what was sent stands in `chat_items`",
    private=True,
    inbox_retention_s=7 * DAY_S,
    broadcast=True,
)
CHAT: Final = Entity(
    "chat",
    key="pair",
    flow=Flow.LIVE,
    state=Chat,
    commands=(PostMessage, AskEdit, ReadChat, MuteChat, HideItem, HideChat, AskEvidence),
    facts=(
        ItemPosted, MessageBarred, EditAdmitted, ChatRead, ChatMuted, ItemHidden, ChatHidden, ChatRefused, ReportAdmitted,
    ),
    hears=(
        Hears(CallEnded, _of_call, "a call between two stands in their chat"),
        Hears(GiftSent, if_paid(pair_by("sender", "receiver")), "a gift between two stands in their chat"),
        Hears(UserBlocked, pair_by("user", "peer"), "after a block nothing comes of the other"),
        Hears(UserUnblocked, pair_by("user", "peer"), "the two may write to each other again"),
        Hears(MessageDeleted, pair_by("sender", "receiver"), "what was taken back is not unread"),
    ),
    shown=(
        Shown(ItemPosted, ("user",), "the phone shows it", ("share_coins", "quiet", "muted", "campaign")),
        Shown(ItemPosted, ("peer",), "the phone shows it", ("price_coins", "quiet", "campaign")),
        Shown(ChatRead, ("user",), "the user's other phones know what was read"),
        Shown(ChatRead, ("peer",), "the phone shows what the other has read", ("unread",)),
        Shown(ChatMuted, ("user",), "the user's other phones know"),
        Shown(ItemHidden, ("user",), "the user's other phones take it away"),
        Shown(ChatHidden, ("user",), "the user's other phones take it off their lists"),
    ),
)  # fmt: skip
CHAT_PAGE: Final = Entity(
    "chat_page",
    key="page",
    flow=Flow.LIVE,
    state=ChatPage,
    commands=(WitnessItems,),
    hears=(
        Hears(ItemPosted, _page_of, "every item stands on a page"),
        Hears(ItemHidden, _page_of, "who has hidden an item does not see it"),
    ),
    raw="its items stand in `chat_items`",
)
CHAT_BADGE: Final = Entity(
    "chat_badge",
    key="user",
    flow=Flow.LIVE,
    state=ChatBadge,
    commands=(CountUnread,),
    facts=(BadgeChanged,),
    shown=(Shown(BadgeChanged, ("user",), "the app's badge"),),
    raw="it follows from `chat_items` and what was read",
)
