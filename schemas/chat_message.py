"""One message of a chat: its text, once, whatever is sent again. The entity, with all others of the block: `schemas.chat`.

Facts say who wrote, when and how long, never what: text and picture stand in the message's own state only, and leave with it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from schemas.chat_rules import Findings, NewChats
from schemas.erased import ErasedUsers
from schemas.log.base import Fact, Id, Message, MessageName, Refused, Repeated, State, Time
from schemas.log.personal import PLAIN, WORDS
from schemas.user import Code, User_

MAX_TEXT: Final = 2_000
EDIT_FOR: Final = timedelta(minutes=15)
DELETE_FOR: Final = timedelta(days=2)

Text = Annotated[str, Meta(max_length=MAX_TEXT), WORDS]
Picture = Annotated[str, Meta(max_length=1_024), WORDS]
Length = Annotated[int, Meta(ge=0, le=MAX_TEXT)]


class ChatRefusal(StrEnum):
    """Why something was refused, in order of precedence."""

    SAME_USER = "same_user"
    CLIENT_ID_REUSED = "client_id_reused"
    MESSAGE_UNKNOWN = "message_unknown"
    NOT_SENDER = "not_sender"
    MESSAGE_DELETED = "message_deleted"
    TOO_LATE = "too_late"
    EDIT_PENDING = "edit_pending"
    CONTACT_FORBIDDEN = "contact_forbidden"
    LINK_FORBIDDEN = "link_forbidden"
    WORD_FORBIDDEN = "word_forbidden"
    SENDER_UNKNOWN = "sender_unknown"
    SENDER_BANNED = "sender_banned"
    RECEIVER_UNKNOWN = "receiver_unknown"
    RECEIVER_BANNED = "receiver_banned"
    BLOCKED = "blocked"
    RECEIVER_BLOCKS = "receiver_blocks"
    NOT_REACHABLE = "not_reachable"
    TOO_MANY_NEW_CHATS = "too_many_new_chats"
    CHAT_UNKNOWN = "chat_unknown"
    ITEM_UNKNOWN = "item_unknown"


# Nobody is told who of the two has blocked the other, or that the other is banned: that is for staff and analysts.
SENDER_IS_TOLD: Final[Mapping[StrEnum, StrEnum]] = {
    ChatRefusal.RECEIVER_BANNED: ChatRefusal.NOT_REACHABLE,
    ChatRefusal.BLOCKED: ChatRefusal.NOT_REACHABLE,
    ChatRefusal.RECEIVER_BLOCKS: ChatRefusal.NOT_REACHABLE,
}


class SendMessage(Message):
    """`sender` writes to `receiver`. `message` is made of the sender and the client's own id, so the same one is the same.
    `findings`: what the rules in force have found in the text; `limit`: the one under which it begins a chat; `campaign`: of
    outreach, which writes in the sender's name."""

    message: Id
    sender: User_
    receiver: User_
    text: Text = ""
    picture_url: Picture = ""
    findings: Findings = ()
    limit: NewChats | None = None
    campaign: Code = ""


class EditMessage(Message):
    """`user`, its sender, puts another text in its place, in the chat with `peer`."""

    message: Id
    user: User_
    peer: User_
    text: Text = ""
    picture_url: Picture = ""
    findings: Findings = ()


class DeleteMessage(Message):
    """`user`, its sender, takes it back from both, `user` and `peer`."""

    message: Id
    user: User_
    peer: User_


class ForgetMessages(Message):
    """To the broadcast key of a partition (`message`): `user` was erased, whose messages lose their texts."""

    message: Id
    user: User_


class _OfMessage(Fact):
    message: Id
    sender: User_
    receiver: User_


class MessageRefused(_OfMessage, Refused):
    """It was not sent, edited or deleted. `campaign`: it was outreach that was not sent, in the sender's name."""

    told_as = SENDER_IS_TOLD
    changes_state: ClassVar[bool] = True
    refusal: ChatRefusal
    rule: Code = ""
    campaign: Code = ""


class MessageRepeated(_OfMessage, Repeated):
    """The same message again: its place. No refusal and no place: it is under way."""

    told_as = SENDER_IS_TOLD
    seq: int = 0
    refusal: ChatRefusal | None = None


class MessageEdited(_OfMessage):
    """It has another text."""

    seq: int
    length: Length = 0


class MessageDeleted(_OfMessage):
    """It was taken back from both: its text is gone (told again when it was gone before)."""

    seq: int


class ChatMessage(State):
    """A message: its text while it is there, and its place in the chat. `asks`: how many of those who are asked have not
    answered yet; `rule`: which one puts it before a person; `draft`: a text that waits for the chat's leave. Only one that was
    refused is forgotten, at `forget_at`. The state under a broadcast key has only `erased`: whose messages have no text any
    more."""

    sender: User_
    receiver: User_
    asked: MessageName
    sent_at: Time
    text: Text = ""
    picture_url: Picture = ""
    asks: Annotated[int, Meta(ge=0, le=3)] = 0
    seq: int = 0
    edited_at: Time | None = None
    deleted_at: Time | None = None
    draft: Text = ""
    draft_picture_url: Picture = ""
    draft_asked: Annotated[str, Meta(max_length=640), PLAIN] = ""
    refusal: ChatRefusal | None = None
    forget_at: Time | None = None
    rule: Code = ""
    draft_rule: Code = ""
    erased: ErasedUsers = ()
    campaign: Code = ""

    def behind(self, common: State | None) -> bool:
        """Whether it has words of somebody who was erased."""
        words = self.text or self.picture_url or self.draft or self.draft_picture_url
        return isinstance(common, ChatMessage) and bool(words) and self.sender in common.erased

    @property
    def wake_at(self) -> datetime | None:
        """When it may be forgotten."""
        return self.forget_at
