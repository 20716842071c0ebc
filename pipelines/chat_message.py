"""One message of a chat, keyed by its id, which is made of the sender and the client's own id.

State: `schemas.chat_message.ChatMessage`. Both lines are asked whether a message may come, then the chat, which gives it its
place, or knows of a block. What the rules in force have found in a text comes with it: then it is masked, refused, or put
before a person. Laws: one id is one message, whatever is sent again, and by which phone; whoever is banned, or has not signed
up, writes nothing and is written nothing; what was refused or deleted has no text any more, and no fact has one.
Refusals: `schemas.chat_message.ChatRefusal`, in order of precedence.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from schemas.chat import AskEdit, ChatMessageInbox, EditAdmitted, ItemKind, ItemPosted, MessageBarred, PostMessage
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
from schemas.chat_report import FileReport, KeepEvidence, evidence_name, rule_report
from schemas.chat_rules import (
    ChatRuleAction,
    ChatRuleKind,
    CountNewChat,
    Finding,
    Findings,
    NewChatCounted,
    masked,
    reviewing,
)
from schemas.chat_witness import EVIDENCE_KEPT, WitnessMessage
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
FORBIDDEN: Final = {
    ChatRuleKind.PHONE: ChatRefusal.CONTACT_FORBIDDEN,
    ChatRuleKind.ADDRESS: ChatRefusal.CONTACT_FORBIDDEN,
    ChatRuleKind.MESSENGER: ChatRefusal.CONTACT_FORBIDDEN,
    ChatRuleKind.LINK: ChatRefusal.LINK_FORBIDDEN,
    ChatRuleKind.WORD: ChatRefusal.WORD_FORBIDDEN,
    ChatRuleKind.NEW_CHATS: ChatRefusal.TOO_MANY_NEW_CHATS,
}


def forbidden_by(findings: Findings) -> Finding | None:
    """The finding that a text is refused for: the first one by the order of the refusals."""
    refused = [one for one in findings if one.then is ChatRuleAction.REFUSE]
    return min(refused, key=lambda one: list(ChatRefusal).index(FORBIDDEN[one.kind]), default=None)


def decide_chat_message(  # noqa: PLR0912 - a row a message
    state: ChatMessage | None, message: ChatMessageInbox, common: ChatMessage | None = None
) -> Decision:
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
        case WitnessMessage():
            return state, (_evidence(state, message),)
        case _ if state is None:
            return None, ()
        case Wake() if state.sender in erased and state.refusal is None and not state.deleted_at:
            return _forget(state, message)
        case Wake():
            return (None if state.is_due(message.at) else state), ()
        case MessageAdmitted():
            return _admitted(state, message)
        case NewChatCounted():
            return _counted(state, message)
        case ItemPosted():
            return _placed(state, message)
        case MessageBarred():
            return _barred(state, message)
        case EditAdmitted():
            return _edited(state, message)


def _begin(message: SendMessage, erased: Sequence[str]) -> Decision:
    text, rule = masked(message.text, message.findings), reviewing(message.findings)
    state = ChatMessage(
        message.sender, message.receiver, message.id, message.at, text, message.picture_url, asks=2, rule=rule,
        campaign=message.campaign,
    )  # fmt: skip
    if message.sender == message.receiver:
        return _refuse(state, message, message.message, ChatRefusal.SAME_USER)
    if (found := forbidden_by(message.findings)) is not None:
        return _refuse(state, message, message.message, FORBIDDEN[found.kind], found.rule)
    if message.sender in erased:
        return _refuse(state, message, message.message, ChatRefusal.SENDER_UNKNOWN)
    sides = ((message.receiver, message.sender), (message.sender, message.receiver))
    asks: list[Message] = [
        AdmitMessage(**derive(message, number), user=user, message=message.message, peer=peer)
        for number, (user, peer) in enumerate(sides)
    ]
    if message.limit is not None:
        asks.append(CountNewChat(
            **derive(message, len(asks)), user=message.sender, peer=message.receiver, message=message.message,
            limit=message.limit,
        ))  # fmt: skip
    return replace(state, asks=len(asks)), asks


def _again(state: ChatMessage, message: SendMessage) -> Message:
    if (message.sender, message.receiver) != (state.sender, state.receiver):
        reused = ChatRefusal.CLIENT_ID_REUSED
        return MessageRefused(**reply(message), **same_fields(message, MessageRefused), refusal=reused)
    return MessageRepeated(
        **reply(message), **same_fields(message, MessageRepeated), seq=state.seq, refusal=state.refusal
    )  # fmt: skip


def _admitted(state: ChatMessage, message: MessageAdmitted) -> Decision:
    """One of both lines has answered."""
    if not state.asks or state.refusal is not None:
        return state, ()
    if message.refusal is not None:
        refusals = OF_SENDER if message.user == state.sender else OF_RECEIVER
        return _refuse(state, message, message.message, refusals.get(message.refusal, ChatRefusal.RECEIVER_UNKNOWN))
    return _answered(state, message)


def _counted(state: ChatMessage, message: NewChatCounted) -> Decision:
    """Whether the sender may begin one chat more."""
    if not state.asks or state.refusal is not None:
        return state, ()
    limit = message.limit
    if message.within or limit.then is ChatRuleAction.MASK:
        return _answered(state, message)
    if limit.then is ChatRuleAction.REFUSE:
        return _refuse(state, message, message.message, ChatRefusal.TOO_MANY_NEW_CHATS, limit.rule)
    return _answered(replace(state, rule=state.rule or limit.rule), message)


def _answered(state: ChatMessage, message: MessageAdmitted | NewChatCounted) -> Decision:
    """One of those who were asked lets it through; with all of them the chat is asked."""
    after = replace(state, asks=state.asks - 1)
    if after.asks:
        return after, ()
    post = PostMessage(
        **derive(message, 0), pair=pair_of(state.sender, state.receiver), user=state.sender, peer=state.receiver,
        message=message.message, asked=state.asked, length=len(state.text), campaign=state.campaign,
    )  # fmt: skip
    return after, (post,)


def _refuse(state: ChatMessage, message: Message, name: str, refusal: ChatRefusal, rule: str = "") -> Decision:
    """It is not sent: its text is gone, its outcome stays for a day."""
    after = replace(
        state, text="", picture_url="", asks=0, refusal=refusal, forget_at=later(message.at, REMEMBERED_FOR)
    )  # fmt: skip
    refused = _refused(state, message, name, state.asked, refusal)
    return after, (replace(refused, rule=rule, campaign=state.campaign),)


def _refused(state: ChatMessage, message: Message, name: str, to: str, refusal: ChatRefusal) -> MessageRefused:
    return MessageRefused(
        **reply(message, to=to), message=name, sender=state.sender, receiver=state.receiver, refusal=refusal
    )  # fmt: skip


def _placed(state: ChatMessage, message: ItemPosted) -> Decision:
    """It has its place; where a rule says so, a person looks at it. One whose sender was erased on the way is taken back."""
    if state.seq:
        return state, ()
    if state.refusal is not None:
        return _delete(replace(state, seq=message.seq), message, message.ref)
    after = replace(state, seq=message.seq)
    return after, _filed(after, message, message.ref, state.asked, state.rule)


def _filed(state: ChatMessage, message: Message, name: str, asked: str, rule: str) -> Sequence[Message]:
    """The report by a rule, and its evidence."""
    if not rule:
        return ()
    report = rule_report(asked)
    file = FileReport(
        **derive(message, "report"), report=report, user=state.receiver, peer=state.sender, rule=rule, seq=state.seq
    )  # fmt: skip
    ask = WitnessMessage(
        **derive(message, "evidence"), report=report, message=name, seq=state.seq, sender=state.sender, sent_at=state.sent_at,
        until=later(message.at, EVIDENCE_KEPT),
    )  # fmt: skip
    return file, _evidence(state, ask)


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
    if state.draft_asked:
        return ChatRefusal.EDIT_PENDING
    found = forbidden_by(message.findings)
    return FORBIDDEN[found.kind] if found else None


def _by_sender(state: ChatMessage | None, message: EditMessage | DeleteMessage) -> Decision:
    refusal = refusal_of(state, message)
    if refusal is not None or state is None:
        found = forbidden_by(message.findings) if isinstance(message, EditMessage) else None
        refused = MessageRefused(
            **reply(message), message=message.message, sender=message.user, receiver=message.peer,
            refusal=refusal or ChatRefusal.MESSAGE_UNKNOWN,
            rule=found.rule if found and refusal is FORBIDDEN[found.kind] else "",
        )  # fmt: skip
        return state, (refused,)
    if isinstance(message, EditMessage):
        draft = replace(
            state, draft=masked(message.text, message.findings), draft_picture_url=message.picture_url,
            draft_asked=message.id, draft_rule=reviewing(message.findings),
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


def _delete(state: ChatMessage, message: DeleteMessage | ItemPosted | Wake, name: str) -> Decision:
    """It is taken back from both: its text and its draft are gone."""
    deleted = MessageDeleted(**reply(message), message=name, sender=state.sender, receiver=state.receiver, seq=state.seq)
    deleted_at = state.deleted_at or message.at
    return replace(_without_draft(state), text="", picture_url="", deleted_at=deleted_at), (deleted,)


def _without_draft(state: ChatMessage) -> ChatMessage:
    return replace(state, draft="", draft_picture_url="", draft_asked="", draft_rule="")


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
    after = replace(_without_draft(state), **text, edited_at=message.at)
    return after, (edited, *_filed(after, message, message.message, message.asked, state.draft_rule))


def _evidence(state: ChatMessage | None, ask: WitnessMessage) -> KeepEvidence:
    """What it says now. What was taken back before has no text any more."""
    kept = KeepEvidence(
        **derive(ask, 0), evidence=evidence_name(ask.report, ask.seq), **same_fields(ask, KeepEvidence), kind=ItemKind.MESSAGE,
        ref=ask.message,
    )  # fmt: skip
    if state is None or state.deleted_at is not None:
        return replace(kept, deleted=True)
    return replace(kept, text=state.text, picture_url=state.picture_url, edited_at=state.edited_at)
