"""An item of a chat as its two sides are told of it."""

from datetime import datetime

from pydantic import BaseModel

from schemas.chat import CHAT_MESSAGE, ChatItem, ItemKind, side_of
from schemas.chat_message import ChatMessage
from schemas.pair import pair_of
from schemas.video import EndReason
from serving.runtime.views import Views


class ItemAnswer(BaseModel):
    """An item: a `message` (`text` null: it was deleted), a `call` (how it ended, how long it was), or a `gift` (`coins`: what
    you paid, or got)."""

    seq: int
    at: datetime
    kind: ItemKind
    sender: str
    ref: str
    text: str | None = None
    picture_url: str | None = None
    edited_at: datetime | None = None
    deleted: bool = False
    reason: EndReason | None = None
    connected: bool | None = None
    duration_s: float | None = None
    gift: str | None = None
    coins: int | None = None


def item_answer(views: Views, item: ChatItem, user: str, peer: str) -> ItemAnswer:
    """An item of the chat of `user` with `peer`, as `user` is told of it."""
    mine = item.by == side_of(pair_of(user, peer), user)
    answer = ItemAnswer(seq=item.seq, at=item.at, kind=item.kind, sender=user if mine else peer, ref=item.ref)
    match item.kind:
        case ItemKind.MESSAGE:
            known: ChatMessage | None = views.of(CHAT_MESSAGE).get(item.ref)
            if known is None or known.deleted_at is not None:
                return answer.model_copy(update={"deleted": True})
            said = {"text": known.text, "picture_url": known.picture_url or None, "edited_at": known.edited_at}
            return answer.model_copy(update=said)
        case ItemKind.CALL:
            how = {"reason": item.reason, "connected": item.connected, "duration_s": item.duration_s}
            return answer.model_copy(update=how)
        case ItemKind.GIFT:
            coins = item.price_coins if mine else item.share_coins
            return answer.model_copy(update={"gift": item.item, "coins": coins})
