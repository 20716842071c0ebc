"""One message of a chat, keyed by its id, which is made of the sender and the client's own id.

State: `schemas.chat_message.ChatMessage`. Both lines are asked whether a message may come, then the chat, which gives it its
place, or knows of a block. Laws: one id is one message, whatever is sent again, and by which phone; whoever is banned, or has
not signed up, writes nothing and is written nothing; what was refused or deleted has no text any more, and no fact has one.
Refusals: `schemas.chat_message.ChatRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from schemas.chat import AskEdit, ChatMessageInbox, EditAdmitted, ItemPosted, MessageBarred, PostMessage
from schemas.chat_message import (
    DELETE_FOR,
    EDIT_FOR,
    ChatMessage,
    ChatRefusal,
    DeleteMessage,
    EditMessage,
    ForgetMessages,
    MessageDeleted,
    MessageEdited,
    MessageRefused,
    MessageRepeated,
    SendMessage,
)
from schemas.erased import with_erased
from schemas.log.base import EPOCH, REMEMBERED_FOR, Message, UserId, Wake, derive, later, reply, same_fields
from schemas.pair import pair_of
from schemas.video_line import AdmitMessage, LineRefusal, MessageAdmitted

Decision = tuple[ChatMessage | None, Sequence[Message]]

OF_SENDER: Final = {
    LineRefusal.UNKNOWN: ChatRefusal.SENDER_UNKNOWN,
    LineRefusal.NO_TALKER: ChatRefusal.SENDER_UNKNOWN,
    LineRefusal.BANNED: ChatRefusal.SENDER_BANNED,
    LineRefusal.BLOCKED: ChatRefusal.BLOCKED,
}
OF_RECEIVER: Final = {
    LineRefusal.UNKNOWN: ChatRefusal.RECEIVER_UNKNOWN,
    LineRefusal.NO_TALKER: ChatRefusal.RECEIVER_UNKNOWN,
    LineRefusal.BANNED: ChatRefusal.RECEIVER_BANNED,
    LineRefusal.BLOCKED: ChatRefusal.RECEIVER_BLOCKS,
}


def decide_chat_message(state: ChatMessage | None, message: ChatMessageInbox, common: ChatMessage | None = None) -> Decision:
    """Decide one message of a message's inbox, under the senders that its partition was told were erased."""
    erased = common.erased if common is not None else ()
    match message:
        case ForgetMessages():
            nobody, users = UserId("@"), with_erased(state.erased if state else (), message.user)
            return ChatMessage(nobody, nobody, "@", EPOCH, erased=users), ()
        case SendMessage():
            return _begin(message, erased) if state is None else (state, (_again(state, message),))
        case EditMessage() if message.user in erased:
            return state, _by_sender(None, message)[1]
        case EditMessage() | DeleteMessage():
            return _by_sender(state, message)
        case _ if state is None:
            return None, ()
        case Wake() if state.sender in erased and state.refusal is None and not state.deleted_at:
            return _forget(state, message)
        case Wake():
            return (None if state.is_due(message.at) else state), ()
        case MessageAdmitted():
            return _admitted(state, message)
        case ItemPosted():
            return (state if state.seq or state.refusal else replace(state, seq=message.seq)), ()
        case MessageBarred():
            return _barred(state, message)
        case EditAdmitted():
            return _edited(state, message)


def _begin(message: SendMessage, erased: Sequence[str]) -> Decision:
    state = ChatMessage(
        message.sender, message.receiver, message.id, message.at, message.text, message.picture_url, asks=2
    )  # fmt: skip
    if message.sender == message.receiver:
        return _refuse(state, message, message.message, ChatRefusal.SAME_USER)
    if message.sender in erased:
        return _refuse(state, message, message.message, ChatRefusal.SENDER_UNKNOWN)
    sides = ((message.receiver, message.sender), (message.sender, message.receiver))
    return state, [
        AdmitMessage(**derive(message, number), user=user, message=message.message, peer=peer)
        for number, (user, peer) in enumerate(sides)
    ]


def _again(state: ChatMessage, message: SendMessage) -> Message:
    if (message.sender, message.receiver) != (state.sender, state.receiver):
        reused = ChatRefusal.CLIENT_ID_REUSED
        return MessageRefused(**reply(message), **same_fields(message, MessageRefused), refusal=reused)
    return MessageRepeated(
        **reply(message), **same_fields(message, MessageRepeated), seq=state.seq, refusal=state.refusal
    )  # fmt: skip


def _admitted(state: ChatMessage, message: MessageAdmitted) -> Decision:
    """One of both lines has answered; with both the chat is asked."""
    if not state.asks or state.refusal is not None:
        return state, ()
    if message.refusal is not None:
        refusals = OF_SENDER if message.user == state.sender else OF_RECEIVER
        return _refuse(state, message, message.message, refusals.get(message.refusal, ChatRefusal.RECEIVER_UNKNOWN))
    after = replace(state, asks=state.asks - 1)
    if after.asks:
        return after, ()
    post = PostMessage(
        **derive(message, 0), pair=pair_of(state.sender, state.receiver), user=state.sender, peer=state.receiver,
        message=message.message, asked=state.asked, length=len(state.text),
    )  # fmt: skip
    return after, (post,)


def _refuse(state: ChatMessage, message: Message, name: str, refusal: ChatRefusal) -> Decision:
    """It is not sent: its text is gone, its outcome stays for a day."""
    after = replace(
        state, text="", picture_url="", asks=0, refusal=refusal, forget_at=later(message.at, REMEMBERED_FOR)
    )  # fmt: skip
    return after, (_refused(state, message, name, state.asked, refusal),)


def _refused(state: ChatMessage, message: Message, name: str, to: str, refusal: ChatRefusal) -> MessageRefused:
    return MessageRefused(
        **reply(message, to=to), message=name, sender=state.sender, receiver=state.receiver, refusal=refusal
    )  # fmt: skip


# --- what its sender does with it -------------------------------------------------------------------------------------------


def refusal_of(state: ChatMessage | None, message: EditMessage | DeleteMessage) -> ChatRefusal | None:
    """The first guard that the message fails, or None."""
    if state is None or not state.seq or {message.user, message.peer} != {state.sender, state.receiver}:
        return ChatRefusal.MESSAGE_UNKNOWN
    if message.user != state.sender:
        return ChatRefusal.NOT_SENDER
    if isinstance(message, DeleteMessage):
        late = message.at > later(state.sent_at, DELETE_FOR) and not state.deleted_at
        return ChatRefusal.TOO_LATE if late else None
    if state.deleted_at is not None:
        return ChatRefusal.MESSAGE_DELETED
    if message.at > later(state.sent_at, EDIT_FOR):
        return ChatRefusal.TOO_LATE
    return ChatRefusal.EDIT_PENDING if state.draft_asked else None


def _by_sender(state: ChatMessage | None, message: EditMessage | DeleteMessage) -> Decision:
    refusal = refusal_of(state, message)
    if refusal is not None or state is None:
        refused = MessageRefused(
            **reply(message), message=message.message, sender=message.user, receiver=message.peer,
            refusal=refusal or ChatRefusal.MESSAGE_UNKNOWN,
        )  # fmt: skip
        return state, (refused,)
    if isinstance(message, EditMessage):
        draft = replace(
            state, draft=message.text, draft_picture_url=message.picture_url, draft_asked=message.id
        )  # fmt: skip
        ask = AskEdit(
            **derive(message, 0), pair=pair_of(state.sender, state.receiver), user=state.sender, peer=state.receiver,
            message=message.message, asked=message.id,
        )  # fmt: skip
        return draft, (ask,)
    return _delete(state, message, message.message)


def _forget(state: ChatMessage, message: Wake) -> Decision:
    """Its sender was erased: it is taken back from both, or never sent."""
    if not state.seq:
        return _refuse(_without_draft(state), message, message.key, ChatRefusal.SENDER_UNKNOWN)
    return _delete(state, message, message.key)


def _delete(state: ChatMessage, message: DeleteMessage | Wake, name: str) -> Decision:
    """It is taken back from both: its text and its draft are gone."""
    deleted = MessageDeleted(**reply(message), message=name, sender=state.sender, receiver=state.receiver, seq=state.seq)
    deleted_at = state.deleted_at or message.at
    return replace(_without_draft(state), text="", picture_url="", deleted_at=deleted_at), (deleted,)


def _without_draft(state: ChatMessage) -> ChatMessage:
    return replace(state, draft="", draft_picture_url="", draft_asked="")


def _barred(state: ChatMessage, message: MessageBarred) -> Decision:
    if message.asked == state.asked:
        return (state, ()) if state.seq or state.refusal else _refuse(state, message, message.message, message.refusal)
    refused = _refused(state, message, message.message, message.asked, message.refusal)
    return (_without_draft(state) if message.asked == state.draft_asked else state), (refused,)


def _edited(state: ChatMessage, message: EditAdmitted) -> Decision:
    """The chat lets the draft through; a message that was deleted meanwhile stays so."""
    if message.asked != state.draft_asked:
        refused = _refused(state, message, message.message, message.asked, ChatRefusal.MESSAGE_DELETED)
        return state, (refused,)
    edited = MessageEdited(
        **reply(message, to=message.asked), message=message.message, sender=state.sender, receiver=state.receiver,
        seq=state.seq, length=len(state.draft),
    )  # fmt: skip
    text = {"text": state.draft, "picture_url": state.draft_picture_url}
    return replace(_without_draft(state), **text, edited_at=message.at), (edited,)
